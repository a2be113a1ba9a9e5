"""What is asked and told of the application as a whole, through the node that speaks for it; a deployment's flush first."""

import math
import re
from typing import ClassVar

from changeover.actions.base import Context, Params
from changeover.errors import StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, absent, done, unknown
from changeover.model.words import count
from changeover.ports import Answer

IGNORE = "ignore"
"""The answer to a stalled flush that gives up the rows which were shown."""

SHOWN = 20
"""How many of the outstanding rows are shown at once, and so can be ignored at once."""

WIDTH = 120
ROW = "row "
"""What a line of a stalled flush begins with that shows a row; the next word is its id."""

ID = re.compile(r"[\w.:-]+")
WORTH_TELLING = 1e-9


class Through(Params, frozen=True):
    """The node that is asked."""

    node: str


class Flushing(Through, frozen=True):
    """That, and how often it is asked, and after how long without progress a flush counts as stalled (seconds)."""

    stall: float
    poll: float


class Expecting(Through, frozen=True):
    """That, and question → the answer that it must give."""

    answers: dict[str, str]


async def _ask(capability: str, operation: Operation, context: Context) -> Answer:
    return await context.world.application.ask(
        capability, str(operation.params["node"]), deployment=operation.target
    )


async def _tell(capability: str, operation: Operation, context: Context, **values: str) -> str:
    node, application = str(operation.params["node"]), context.world.application
    said = await application.do(
        capability, node, timeout=context.timeout, deployment=operation.target, **values
    )
    return f"{capability}: {said}"


async def _flush(operation: Operation, context: Context, wanted: str) -> Observation:
    """Whether the flush of the deployment is `on` or `off` as wanted."""
    answer = await _ask("flushing", operation, context)
    if not answer.ok or answer.value not in ("on", "off"):
        return unknown(f"{operation.target} does not say whether it is flushed: {answer.evidence}")
    return (done if answer.value == wanted else absent)(f"the flush of {operation.target} is {answer.value}")


class Flush:
    """Have the deployment stop sending, and work off what it has not written out. The target is the deployment."""

    kind: ClassVar[str] = "application.flush"
    params: ClassVar[type[Params]] = Through

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `flushing` says on."""
        return await _flush(operation, context, "on")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `flush_on`."""
        return await _tell("flush_on", operation, context)


class Unflush:
    """Have the deployment send again. The target is the deployment."""

    kind: ClassVar[str] = "application.unflush"
    params: ClassVar[type[Params]] = Through

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `flushing` says off."""
        return await _flush(operation, context, "off")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `flush_off`."""
        return await _tell("flush_off", operation, context)


