"""Reading logs from where they stood when a node was started. The target is the node.

Where they stood is remembered on the host itself, in `/var/lib/changeover/marks`: it survives the conductor.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from changeover.actions.base import Context, Params
from changeover.actions.hosts import HostOf
from changeover.checks import logs
from changeover.errors import PortError, StepError
from changeover.model.plan import Operation
from changeover.model.release import LogWatch
from changeover.model.values import Observation, Outcome, absent, done, unknown
from changeover.model.words import count

MARKS = "/var/lib/changeover/marks"

ACCEPT = "accept"
"""The answer that lets what was found stand."""


class Marking(Params, frozen=True):
    """What the mark is called, and the logs."""

    label: str
    paths: tuple[str, ...]


class Checking(Params, frozen=True):
    """The mark from which on it is read, the logs with what may stand in them, and the version that wrote it."""

    label: str
    logs: tuple[LogWatch, ...]
    version: str


def _directory(operation: Operation, context: Context) -> str:
    return f"{MARKS}/{context.run}-{operation.target}"


def _place(label: str, operation: Operation, context: Context) -> str:
    return f"{_directory(operation, context)}/{label}.json"


async def _marks(label: str, operation: Operation, context: Context) -> Mapping[str, logs.Mark] | None:
    """Log → where it stood, None if it was not remembered."""
    place = _place(label, operation, context)
    content = await HostOf(operation.target, context).read(place)
    try:
        return None if content is None else msgspec.json.decode(content, type=dict[str, logs.Mark])
    except msgspec.DecodeError:
        raise StepError(
            f"{place} is no mark of a log", hint="remove it, and retry the step that made it"
        ) from None


class MarkLog:
    """Remember where the logs stand."""

    kind: ClassVar[str] = "log.mark"
    params: ClassVar[type[Params]] = Marking

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when it is remembered on the host."""
        marks = await _marks(Marking.of(operation).label, operation, context)
        return absent("not remembered") if marks is None else done(_told(marks))

    async def perform(self, operation: Operation, context: Context) -> str:
        """Look, and write it down, unless it was: what was written since then would be passed over."""
        params, host = Marking.of(operation), HostOf(operation.target, context)
        marks = await _marks(params.label, operation, context)
        if marks is None:
            marks = {path: await logs.mark(host, path) for path in params.paths}
            content = msgspec.json.encode(marks, order="deterministic")
            await host.write(_place(params.label, operation, context), content)
        return _told(marks)


def _told(marks: Mapping[str, logs.Mark]) -> str:
    sizes = (
        f"{path} at {next((it.size for it in mark.files if it.path == path), 0)}"
        for path, mark in marks.items()
    )
    return ", ".join(sizes)


class CheckLog:
    """Read what was written since the mark; what is no known issue fails the step, and is shown."""

    kind: ClassVar[str] = "log.check"
    params: ClassVar[type[Params]] = Checking

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when nothing stands there that may not."""
        params, host, now = (
            Checking.of(operation),
            HostOf(operation.target, context),
            context.world.clock.now(),
        )
        marks = await _marks(params.label, operation, context)
        if marks is None:
            return unknown(f"where the logs of {operation.target} stood was not remembered")
        verdicts = []
        for watch in params.logs:
            known = logs.applying(watch.known, params.version, context.step, now)
            found = await logs.look(host, watch, marks.get(watch.path, logs.Mark()), known)
            verdicts.append(logs.verdict(watch, found, known, now))
        bad = [verdict for verdict in verdicts if not verdict.good]
        said = "; ".join(f"{verdict.subject}: {verdict.evidence}" for verdict in bad or verdicts)
        if any(verdict.outcome is Outcome.UNKNOWN for verdict in bad):
            return unknown(said)
        return (absent if bad else done)(said)

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Look once; what a person has accepted stands, and is told. What has come since then they have not seen."""
        try:
            seen = await self.observe(operation, context)
        except PortError as error:
            if self._accepted(error.message, context):
                return done(f"accepted, though it cannot be read: {error.message}")
            raise
        if seen.done:
            return seen
        if self._accepted(seen.evidence, context):
            return done(f"accepted: {seen.evidence}")
        raise StepError(
            seen.evidence,
            hint=f"set right what it tells of; `changeover retry {context.step} --with {ACCEPT} --reason …` "
            "lets it stand",
        )

    @staticmethod
    def _accepted(said: str, context: Context) -> bool:
        return context.answer == ACCEPT and context.recorded(said) in context.failed


class ForgetMarks:
    """Remove what this run remembers of the logs of the node."""

    kind: ClassVar[str] = "log.forget"
    params: ClassVar[type[Params]] = Params

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when nothing is remembered."""
        found = await HostOf(operation.target, context).tree(_directory(operation, context))
        marks = [name for name in found or {} if name != "."]
        return absent(f"{count(len(marks), 'mark')} remembered") if marks else done("nothing is remembered")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Remove the directory."""
        await HostOf(operation.target, context).remove(_directory(operation, context))
        return "forgotten"
