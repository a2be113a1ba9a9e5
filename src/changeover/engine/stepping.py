"""One step: from the question whether it may be made to the record of what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from changeover.engine.attempt import Attempt, Came, Outcome
from changeover.engine.events import POLICY, RunChanged, StepChanged
from changeover.engine.faults import Fault
from changeover.engine.fold import RunStatus
from changeover.engine.recorder import Recorder
from changeover.errors import PortError
from changeover.model.plan import Stage, Step
from changeover.model.release import Cause
from changeover.model.states import RunState, StepState
from changeover.model.timetable import WAITS
from changeover.model.values import Verdict

S, R = StepState, RunState


class Guard(Protocol):
    """Asked right before the effect of a step and again after it; a verdict that is not good stops the run."""

    async def before(self, step: Step, stage: Stage) -> Verdict | None:
        """Whether the step may be taken."""
        ...

    def dropped(self, step: Step) -> None:
        """The step was asked about, and is not begun."""
        ...

    async def after(self, step: Step, stage: Stage) -> Verdict | None:
        """Whether the site is as it must be, now that it was."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What the interlocks came to: whether the step may be made and, if they could not be asked, how it failed."""

    holds: bool = True
    failed: Outcome | None = None


HOLDS = Asked()


@dataclass(slots=True)
class Work:
    """What is under way at a step and may be broken off; `why` says that it was."""

    step: Step
    task: asyncio.Task[None]
    why: str = ""
    put_off: bool = False


