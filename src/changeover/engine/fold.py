"""Where a run stands: a pure fold over its events, which admits only the allowed transitions."""

from collections.abc import Iterable

import msgspec

from changeover.engine.events import (
    FAILURE_BUDGET,
    Claimed,
    CommandTaken,
    Created,
    Event,
    FallbackBegun,
    RunChanged,
    StepChanged,
    Told,
    Verb,
    Warned,
)
from changeover.engine.notices import Occasion, occasion, telling
from changeover.engine.owner import Owner
from changeover.errors import JournalError, LockTimeoutError
from changeover.fallback import Reached
from changeover.model.plan import Plan
from changeover.model.release import Cause
from changeover.model.states import ENDED, RUN_TRANSITIONS, SATISFIED, STEP_TRANSITIONS, RunState, StepState

# To look a member up in its enumeration costs more than all else that is done for an event (Python 3.11).
_PENDING, _RUNNING, _FAILED, _SKIPPED = (
    StepState.PENDING,
    StepState.RUNNING,
    StepState.FAILED,
    StepState.SKIPPED,
)


class StepStatus(msgspec.Struct, gc=False):
    """Where a step stands.

    `attempt` counts its starts; `failures` the failed ones, and `since` is the first start, both counted
    from when a person last asked for it. `first_at` is the very first start, `started_at` the latest. `last`
    is its last change, `evidence` what the world last said about it. `untouched`: every attempt so far has failed in a way that has changed nothing.
    `answer` is what a person chose when they last asked for it, and `answered` the evidence that they chose it for.
    """

    state: StepState = StepState.PENDING
    attempt: int = 0
    failures: int = 0
    since: float = 0.0
    first_at: float = 0.0
    started_at: float = 0.0
    untouched: bool = False
    answer: str = ""
    answered: str = ""
    evidence: str = ""
    last: StepChanged | None = None

    @property
    def set_aside(self) -> bool:
        """Whether it is skipped because its unit was set aside within the failure budget."""
        return self.state is StepState.SKIPPED and self.last is not None and self.last.actor == FAILURE_BUDGET


