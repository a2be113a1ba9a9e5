"""What a command leads to, decided from where the run stands alone."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from changeover.engine.commands import Command, decide, follow_up, nearest_step
from changeover.engine.events import FAILURE_BUDGET, CommandTaken, Event, RunChanged, StepChanged, Verb
from changeover.engine.fold import RunStatus
from changeover.errors import RefusedError
from changeover.model.plan import Operation, Stage
from changeover.model.states import RunState, StepState
from tests.enginekit import a_gate, a_plan, a_step, told

S, R = StepState, RunState

PLAN = a_plan([a_step("app1/stop"), a_step("app1/start"), a_gate("app1/go")])


def standing(run: RunState = R.RUNNING, **steps: StepState) -> RunStatus:
    """A run in that state, with these steps of `app1`."""
    events: list[Event] = []
    ways = {
        S.PENDING: (),
        S.RUNNING: (S.RUNNING,),
        S.IN_DOUBT: (S.RUNNING, S.IN_DOUBT),
        S.FAILED: (S.RUNNING, S.FAILED),
        S.DONE: (S.RUNNING, S.DONE),
        S.SKIPPED: (S.SKIPPED,),
        S.WAITING: (S.WAITING,),
    }
    for name, state in steps.items():
        events += [
            StepChanged(
                step=f"app1/{name}",
                state=it,
                attempt=1,
                evidence="seen",
                error="" if it is S.RUNNING else "E",
            )
            for it in ways[state]
        ]
    if run is not R.RUNNING:
        events.append(RunChanged(state=run))
    return told(PLAN, events)


def words(events: Iterable[Event]) -> list[str]:
    """What the events say, without the command itself."""
    return [
        f"{event.step} {event.state}" if isinstance(event, StepChanged) else f"run {event.state}"
        for event in events
        if isinstance(event, StepChanged | RunChanged)
    ]


def tell(verb: Verb, step: str = "", reason: str = "because", **more: Any) -> Command:
    """A command by Kim."""
    return Command(1, verb, "kim", f"app1/{step}" if step else "", reason, **more)


@pytest.mark.parametrize(
    ("status", "command", "leads_to"),
    [
        (standing(), tell(Verb.PAUSE), ["run paused"]),
        (standing(R.STOPPED, stop=S.FAILED), tell(Verb.PAUSE), ["run paused"]),
        (standing(R.WAITING, go=S.WAITING), tell(Verb.PAUSE), ["run paused"]),
        (standing(R.PAUSED), tell(Verb.CONTINUE), ["run running"]),
        (standing(R.STOPPED), tell(Verb.CONTINUE), ["run running"]),
        (standing(R.STOPPED, stop=S.FAILED), tell(Verb.RETRY, "stop"), ["app1/stop pending"]),
        (standing(stop=S.SKIPPED), tell(Verb.RETRY, "stop"), ["app1/stop pending"]),
        (standing(R.STOPPED), tell(Verb.RETRY, "stop"), ["run running"]),
        (standing(R.STOPPED, stop=S.FAILED), tell(Verb.SKIP, "stop"), ["app1/stop skipped"]),
        (standing(), tell(Verb.SKIP, "start"), ["app1/start skipped"]),
        (standing(R.WAITING, go=S.WAITING), tell(Verb.SKIP, "go"), ["app1/go skipped"]),
        (standing(R.WAITING, go=S.WAITING), tell(Verb.APPROVE, "go"), ["app1/go done"]),
        (standing(R.WAITING, go=S.WAITING), tell(Verb.REFUSE, "go"), ["app1/go failed"]),
        (standing(), tell(Verb.ABORT), []),
        (standing(R.STOPPED, stop=S.FAILED), tell(Verb.ABORT), []),
        (standing(stop=S.RUNNING), tell(Verb.LEAVE), []),
        (standing(R.STOPPED, stop=S.FAILED), tell(Verb.FORGET, "torn"), []),
    ],
)
def test_it_is_obeyed(status: RunStatus, command: Command, leads_to: list[str]) -> None:
    """It is recorded first, then what follows from it, with the person who said it."""
    decision = decide(command, status)
    assert not decision.refused
    assert isinstance(decision.events[0], CommandTaken)
    assert words(decision.events) == leads_to
    assert all(getattr(event, "actor", "") == "kim" for event in decision.events)


@pytest.mark.parametrize(
    ("status", "command", "why"),
    [
        (standing(R.PAUSED), tell(Verb.PAUSE), "the run is paused already"),
        (standing(), tell(Verb.CONTINUE), "the run is running, there is nothing to continue"),
        (
            standing(R.STOPPED, stop=S.FAILED),
            tell(Verb.CONTINUE),
            "app1/stop failed: seen; retry or skip first",
        ),
        (
            standing(),
            tell(Verb.RETRY, "stop"),
            "app1/stop is pending; only what failed or was skipped can be retried",
        ),
        (standing(stop=S.DONE), tell(Verb.RETRY, "stop"), "app1/stop is done; only what failed"),
        (standing(stop=S.RUNNING), tell(Verb.SKIP, "stop"), "app1/stop is running; it cannot be skipped now"),
        (
            standing(stop=S.IN_DOUBT),
            tell(Verb.SKIP, "stop"),
            "app1/stop is in doubt; it cannot be skipped now",
        ),
        (standing(stop=S.DONE), tell(Verb.SKIP, "stop"), "app1/stop is done; it cannot be skipped now"),
        (standing(), tell(Verb.SKIP, "stop", reason=" "), "skip needs a reason"),
        (standing(R.WAITING, go=S.WAITING), tell(Verb.REFUSE, "go", reason=""), "refuse needs a reason"),
        (standing(), tell(Verb.ABORT, reason=""), "abort needs a reason"),
        (standing(), tell(Verb.APPROVE, "stop"), "app1/stop is no gate for a person"),
        (standing(), tell(Verb.APPROVE, "go"), "app1/go is pending; it is not waiting for a person"),
        (standing(), tell(Verb.SKIP, "stopp"), "no step 'app1/stopp'; did you mean 'app1/stop'?"),
        (standing(), tell(Verb.SKIP, "~~~~~~~~~~~~~~~~~~~"), "`changeover status` lists them"),
        (standing(R.ABORTED), tell(Verb.PAUSE), "the run has ended: aborted"),
    ],
)
def test_it_is_refused(status: RunStatus, command: Command, why: str) -> None:
    """With why, in the journal and to the one who sent it, and with no other effect."""
    decision = decide(command, status)
    assert decision.refused
    assert why in decision.answer
    (event,) = decision.events
    assert isinstance(event, CommandTaken)
    assert event.refused == decision.answer


def test_nothing_is_taken_once_the_run_is_to_be_aborted() -> None:
    """Not even a second abort."""
    status = standing(stop=S.RUNNING)
    taken = decide(tell(Verb.ABORT), status)
    status = told(PLAN, [StepChanged(step="app1/stop", state=S.RUNNING, attempt=1), *taken.events])
    assert "being aborted" in decide(tell(Verb.RETRY, "stop"), status).answer


def test_a_run_that_rested_goes_on_when_nothing_else_holds_it() -> None:
    """Two steps failed: to retry the first alone is not enough."""
    start, stop = (
        [StepChanged(step=f"app1/{it}", state=state, attempt=1, error="E") for state in (S.RUNNING, S.FAILED)]
        for it in ("start", "stop")
    )
    both = told(PLAN, [start[0], stop[0], start[1], stop[1], RunChanged(state=R.STOPPED)])
    retry = tell(Verb.RETRY, "stop")
    decision = decide(retry, both)
    for event in decision.events:
        both.apply(_numbered(event, both))
    assert follow_up(retry, decision, both) == []
    one = standing(R.STOPPED, stop=S.FAILED)
    decision = decide(retry, one)
    for event in decision.events:
        one.apply(_numbered(event, one))
    assert words(follow_up(retry, decision, one)) == ["run running"]


def test_finalize_waits_for_everything_before_it() -> None:
    """A gate that is skipped ahead of its time would open it, too."""
    plan = a_plan([a_step("x")], finalize=[a_gate("go")])
    decision = decide(Command(1, Verb.SKIP, "kim", "go", "hurry", accept_skipped=True), told(plan, []))
    assert decision.answer == "not finished yet: x"


def test_skipped_steps_are_accepted_only_with_a_reason() -> None:
    """Who reads the journal later wants to know."""
    plan = a_plan([a_step("x")], finalize=[a_gate("go")])
    status = told(plan, [StepChanged(step="x", state=S.SKIPPED), StepChanged(step="go", state=S.WAITING)])
    assert decide(Command(1, Verb.APPROVE, "kim", "go", "", accept_skipped=True), status).refused
    assert not decide(Command(1, Verb.APPROVE, "kim", "go", "fine", accept_skipped=True), status).refused


def done(name: str) -> list[Event]:
    """It was performed."""
    return [StepChanged(step=name, state=state, attempt=1) for state in (S.RUNNING, S.DONE)]


ORDERED = a_plan(
    [
        a_step("app1/enter", unit="app1", needs=("app1/start",)),
        a_step("app1/start", unit="app1", needs=("app1/drain",)),
        a_step("app1/drain", unit="app1"),
        a_step("app1/note", unit="app1"),
    ],
    [a_step("app1/clean", unit="app1"), a_step("app2/clean", unit="app2")],
)


@pytest.mark.parametrize(
    ("begun", "which", "state"),
    [
        (done("app1/enter"), "app1/enter", "done"),
        (done("app1/enter")[:1], "app1/enter", "running"),
        (done("app1/clean"), "app1/clean", "done"),
    ],
)
def test_a_skipped_step_is_not_done_after_what_follows_it(begun: list[Event], which: str, state: str) -> None:
    """What follows through steps that were skipped too, and in later stages; with what is still possible."""
    skipped = [StepChanged(step=f"app1/{it}", state=S.SKIPPED) for it in ("drain", "start")]
    decision = decide(Command(1, Verb.RETRY, "kim", "app1/drain"), told(ORDERED, [*skipped, *begun]))
    assert decision.refused
    assert decision.answer == (
        f"{which} comes after app1/drain and is {state} already; "
        "leave it skipped, and accept that at the finalize gate with --accept-skipped and a reason"
    )


@pytest.mark.parametrize(("action", "refused"), [("database.migrate", True), ("host.check", False)])
def test_what_is_done_at_rest_is_not_done_once_a_later_stage_has_begun(action: str, refused: bool) -> None:
    """A migration that was skipped in a full stop: the nodes may have been started since."""
    migrate = msgspec.structs.replace(a_step("main/expand"), do=Operation(action, "main"))
    stages = (
        Stage("migrate", "", (migrate,), outage=True),
        Stage("start", "", (a_step("app1/start", unit="app1"),), outage=True),
    )
    skipped = StepChanged(step="main/expand", state=S.SKIPPED)
    status = told(msgspec.structs.replace(ORDERED, stages=stages), [skipped, *done("app1/start")])
    assert decide(Command(1, Verb.RETRY, "kim", "main/expand"), status).refused is refused


def test_a_skipped_step_is_done_after_all_while_nothing_follows_it() -> None:
    """What comes before it, beside it, or on other nodes is no hindrance."""
    skipped = StepChanged(step="app1/start", state=S.SKIPPED)
    others = [*done("app1/drain"), *done("app1/note"), *done("app2/clean")]
    decision = decide(Command(1, Verb.RETRY, "kim", "app1/start"), told(ORDERED, [skipped, *others]))
    assert words(decision.events) == ["app1/start pending"]


def test_a_unit_that_was_set_aside_is_brought_back_behind_a_gate_that_is_done() -> None:
    """All of it is done after all, from where it failed, so nothing is left half way."""
    plan = a_plan(
        [a_step("app1/stop", unit="app1"), a_step("app1/start", unit="app1", needs=("app1/stop",))],
        [a_gate("go", needs=("app1/start",))],
    )
    aside = [
        StepChanged(step=f"app1/{it}", state=S.SKIPPED, actor=FAILURE_BUDGET) for it in ("stop", "start")
    ]
    gate = [StepChanged(step="go", state=state) for state in (S.WAITING, S.DONE)]
    decision = decide(Command(1, Verb.RETRY, "kim", "app1/start"), told(plan, [*aside, *gate]))
    assert words(decision.events) == ["app1/stop pending", "app1/start pending"]


def test_the_nearest_step_is_offered() -> None:
    """A step that is there is returned."""
    steps = list(PLAN.steps())
    assert nearest_step("app1/stop", steps) is steps[0]
    with pytest.raises(RefusedError) as refused:
        nearest_step("ap1/stop", steps)
    assert refused.value.hint == "did you mean 'app1/stop'?"


def _numbered(event: Event, status: RunStatus) -> Event:
    return msgspec.structs.replace(event, seq=status.seq + 1)
