"""What a person tells a run, and what comes of it: a pure decision over where the run stands."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import dropwhile

import msgspec

from changeover.engine.budgets import breach
from changeover.engine.events import CommandTaken, Event, FallbackBegun, RunChanged, StepChanged, Verb
from changeover.engine.fold import RunStatus, StepStatus
from changeover.errors import RefusedError
from changeover.fallback import MIGRATES, direction, way_back
from changeover.model.plan import Direction, Stage, Step
from changeover.model.release import Cause, Late
from changeover.model.states import SATISFIED, RunState, StepState

S, R = StepState, RunState

OF_A_STEP = frozenset({Verb.RETRY, Verb.SKIP, Verb.APPROVE, Verb.REFUSE})
BEGUN = frozenset({S.RUNNING, S.IN_DOUBT, S.DONE})
AT_REST = MIGRATES | {"application.clean"}
"""What is done only while nothing runs, in a stage in which nobody is served."""

WITH_A_REASON = frozenset({Verb.SKIP, Verb.REFUSE, Verb.ABORT, Verb.LEAVE})


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it was sent. `accept_skipped` opens the finalize gate although steps were skipped.

    `answer` is what a retry chooses of the answers that the step offers; empty: nothing but to try again. `signed` is
    who answers a gate, in their own words; empty: the `actor`, which is the login that sent it.
    """

    id: int
    verb: Verb
    actor: str
    step: str = ""
    reason: str = ""
    accept_skipped: bool = False
    answer: str = ""
    signed: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to record for a command, and the answer to the one who sent it. Refused: only that it was."""

    events: list[Event]
    answer: str
    refused: bool = field(default=False)


def decide(command: Command, status: RunStatus) -> Decision:
    """Obey the command or refuse it; never an error."""
    try:
        consequences, answer = _obey(command, status)
    except RefusedError as error:
        why = f"{error.message}; {error.hint}" if error.hint else error.message
        return Decision([_taken(command, refused=why)], why, refused=True)
    return Decision([_taken(command), *consequences], answer)


def nearest_step(name: str, steps: Iterable[Step]) -> Step:
    """The step of that name; `RefusedError` with the nearest name if there is none."""
    names = []
    for step in steps:
        if step.id == name:
            return step
        names.append(step.id)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`changeover status` lists them"
    raise RefusedError(f"the plan has no step {name!r}", hint=hint)


def follow_up(command: Command, decision: Decision, status: RunStatus) -> list[Event]:
    """What else to record once the events of a decision are in the status: a run that rested goes on."""
    rested = status.state in (R.WAITING, R.STOPPED) and not status.aborting
    if decision.refused or command.verb not in OF_A_STEP or not rested or breach(status):
        return []
    return [RunChanged(state=R.RUNNING, actor=command.actor, reason=f"{command.verb} {command.step}")]


def _taken(command: Command, refused: str = "") -> CommandTaken:
    return CommandTaken(
        command=command.id,
        verb=command.verb,
        actor=command.actor,
        step=command.step,
        reason=command.reason,
        refused=refused,
        answer=command.answer,
        signed=command.signed,
    )


def _obey(command: Command, status: RunStatus) -> tuple[list[Event], str]:
    if status.ended:
        raise RefusedError(f"the run has ended: {status.state}")
    if command.verb is Verb.FORGET:  # it has happened, whatever the run does
        return [], "noted"
    if status.aborting:
        raise RefusedError("the run is being aborted; what is in flight finishes first")
    if command.verb in WITH_A_REASON and not command.reason.strip():
        raise RefusedError(f"{command.verb} needs a reason")
    if command.verb in OF_A_STEP:
        return _obey_for_step(command, status, nearest_step(command.step, status.plan.steps()))
    match command.verb:
        case Verb.PAUSE:
            if status.state is R.PAUSED:
                raise RefusedError("the run is paused already")
            return [RunChanged(state=R.PAUSED, actor=command.actor, reason=command.reason)], "paused"
        case Verb.CONTINUE:
            return _continue(command, status)
        case Verb.LEAVE:
            return [], "it ends where it is, as soon as what is in flight has finished"
    return _abort(status)


def _abort(status: RunStatus) -> tuple[list[Event], str]:
    if status.falling_back:
        raise RefusedError(
            "the run is on its way back already", hint="`changeover abort --stay` ends it where it is"
        )
    way_back(status.plan, status.reached())  # or there is none
    return [], "it goes back as soon as what is in flight has finished"


def turn_back(status: RunStatus, reason: str, actor: str) -> Event:
    """The beginning of the way back from where the run stands, or its end where there is nothing to take back.

    `RefusedError` past the point of no return.
    """
    back = way_back(status.plan, status.reached())
    if not back.stages:
        return RunChanged(state=R.ABORTED, reason=reason, actor=actor)
    return FallbackBegun(stages=back.stages, budgets=back.budgets, reason=reason, actor=actor)


def aborted(status: RunStatus) -> Event:
    """What comes of a run that a person aborted, once nothing is in flight."""
    reason, actor = status.aborting, status.aborted_by
    if status.leaving:
        return RunChanged(state=R.ABORTED, reason=reason, actor=actor)
    return turn_back(status, reason, actor)


def turns_back(status: RunStatus) -> bool:
    """Whether the operator's file says that a run that stopped like this one goes back by itself."""
    plan = status.plan
    if status.falling_back or status.state is not R.STOPPED or not _by_itself(status):
        return False
    way = direction(stage_at(status), plan)
    if way is Direction.ASK or (way is not Direction.UNDO and status.cause is not Cause.WINDOW):
        return False
    try:
        return bool(way_back(plan, status.reached()).stages)
    except RefusedError:
        return False