class RunStatus:
    """Where a run stands.

    `plan` is what it executes: the plan it was created with (`first_plan`) or, once it goes back, the way back.
    `steps` holds those of both, `counts` says how many of the executed plan's are in each state. `aborting`
    says why nothing is begun any more, until the way back begins or, when `leaving`, the run ends where it is.
    `cause` is the kind of reason why it stopped, `late` for which limits of the clock it ever did, and
    `warned` whether that was told ahead.
    `occasions` are what people are told of, where anybody is; `told` has those that were told it, by the names of
    notices and the occasion's event, and `untold` why others could not be.
    """

    def __init__(self, run: str, plan: Plan) -> None:
        self.run = run
        self.plan = plan
        self.first_plan = plan
        self.cause: Cause | None = None
        self.late: set[Cause] = set()
        self.warned = False
        self.occasions: list[Occasion] = []
        self.told: set[tuple[str, int]] = set()
        self.untold: dict[tuple[str, int], str] = {}
        self.state = RunState.RUNNING
        self.reason = ""
        self.actor = ""
        self.created_at = 0.0
        self.changed_at = 0.0
        self.aborting = ""
        self.aborted_by = ""
        self.leaving = False
        self.epoch = 0
        self.owner: Owner | None = None
        self.seq = 0
        self.steps = {step.id: StepStatus() for step in plan.steps()}
        self._execute(plan)

    @property
    def ended(self) -> bool:
        """Whether nothing will ever change about it, and its site is free again."""
        return self.state in ENDED

    @property
    def falling_back(self) -> bool:
        """Whether it is on its way back, or has been it."""
        return self.plan is not self.first_plan

    @property
    def in_flight(self) -> int:
        """How many steps are, or may be, at work on the site."""
        return self.counts[StepState.RUNNING] + self.counts[StepState.IN_DOUBT]

    @property
    def satisfied(self) -> bool:
        """Whether every step of the executed plan is done or skipped."""
        return self.counts[StepState.DONE] + self.counts[StepState.SKIPPED] == len(self._executed)

    @property
    def set_aside(self) -> frozenset[str]:
        """The units of the executed plan that were set aside within its failure budget."""
        return frozenset(self._set_aside)

    @property
    def left_behind(self) -> list[str]:
        """The units that were set aside on the way back."""
        return sorted(self._set_aside) if self.falling_back else []

    def steps_in(self, *states: StepState) -> list[str]:
        """The steps of the executed plan in these states, in its order."""
        return [step for step in self._executed if self.steps[step].state in states]

    def reached(self) -> dict[str, Reached]:
        """How far each step has come that may have left something on the site."""
        return {
            step: Reached(
                at=status.first_at,
                done=status.state is StepState.DONE,
                skipped=status.state is StepState.SKIPPED and not status.attempt,
            )
            for step, status in self.steps.items()
            if (status.attempt and not status.untouched)
            or (status.state is StepState.SKIPPED and not status.set_aside)
        }

    def state_of(self, step: str) -> StepState:
        """Where that step stands."""
        return self.steps[step].state

    def is_set_aside(self, unit: str) -> bool:
        """Whether that unit was set aside within the failure budget."""
        return unit in self._set_aside

    def apply(self, event: Event) -> None:
        """Take in the next event; `JournalError` if it cannot follow what was before."""
        if event.seq != self.seq + 1:
            raise JournalError(
                f"run {self.run}: event {event.seq} follows event {self.seq}",
                hint="events are missing from the journal; restore it from a copy",
            )
        match event:  # the most frequent first
            case StepChanged():
                self._step(event)
            case RunChanged():
                self._run(event)
            case CommandTaken():
                self._command(event)
            case Told():
                self._was_told(event)
            case _:
                self._seldom(event)
        self.seq = event.seq
        if self.plan.release.notices and (found := occasion(self, event, self._telling)):
            self.occasions.append(found)

    def _seldom(self, event: Created | Claimed | FallbackBegun | Warned) -> None:
        match event:
            case Created():
                self.created_at, self.actor, self.reason = event.at, event.actor, event.reason
            case Claimed():
                if event.epoch <= self.epoch:
                    raise JournalError(f"run {self.run}: epoch {event.epoch} follows epoch {self.epoch}")
                self.epoch, self.owner = event.epoch, event.owner
            case FallbackBegun():
                self._fall_back(event)
            case Warned():
                self.warned = True

    def _was_told(self, event: Told) -> None:
        key = (event.notice, event.of)
        self.untold.pop(key, None)
        if event.error:
            self.untold[key] = event.error
        else:
            self.told.add(key)

    def _command(self, event: CommandTaken) -> None:
        if event.verb in (Verb.ABORT, Verb.LEAVE) and not event.refused:
            self.aborting, self.aborted_by = event.reason, event.actor
            self.leaving = event.verb is Verb.LEAVE

    def _execute(self, plan: Plan) -> None:
        self.plan = plan
        self._telling = telling(plan) if plan.release.notices else {}
        self._executed = dict.fromkeys(step.id for step in plan.steps())
        self._unit = {step.id: step.unit for step in plan.steps() if step.unit}
        self._set_aside: set[str] = set()
        self.counts = dict.fromkeys(StepState, 0) | {StepState.PENDING: len(self._executed)}

    def _fall_back(self, event: FallbackBegun) -> None:
        if self.ended or self.falling_back or self.in_flight:
            raise JournalError(
                f"run {self.run}: event {event.seq} begins the way back of a run that is {self.state}, "
                f"with {self.in_flight} steps in flight"
            )
        self._execute(msgspec.structs.replace(self.plan, stages=event.stages, budgets=event.budgets))
        self.steps |= {step: StepStatus() for step in self._executed}
        self.state, self.reason, self.changed_at = RunState.RUNNING, event.reason, event.at
        self.aborting, self.aborted_by, self.cause = "", "", None

    def _step(self, event: StepChanged) -> None:
        step = self.steps[event.step] if event.step in self._executed else None
        if step is None:
            raise JournalError(
                f"run {self.run}: event {event.seq} is about {event.step}, which the plan has not"
            )
        before, state = step.state, event.state
        if (before, state) not in STEP_TRANSITIONS:
            raise JournalError(
                f"run {self.run}: event {event.seq} takes {event.step} from {before} to {state}, which is not allowed"
            )
        if state is _RUNNING:
            self._begin(step, event)
        elif before is _RUNNING:
            step.failures += bool(event.error)
            nothing = event.error == LockTimeoutError.__name__
            step.untouched = nothing and (step.attempt == 1 or step.untouched)
        elif state is _PENDING and event.actor:
            step.failures, step.since = 0, 0.0
            step.answer, step.answered = event.answer, step.evidence if event.answer else ""
        if state is _SKIPPED and event.actor == FAILURE_BUDGET:
            self._set_aside.add(self._unit[event.step])
        elif before is _SKIPPED and step.set_aside:
            self._set_aside.discard(self._unit[event.step])
        step.state = state
        step.evidence = event.evidence or step.evidence
        step.last = event
        self.counts[before] -= 1
        self.counts[state] += 1

    def _begin(self, step: StepStatus, event: StepChanged) -> None:
        if self.state is not RunState.RUNNING or self.aborting or self.counts[_FAILED]:
            raise JournalError(
                f"run {self.run}: event {event.seq} starts {event.step} in a run that is not going on"
            )
        if event.attempt != step.attempt + 1:
            raise JournalError(
                f"run {self.run}: attempt {event.attempt} of {event.step} follows {step.attempt}"
            )
        step.attempt = event.attempt
        step.started_at = event.at
        step.first_at = step.first_at or event.at
        step.since = step.since or event.at

    def _run(self, event: RunChanged) -> None:
        if (self.state, event.state) not in RUN_TRANSITIONS:
            raise JournalError(
                f"run {self.run}: event {event.seq} takes it from {self.state} to {event.state}, which is not allowed"
            )
        if event.state in (RunState.DONE, RunState.FELL_BACK) and not self.satisfied:
            unfinished = len(self._executed) - sum(self.counts[state] for state in SATISFIED)
            raise JournalError(
                f"run {self.run}: event {event.seq} ends it with {unfinished} steps unfinished"
            )
        if event.state is (RunState.DONE if self.falling_back else RunState.FELL_BACK):
            raise JournalError(
                f"run {self.run}: event {event.seq} says {event.state} of a run that "
                f"{'goes' if self.falling_back else 'does not go'} back"
            )
        self.state, self.reason, self.changed_at = event.state, event.reason, event.at
        self.cause = event.cause
        if event.cause in (Cause.DEADLINE, Cause.WINDOW):
            self.late.add(event.cause)


def fold(run: str, plan: Plan, events: Iterable[Event]) -> RunStatus:
    """Where the run stands after these events; `JournalError` if they could not have happened."""
    status = RunStatus(run, plan)
    for event in events:
        status.apply(event)
    return status