@dataclass(frozen=True, slots=True)
class Stepper:
    """Takes steps of one run.

    `attempt` makes the next one at a step; `may_begin` is asked right before it is recorded as begun. `done` is
    called when one is, and its interlocks were asked again: what is recorded from then on is not durable before it.
    `stopped` is called after an interlock has stopped the run, `begun` when a step has.
    """

    status: RunStatus
    recorder: Recorder
    guard: Guard | None
    stage_of: Callable[[Step], Stage]
    attempt: Callable[[Step], Attempt]
    may_begin: Callable[[], bool]
    done: Callable[[Step], None]
    stopped: Callable[[], None]
    begun: Callable[[], None]
    sleep: Callable[[float], Awaitable[None]]
    fault: Fault
    working: dict[str, Work] = field(default_factory=dict)

    def break_off(self, why: str) -> None:
        """End what is under way at every step: it has failed, if it turns out not to be done."""
        for work in self.working.values():
            self._end(work, why)

    def put_off(self, why: str) -> None:
        """End what only waits for a moment: nothing comes of it, and it may begin anew."""
        for work in self.working.values():
            if work.step.do.action == WAITS:
                work.put_off = True
                self._end(work, why)

    def _end(self, work: Work, why: str) -> None:
        if not work.why:
            work.why = why
            work.task.cancel()

    async def begin(self, step: Step) -> None:
        """One attempt."""
        asked = await self._ask(self.guard.before, step) if self.guard is not None else HOLDS
        unasked = asked.failed
        at = self.status.steps[step.id]
        # Refused is refused, whatever a person has told the run while that was being recorded.
        if not asked.holds or not self.may_begin() or at.state is not S.PENDING:
            if self.guard is not None:
                self.guard.dropped(step)
            return
        begun_before, asked_for = at.attempt > 0, not at.since
        # What was never done, or is back already, needs no undoing: on the way back it is looked at first.
        look_first = begun_before or self.status.falling_back
        await self.recorder.record(StepChanged(step=step.id, state=S.RUNNING, attempt=at.attempt + 1))
        self.begun()
        self.fault("started")
        attempt = self.attempt(step)
        outcome = unasked or (await self._at_work(attempt, attempt.look()) if look_first else None)
        if begun_before and outcome and outcome.came in (Came.UNKNOWN, Came.UNSEEN) and not asked_for:
            # What may be half there is performed again only when a person says so.
            after = _changed(step, S.FAILED, outcome)
        else:
            if outcome is None or (outcome.came not in _DECIDED and not unasked):
                outcome = await self._at_work(attempt, attempt.make())
            after = self._after(step, outcome)
        self.fault("finishing")
        recorded = self.recorder.record(after)
        if self.guard is not None and not unasked:
            await self._ask(self.guard.after, step)
        if after.state is S.DONE:
            self.done(step)
        await recorded
        self.fault("finished")
        if after.state is S.IN_DOUBT:
            await self.resolve(step, step.retry_wait)

    async def ask(self, gate: Step, behind: Sequence[Step]) -> None:
        """Wait for a person; not for one who would agree to what is there already, as on a way back."""
        looks = [await self.attempt(step).look() for step in behind]
        await self.recorder.record(StepChanged(step=gate.id, state=S.WAITING))
        if all(look.came is Came.DONE for look in looks):
            seen = "; ".join(look.evidence for look in looks) or "what is behind it was skipped"
            await self.recorder.record(
                StepChanged(step=gate.id, state=S.DONE, actor=POLICY, reason=f"nothing to agree to: {seen}")
            )

    async def resolve(self, step: Step, after: float = 0.0) -> None:
        """Look at a step in doubt, `after` so many seconds: it is done, or to be done again, or a person has to decide."""
        attempt = self.attempt(step)

        async def look() -> Outcome:
            if after:
                await self.sleep(after)
            return await attempt.look()

        outcome = await self._at_work(attempt, look())
        self.fault("observed")
        at = self.status.steps[step.id]
        if outcome.came is Came.DONE:
            state = S.DONE
        elif outcome.came is Came.PUT_OFF or (outcome.came is Came.ABSENT and at.failures < step.attempts):
            state = S.PENDING
        else:
            state = S.FAILED
        await self.recorder.record(_changed(step, state, outcome))

    async def _at_work(self, attempt: Attempt, work: Awaitable[Outcome]) -> Outcome:
        """What it comes to, unless it is broken off meanwhile."""
        task = asyncio.current_task()
        assert task is not None  # every step has its own
        step = attempt.step
        it = self.working[step.id] = Work(step, task)
        try:
            return await work
        except asyncio.CancelledError:
            if not it.why or task.cancelling() > 1:  # or the conductor ends as well
                raise
            task.uncancel()
        finally:
            del self.working[step.id]
        if it.put_off:
            return Outcome(Came.PUT_OFF, it.why)
        return await attempt.after_breaking_off(it.why)

    def _after(self, step: Step, outcome: Outcome) -> StepChanged:
        at = self.status.steps[step.id]
        if outcome.came is Came.DONE:
            return _changed(step, S.DONE, outcome)
        if outcome.came is Came.UNSEEN:
            return _changed(step, S.IN_DOUBT, outcome)
        if outcome.came in (Came.BROKEN_OFF, Came.PUT_OFF):
            return _changed(step, S.PENDING if outcome.came is Came.PUT_OFF else S.FAILED, outcome)
        again = at.failures + 1 < step.attempts and not self.status.is_set_aside(step.unit)
        return _changed(step, S.PENDING if again else S.FAILED, outcome)

    async def _ask(self, interlocks: Callable[[Step, Stage], Awaitable[Verdict | None]], step: Step) -> Asked:
        """Stop the run if an interlock does not hold, or cannot be told.

        On the way back a unit that cannot be seen holds up nobody else: its step is not made, and has failed.
        """
        try:
            verdict = await interlocks(step, self.stage_of(step))
        except Exception as error:  # noqa: BLE001 - what cannot be asked does not hold
            reason = f"the interlocks of {step.id} could not be asked: {error}"
            begins = self.status.steps[step.id].state is S.PENDING
            if isinstance(error, PortError) and begins and step.unit and self.status.falling_back:
                return Asked(failed=Outcome(Came.ABSENT, reason, error=type(error).__name__, hint=error.hint))
        else:
            if verdict is None or verdict.good:
                return HOLDS
            reason = f"{step.id}: {verdict.subject}: {verdict.evidence}"
            reason += f" ({verdict.hint})" if verdict.hint else ""
        if self.status.state in (R.RUNNING, R.PAUSED, R.WAITING) and not self.status.aborting:
            await self.recorder.record(RunChanged(state=R.STOPPED, reason=reason, cause=Cause.INTERLOCK))
            self.stopped()
        return Asked(holds=False)


_DECIDED = frozenset({Came.DONE, Came.BROKEN_OFF, Came.PUT_OFF})
"""What leaves nothing to be made of an attempt."""


def _changed(step: Step, state: StepState, outcome: Outcome) -> StepChanged:
    return StepChanged(
        step=step.id, state=state, evidence=outcome.evidence, error=outcome.error, hint=outcome.hint
    )