class Flushed:
    """Wait until nothing of the deployment is outstanding. The target is the deployment.

    Without progress for so long it has stalled, and fails with the rows themselves. A person may answer that by
    `ignore`: then exactly the rows that the failure showed are given up, as far as they are still there.
    """

    kind: ClassVar[str] = "application.flushed"
    params: ClassVar[type[Params]] = Flushing

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `outstanding` says 0."""
        left = await self._left(operation, context)
        return (done if left == 0 else absent)(_outstanding(operation.target, left))

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Ask until it says 0, and tell how fast it goes; a flush that was switched off meanwhile is not waited for."""
        params, clock = Flushing.of(operation), context.world.clock
        ignored = await self._ignore(operation, context) if context.answer == IGNORE else ""
        pace = _Pace(await self._left(operation, context), clock.now())
        while pace.left > 0:
            flush = await _flush(operation, context, "on")
            if not flush.done:
                raise StepError(flush.evidence, hint="switch it on again, then retry the step")
            if pace.idle(clock.now()) >= params.stall:
                await self._stalled(operation, context, pace, params.stall)
            context.tell(f"{_outstanding(operation.target, pace.left)}{pace.told()}")
            await clock.sleep(params.poll)
            pace.see(await self._left(operation, context), clock.now())
        return done("; ".join(filter(None, (ignored, _outstanding(operation.target, 0)))))

    async def _left(self, operation: Operation, context: Context) -> int:
        answer = await _ask("outstanding", operation, context)
        if not answer.ok or not answer.value.strip().isdecimal():
            raise StepError(
                f"{operation.target} does not say how much is outstanding: {answer.evidence}",
                hint="see what `outstanding` is bound to: it answers with a number",
            )
        return int(answer.value)

    async def _rows(self, operation: Operation, context: Context) -> list[str]:
        """The outstanding rows, a line each; none where nobody can tell."""
        if not context.world.application.can("stalled"):
            return []
        answer = await _ask("stalled", operation, context)
        return [" ".join(row.split())[:WIDTH] for row in answer.value.splitlines() if row.strip()]

    async def _stalled(self, operation: Operation, context: Context, pace: "_Pace", stall: float) -> None:
        rows = await self._rows(operation, context)
        shown = [f"{ROW}{row}" for row in rows[:SHOWN]]
        more = [f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
        said = f"{_outstanding(operation.target, pace.left)}, and no fewer for {stall:g} s"
        raise StepError("\n".join([said, *shown, *more]), hint="wait, ignore these rows, or fall back")

    async def _ignore(self, operation: Operation, context: Context) -> str:
        """Give up the rows that were shown and are still there, no other; what was given up."""
        offered = shown(context.failed)
        if not offered:
            return "ignored nothing, as no row had been shown"
        still = {_id(row) for row in await self._rows(operation, context)}
        rows = [row for row in offered if row in still]
        if not rows:
            return ""
        await _tell("ignore", operation, context, rows=",".join(rows))
        return f"ignored {count(len(rows), 'row')}: {', '.join(rows)}"


def shown(failed: str) -> list[str]:
    """The ids of the rows that a stalled flush has shown; `StepError` for what cannot be one."""
    rows = [_id(line.removeprefix(ROW)) for line in failed.splitlines() if line.startswith(ROW)]
    for row in rows:
        if not ID.fullmatch(row):
            raise StepError(
                f"{row!r} is no id that a row can be ignored by",
                hint="have `stalled` begin each line with the row's id",
            )
    return rows


def _id(row: str) -> str:
    return row.split(maxsplit=1)[0] if row.strip() else ""


def _outstanding(deployment: str, left: int) -> str:
    return f"{deployment} has {left or 'nothing'} outstanding"


class _Pace:
    """How fast what is outstanding becomes less. `since` is when it was last seen to: to fewer than ever before.

    What goes up and down, as where something is tried over and over, makes no progress.
    """

    def __init__(self, left: int, now: float) -> None:
        self.left = self._fewest = self._at_first = left
        self._began = self._now = self.since = now

    def see(self, left: int, now: float) -> None:
        """Take in what is left."""
        if left < self._fewest:
            self._fewest, self.since = left, now
        self.left, self._now = left, now

    def idle(self, now: float) -> float:
        """Seconds for which it was not seen to become less."""
        return now - self.since

    def told(self) -> str:
        """Records per second so far, and how long the rest takes at that; or for how long it has become no less."""
        took, done, idle = self._now - self._began, self._at_first - self.left, self.idle(self._now)
        if idle > 0:
            return f", and no fewer for {idle:.0f} s"
        if took <= 0 or done <= 0:
            return ""
        rate = done / took
        return f", {rate:.3g} per s, about {math.ceil(self.left / max(rate, WORTH_TELLING))} s to go"


class Expect:
    """See that the application answers as it must before anything is stopped. The target is the application."""

    kind: ClassVar[str] = "application.expect"
    params: ClassVar[type[Params]] = Expecting

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when every answer is the expected one."""
        params = Expecting.of(operation)
        application = context.world.application
        answers = [(ask, await application.ask(ask, params.node)) for ask in params.answers]
        wrong = [
            f"{ask} is {answer.value or answer.evidence}, expected {params.answers[ask]}"
            for ask, answer in answers
            if not answer.ok or answer.value != params.answers[ask]
        ]
        if wrong:
            return absent("; ".join(wrong))
        return done(", ".join(f"{ask} is {answer.value}" for ask, answer in answers))

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Ask once; another answer is a failure, not a reason to wait."""
        seen = await self.observe(operation, context)
        if not seen.done:
            raise StepError(seen.evidence, hint="set it as it must be, then retry the step")
        return seen


class Clean:
    """Clean the storage of a node: what it has not written out is gone then. The target is the node."""

    kind: ClassVar[str] = "application.clean"
    params: ClassVar[type[Params]] = Params

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when `clean_done` says yes."""
        answer = await context.world.application.ask("clean_done", operation.target)
        cleaned = _yes(answer)
        return (done if cleaned else absent)(
            f"storage is {'clean' if cleaned else 'not clean'} ({answer.evidence})"
        )

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run `clean`. That nothing runs and nothing is outstanding, the interlocks have seen just before."""
        said = await context.world.application.do("clean", operation.target, timeout=context.timeout)
        return f"clean: {said}"


def _yes(answer: Answer) -> bool:
    return answer.ok and answer.value != "no"