def _by_itself(status: RunStatus) -> bool:
    release = status.plan.release
    if status.cause is Cause.WINDOW:
        return release.window is not None and release.window.late is Late.FALL_BACK
    return status.cause in release.fallback.when


def waits_for(status: RunStatus) -> str:
    """Why the stage that comes next may not begin although all before it has ended; empty if it may."""
    if not status.set_aside or status.satisfied:
        return ""
    stage = stage_at(status)
    if not stage.whole or any(status.steps[step.id].attempt for step in stage.steps):
        return ""
    names = ", ".join(sorted(status.set_aside))
    return f"{stage.name} waits for {names}, which could not go back: mend and retry, or skip with a reason"


def stage_at(status: RunStatus) -> Stage:
    """The first stage that is not finished, or the last one."""
    stages = status.plan.stages
    unfinished = (
        stage for stage in stages if any(status.steps[step.id].state not in SATISFIED for step in stage.steps)
    )
    return next(unfinished, stages[-1])


def _continue(command: Command, status: RunStatus) -> tuple[list[Event], str]:
    if status.state not in (R.PAUSED, R.STOPPED):
        raise RefusedError(f"the run is {status.state}, there is nothing to continue")
    if status.state is R.STOPPED and (broken := breach(status)):
        raise RefusedError(f"{broken.why}; retry or skip first")
    return [RunChanged(state=R.RUNNING, actor=command.actor, reason=command.reason)], "continued"


def check_who(verb: Verb, name: str, gate: Step) -> None:
    """`RefusedError` for who is none of those that may answer the gate."""
    if verb is Verb.RETRY or not gate.person or not gate.who or name in gate.who:
        return
    raise RefusedError(
        f"{gate.id} is for {' or '.join(gate.who)} to answer, not for {name}",
        hint="say with --as who gives the answer",
    )


def _obey_for_step(command: Command, status: RunStatus, step: Step) -> tuple[list[Event], str]:
    check_who(command.verb, command.signed or command.actor, step)
    match command.verb:
        case Verb.RETRY:
            return _retry(command, status, step)
        case Verb.SKIP:
            _may_skip(command, status, step)
            names = _with_its_unit(step, status)
            return [_changed(command, name, S.SKIPPED) for name in names], f"skipped: {', '.join(names)}"
        case Verb.APPROVE:
            _needs_waiting(step, status)
            _finalize_gate(command, status, step)
            return [_changed(command, step.id, S.DONE)], f"{step.id} is approved"
    _needs_waiting(step, status)
    return [_changed(command, step.id, S.FAILED)], f"{step.id} is refused; the run stops"


def _retry(command: Command, status: RunStatus, step: Step) -> tuple[list[Event], str]:
    at = status.steps[step.id]
    if command.answer:
        return [_answered(command, at, step)], f"to be done again, with {command.answer!r}: {step.id}"
    if at.state is S.PENDING and status.state is R.STOPPED and not breach(status):
        # An interlock stopped the run before this step began: to do it again is to go on.
        return [RunChanged(state=R.RUNNING, actor=command.actor, reason=command.reason)], "continued"
    if at.state not in (S.FAILED, S.SKIPPED):
        raise RefusedError(f"{step.id} is {at.state}; only what failed or was skipped can be retried")
    # A node that is drained again after it has entered would be left drained.
    if at.state is S.SKIPPED and not at.set_aside and (next_one := _followed_by(status, step)):
        raise RefusedError(
            f"{next_one} comes after {step.id} and is {status.steps[next_one].state} already",
            hint="leave it skipped, and accept that at the finalize gate with --accept-skipped and a reason",
        )
    names = _with_its_unit(step, status)
    return [_changed(command, name, S.PENDING) for name in names], f"to be done again: {', '.join(names)}"


