"""Where a run stands, from its events alone."""

from typing import Any

import msgspec
import pytest

from changeover.engine.events import (
    FAILURE_BUDGET,
    Claimed,
    CommandTaken,
    Created,
    Event,
    FallbackBegun,
    RunChanged,
    StepChanged,
    Verb,
    decode,
    encode,
    encode_all,
    sayable,
)
from changeover.engine.fold import fold
from changeover.engine.owner import Owner
from changeover.errors import JournalError
from changeover.model.states import RUN_TRANSITIONS, STEP_TRANSITIONS, RunState, StepState
from tests.enginekit import a_plan, a_step, told

S, R = StepState, RunState
PLAN = a_plan([a_step("x", unit="app1"), a_step("y", unit="app1")])
OWNER = Owner.current()

WAY: dict[StepState, list[StepState]] = {
    S.PENDING: [],
    S.RUNNING: [S.RUNNING],
    S.WAITING: [S.WAITING],
    S.IN_DOUBT: [S.RUNNING, S.IN_DOUBT],
    S.DONE: [S.RUNNING, S.DONE],
    S.FAILED: [S.RUNNING, S.FAILED],
    S.SKIPPED: [S.SKIPPED],
}
RUN_WAY: dict[RunState, list[RunState]] = {state: [state] for state in R} | {R.RUNNING: []}


def step(state: StepState, name: str = "x", attempt: int = 1, **more: Any) -> StepChanged:
    """A step went to that state."""
    return StepChanged(step=name, state=state, attempt=attempt, **more)


@pytest.mark.parametrize("before", S)
@pytest.mark.parametrize("after", S)
def test_a_step_goes_the_allowed_ways_only(before: StepState, after: StepState) -> None:
    """Every pair of states, against the table of the model."""
    events = [
        *(step(state) for state in WAY[before]),
        step(after, attempt=2 if WAY[before][:1] == [S.RUNNING] else 1),
    ]
    if (before, after) in STEP_TRANSITIONS:
        assert told(PLAN, events).steps["x"].state is after
    else:
        with pytest.raises(JournalError, match="which is not allowed"):
            told(PLAN, events)


@pytest.mark.parametrize("before", R)
@pytest.mark.parametrize("after", R)
def test_a_run_goes_the_allowed_ways_only(before: RunState, after: RunState) -> None:
    """Every pair of states, against the table of the model."""
    events: list[Event] = [RunChanged(state=state) for state in (*RUN_WAY[before], after)]
    if R.FELL_BACK in (before, after) and before is not R.DONE:
        events.insert(0, FallbackBegun(stages=(), budgets=(), reason="enough", actor="kim"))
    plan = a_plan()
    if (before, after) in RUN_TRANSITIONS:
        assert told(plan, events).state is after
    else:
        with pytest.raises(JournalError, match="which is not allowed"):
            told(plan, events)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([step(S.RUNNING, "z")], "about z, which the plan has not"),
        ([step(S.RUNNING, attempt=2)], "attempt 2 of x follows 0"),
        ([Claimed(epoch=1, owner=OWNER), Claimed(epoch=1, owner=OWNER)], "epoch 1 follows epoch 1"),
        ([step(S.RUNNING), step(S.FAILED), step(S.RUNNING, "y")], "starts y in a run that is not going on"),
        ([RunChanged(state=R.PAUSED), step(S.RUNNING)], "starts x in a run that is not going on"),
        (
            [CommandTaken(command=1, verb=Verb.ABORT, actor="kim", reason="enough"), step(S.RUNNING)],
            "starts x in a run that is not going on",
        ),
        ([RunChanged(state=R.DONE)], "ends it with 2 steps unfinished"),
    ],
)
def test_what_cannot_have_happened_is_an_error(events: list[Event], says: str) -> None:
    """A journal is believed only where it makes sense."""
    with pytest.raises(JournalError, match=says):
        told(PLAN, events)


def test_a_missing_event_is_an_error() -> None:
    """Numbers have no gaps."""
    with pytest.raises(JournalError, match="event 3 follows event 1") as error:
        fold("run", PLAN, [msgspec.structs.replace(step(S.RUNNING), seq=seq) for seq in (1, 3)])
    assert "restore" in error.value.hint


def test_it_counts_states_attempts_and_failures() -> None:
    """Failures of a step in doubt count when it was its own doing, and none after a person asked again."""
    events = [
        step(S.RUNNING),
        step(S.PENDING, error="StepError", evidence="no"),
        step(S.RUNNING, attempt=2),
        step(S.IN_DOUBT),
        step(S.PENDING),
        step(S.RUNNING, attempt=3),
    ]
    status = told(PLAN, events)
    assert (status.steps["x"].attempt, status.steps["x"].failures) == (3, 1)
    assert (status.steps["x"].since, status.steps["x"].started_at) == (1.0, 6.0)
    assert (status.counts[S.RUNNING], status.counts[S.PENDING], status.in_flight) == (1, 1, 1)
    events += [step(S.FAILED, error="E"), step(S.PENDING, actor="kim"), step(S.RUNNING, attempt=4)]
    status = told(PLAN, events)
    assert (status.steps["x"].failures, status.steps["x"].since) == (0, 9.0)


def test_it_knows_what_was_set_aside_and_brought_back() -> None:
    """By unit."""
    aside = [StepChanged(step=name, state=S.SKIPPED, actor=FAILURE_BUDGET) for name in ("x", "y")]
    status = told(PLAN, aside)
    assert status.is_set_aside("app1")
    assert status.steps["y"].set_aside
    assert not told(PLAN, [*aside, step(S.PENDING, actor="kim")]).is_set_aside("app1")


def test_it_knows_who_and_why() -> None:
    """From the creation, the claims and the abort."""
    created = Created(site="identity", plan="0" * 64, actor="ops", reason="upgrade")
    abort = CommandTaken(command=1, verb=Verb.ABORT, actor="kim", reason="enough")
    status = told(PLAN, [created, Claimed(epoch=3, owner=OWNER), abort])
    assert (status.actor, status.reason, status.created_at) == ("ops", "upgrade", 1.0)
    assert (status.epoch, status.owner, status.aborting) == (3, OWNER, "enough")
    assert not told(PLAN, [msgspec.structs.replace(abort, refused="no")]).aborting


def test_events_are_json_there_and_back() -> None:
    """One by one and all at once; what is empty is left out."""
    events: list[Event] = [
        Created(seq=1, at=2.5, site="s", plan="d", actor="a", reason="r"),
        Claimed(seq=2, at=3.0, epoch=1, owner=OWNER),
        step(S.FAILED, evidence='"quoted"\n\u2028', error="E", hint="h"),
        RunChanged(state=R.STOPPED, reason="why"),
        CommandTaken(command=7, verb=Verb.SKIP, actor="kim", step="x", refused="no"),
    ]
    assert decode(encode(event) for event in events) == events
    assert msgspec.json.decode(encode_all(events)) == [msgspec.json.decode(encode(event)) for event in events]
    assert encode(RunChanged(state=R.DONE)) == '{"event":"run","state":"done"}'


def test_what_cannot_be_encoded_is_replaced() -> None:
    """Arguments carry undecodable bytes as surrogates."""
    assert sayable("caf\udce9") == "caf?"
    assert sayable("café") == "café"