def check_answer(answer: str, reason: str, step: Step) -> None:
    """`RefusedError` for an answer that the step does not offer, or that nobody gives a reason for."""
    if answer not in step.answers:
        offers = f"it offers {', '.join(map(repr, step.answers))}" if step.answers else "it offers none"
        raise RefusedError(
            f"{step.id} has no answer {answer!r}: {offers}", hint="a retry without --with only tries again"
        )
    if not reason.strip():
        raise RefusedError(f"to retry with {answer!r} needs a reason", hint="give it with --reason")


def _answered(command: Command, at: StepStatus, step: Step) -> StepChanged:
    check_answer(command.answer, command.reason, step)
    if at.state is not S.FAILED:
        raise RefusedError(f"{step.id} is {at.state}; only what failed can be answered")
    return msgspec.structs.replace(_changed(command, step.id, S.PENDING), answer=command.answer)


def addressable(status: RunStatus) -> Iterator[str]:
    """What was skipped and may still be done, in the plan's order; of a unit that was set aside the first step."""
    units: set[str] = set()
    for step in status.plan.steps():
        at = status.steps[step.id]
        if at.set_aside:
            if step.unit not in units:
                yield step.id
            units.add(step.unit)
        elif at.state is S.SKIPPED and not step.person and not _followed_by(status, step):
            yield step.id


def _with_its_unit(step: Step, status: RunStatus) -> list[str]:
    """The step, and if it was set aside with its unit, every step of that which was."""
    if not status.steps[step.id].set_aside:
        return [step.id]
    return [it.id for it in status.plan.steps() if it.unit == step.unit and status.steps[it.id].set_aside]


def _followed_by(status: RunStatus, step: Step) -> str:
    """A step that has begun although this one comes first: it needs it, or is of its unit in a later stage.

    What is done only while nothing runs comes before every later stage: that may have started something.
    """
    dependents: dict[str, list[str]] = {}
    for other in status.plan.steps():
        for need in other.needs:
            dependents.setdefault(need, []).append(other.id)
    behind = [step.id]
    for name in behind:  # it grows while it is read
        behind += [it for it in dependents.get(name, ()) if it not in behind]
    own, *later = dropwhile(lambda stage: step not in stage.steps, status.plan.stages)
    at_rest = own.outage and step.do.action in AT_REST
    for stage in later:
        behind += [it.id for it in stage.steps if at_rest or (step.unit and it.unit == step.unit)]
    return next((name for name in behind[1:] if status.steps[name].state in BEGUN), "")


def _may_skip(command: Command, status: RunStatus, step: Step) -> None:
    at = status.steps[step.id]
    if step.person and status.falling_back:
        raise RefusedError(
            f"{step.id} guards what a person must agree to",
            hint="approve it, or skip what is behind it and then approve it",
        )
    if at.state not in (S.PENDING, S.WAITING, S.FAILED) and not at.set_aside:
        raise RefusedError(f"{step.id} is {at.state}; it cannot be skipped now")
    _finalize_gate(command, status, step)


def _needs_waiting(step: Step, status: RunStatus) -> None:
    state = status.steps[step.id].state
    if not step.person:
        raise RefusedError(f"{step.id} is no gate for a person")
    if state is not S.WAITING:
        raise RefusedError(f"{step.id} is {state}; it is not waiting for a person")


def _finalize_gate(command: Command, status: RunStatus, step: Step) -> None:
    """Neither approval nor a skip opens the finalize gate while something before it is not addressed."""
    before = list(_before_finalize(status, step))
    unfinished = [it.id for it in before if status.steps[it.id].state not in (S.DONE, S.SKIPPED)]
    if unfinished:
        raise RefusedError(f"not finished yet: {_listed(unfinished)}")
    skipped = [it.id for it in before if status.steps[it.id].state is S.SKIPPED]
    if skipped and not command.accept_skipped:
        raise RefusedError(
            f"finalizing gives up the way back, and these were skipped: {_listed(skipped)}; "
            "retry them, or approve with --accept-skipped and a reason"
        )
    if skipped and not command.reason.strip():
        raise RefusedError("to accept skipped steps needs a reason")


def _before_finalize(status: RunStatus, step: Step) -> Iterator[Step]:
    """What comes before the finalize stage that this step is a gate of; nothing if it is no such gate."""
    stages = status.plan.stages
    for place, stage in enumerate(stages):
        if stage.finalize and step.person and step in stage.steps:
            yield from (it for earlier in stages[:place] for it in earlier.steps)


def _changed(command: Command, step: str, state: StepState) -> StepChanged:
    actor = command.signed or command.actor
    return StepChanged(step=step, state=state, actor=actor, reason=command.reason)


def _listed(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
