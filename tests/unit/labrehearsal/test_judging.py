"""What was seen of a case on the lab, judged: everything that may go wrong is found."""

from collections.abc import Callable

import msgspec
import pytest

from changeover.engine.events import Claimed, Created, Event, FallbackBegun, RunChanged, StepChanged
from changeover.engine.fold import fold
from changeover.fallback import Reached, way_back
from changeover.labrehearsal import judging
from changeover.labrehearsal.ground import Sample
from changeover.labrehearsal.playing import Excuse, Seen
from changeover.model.plan import Facts, Plan
from changeover.model.states import RunState, StepState
from changeover.rehearsal import End, parse
from changeover.rehearsal.asking import asked
from changeover.strategies.rolling import rolling
from tests.sites import a_release, a_site
from tests.unit.report.made import BEGAN, OWNER, a_ledger

PLAN: Plan = rolling(a_site(), a_release(keep_serving=3), Facts())
NODES = [node.name for node in PLAN.site.application.nodes]
FIRST: dict[str, object] = {
    **{f"{node} runs": "v1" for node in NODES},
    **{f"{node} would start": "v1" for node in NODES},
    **{f"{node} at the balancer": "UP" for node in NODES},
    "ledger": [],
    "snapshots": [],
}
LAST: dict[str, object] = {
    **{field: "v2" if said == "v1" else said for field, said in FIRST.items()},
    "ledger": ["001_kind"],
    "snapshots": ["main/before-v2.run"],
}
ALL_UP = dict.fromkeys(NODES, "UP")


def _numbered(events: list[Event]) -> list[Event]:
    """Each a tenth of a second after the one before."""
    return [
        msgspec.structs.replace(event, seq=number, at=BEGAN + number / 10)
        for number, event in enumerate(events, start=1)
    ]


def _there(until: str = "finalize/approve") -> list[Event]:
    """Every step done up to that one."""
    events: list[Event] = [
        Created(site="identity", plan="p", actor="a", reason=""),
        Claimed(epoch=1, owner=OWNER),
    ]
    for step in PLAN.steps():
        if step.id == until:
            return events
        events.append(StepChanged(step=step.id, state=StepState.RUNNING, attempt=1))
        events.append(StepChanged(step=step.id, state=StepState.DONE, evidence="seen"))
    raise AssertionError(until)


def _seen(case: str, events: list[Event], after: dict[str, object]) -> Seen:
    numbered = _numbered(events)
    status = fold("run", PLAN, numbered)
    return Seen(
        case=parse(case),
        plan=PLAN,
        status=status,
        events=numbered,
        before=FIRST,
        after=after,
        samples=[Sample(BEGAN, ALL_UP), Sample(BEGAN + 1, {**ALL_UP, "app1": "MAINT"})],
        book=a_ledger(0, 20),
        struck=[],
        excuses=[],
        questions=[] if status.ended else [(BEGAN + 20, asked(status))],
        starts=dict.fromkeys(NODES, 1),
        took=20.0,
    )


def _done() -> Seen:
    gate = StepChanged(step="finalize/approve", state=StepState.WAITING)
    events = [*_there(), gate, RunChanged(state=RunState.WAITING, reason="for a person")]
    return _seen("app1/switch:conductor-dies-before-effect", events, dict(LAST))


def _fell_back() -> Seen:
    back = way_back(PLAN, {step.id: Reached() for step in PLAN.stages[1].steps})
    events = [
        *_there("main/snapshot"),
        FallbackBegun(stages=back.stages, budgets=back.budgets, reason="no", actor="a"),
    ]
    for step in back.steps():
        events.append(StepChanged(step=step.id, state=StepState.RUNNING, attempt=1))
        events.append(StepChanged(step=step.id, state=StepState.DONE, evidence="seen"))
    events.append(RunChanged(state=RunState.FELL_BACK))
    return _seen("app1/install:host-dies:abort", events, dict(FIRST))


def _stopped() -> Seen:
    events = [
        *_there("app1/start"),
        StepChanged(step="app1/start", state=StepState.RUNNING, attempt=1),
        StepChanged(step="app1/start", state=StepState.FAILED, evidence="no", error="StepError"),
        RunChanged(state=RunState.STOPPED, reason="app1/start failed"),
    ]
    return _seen("app1/start:fails-before", events, {**LAST, "app1 runs": None})


@pytest.mark.parametrize(
    ("made", "end"), [(_done, End.DONE), (_fell_back, End.FELL_BACK), (_stopped, End.STOPPED)]
)
def test_what_ended_as_it_may_is_no_finding(made: Callable[[], Seen], end: End) -> None:
    """Done, back where it began, and stopped with a question that can be answered."""
    seen = made()
    assert judging.findings(seen) == []
    assert judging.end_of(seen) is end


def test_how_long_the_way_back_took() -> None:
    """From its beginning to the end of the run; nothing for a run that did not go back."""
    assert judging.back(_fell_back()) == pytest.approx(0.1 * (2 * len(NODES) + 1))
    assert judging.back(_done()) == 0


def _a_node_of_the_old_version(seen: Seen) -> None:
    seen.after["app3 runs"] = "v1"


def _a_node_out_of_rotation(seen: Seen) -> None:
    seen.after["app3 at the balancer"] = "DRAIN"


def _a_migration_that_is_missing(seen: Seen) -> None:
    seen.after["ledger"] = []


def _a_node_that_started_twice(seen: Seen) -> None:
    seen.starts["app2"] = 2


def _below_the_floor(seen: Seen) -> None:
    seen.samples.append(Sample(BEGAN + 2, {**ALL_UP, "app1": "MAINT", "app2": "DOWN"}))


def _a_request_that_failed(seen: Seen) -> None:
    seen.book = a_ledger(0, 20, failed=(3.0,))


def _a_session_that_was_cut(seen: Seen) -> None:
    seen.book = a_ledger(0, 20, cut=(3.0,))


def _a_write_that_is_lost(seen: Seen) -> None:
    seen.book = a_ledger(0, 20, missing=(3.0,))


def _a_write_that_cannot_be_looked_for(seen: Seen) -> None:
    seen.book = a_ledger(0, 20, unverified=(3.0,))


def _no_write_at_all(seen: Seen) -> None:
    seen.book = a_ledger(0, 20, write_rate=0.0)


def _a_conductor_that_hung(seen: Seen) -> None:
    seen.wrong.append(("a conductor comes to an end", "it did not"))


@pytest.mark.parametrize(
    ("breaks", "rule"),
    [
        (_a_node_of_the_old_version, "done is done"),
        (_a_node_out_of_rotation, "done is done"),
        (_a_migration_that_is_missing, "done is done"),
        (_a_node_that_started_twice, "no finished step is repeated"),
        (_below_the_floor, "capacity floor"),
        (_a_request_that_failed, "nobody notices"),
        (_a_session_that_was_cut, "nobody notices"),
        (_a_write_that_is_lost, "no acknowledged write is lost"),
        (_a_write_that_cannot_be_looked_for, "no acknowledged write is lost"),
        (_no_write_at_all, "nothing is lost"),
        (_a_conductor_that_hung, "a conductor comes to an end"),
    ],
)
def test_what_is_wrong_is_found(breaks: Callable[[Seen], None], rule: str) -> None:
    """Each rule is broken once, and that rule alone is named."""
    seen = _done()
    breaks(seen)
    assert [found for found, _ in judging.findings(seen)] == [rule]


@pytest.mark.parametrize(
    "field", ["app1 runs", "app2 would start", "app4 at the balancer", "ledger", "snapshots"]
)
def test_whatever_did_not_come_back_is_found(field: str) -> None:
    """Back where it began means each field of it."""
    seen = _fell_back()
    seen.after[field] = LAST[field] if LAST[field] != FIRST[field] else "DRAIN"
    [(rule, what)] = judging.findings(seen)
    assert rule == "fell back to where it began"
    assert what.startswith(field)


def test_a_run_that_stopped_without_an_answer_is_found() -> None:
    """Somebody who is asked can always do something."""
    seen = _stopped()
    at, question = seen.questions[0]
    seen.questions = [(at, msgspec.structs.replace(question, replies=()))]
    assert [rule for rule, _ in judging.findings(seen)] == ["there is a way on"]


def test_a_broken_host_is_no_fault_of_the_run_while_it_is_broken() -> None:
    """Its requests and its place in the rotation are excused; another node that is taken out below the floor is not."""
    seen = _done()
    seen.excuses = [Excuse("app2", BEGAN + 1.5, BEGAN + 4)]
    _below_the_floor(seen)
    seen.book = a_ledger(0, 20, failed=(3.0,))
    assert judging.findings(seen) == []
    seen.samples.append(Sample(BEGAN + 3, {**ALL_UP, "app1": "MAINT", "app3": "DRAIN", "app2": "DOWN"}))
    assert {rule for rule, _ in judging.findings(seen)} == {"capacity floor"}
    seen.samples[-1:] = [Sample(BEGAN + 5, {**ALL_UP, "app1": "MAINT", "app2": "DOWN"})]
    assert [rule for rule, _ in judging.findings(seen)] == ["capacity floor"]


def test_a_balancer_that_is_broken_excuses_its_pool() -> None:
    """Nobody can be in rotation there."""
    seen = _done()
    _below_the_floor(seen)
    seen.excuses = [Excuse("lb1", BEGAN + 1.5, BEGAN + 4)]
    assert judging.findings(seen) == []


def test_nobody_is_taken_out_below_the_floor_whatever_is_broken() -> None:
    """A node that has died counts as serving, but no other may leave then."""
    seen = _done()
    seen.excuses = [Excuse("app2", BEGAN + 1.5, BEGAN + 4)]
    down = {**ALL_UP, "app2": "DOWN"}
    seen.samples = [Sample(BEGAN + 2, down), Sample(BEGAN + 2.1, {**down, "app1": "DRAIN"})]
    [(rule, what)] = judging.findings(seen)
    assert rule == "capacity floor"
    assert what.startswith("app1 was taken out, which leaves 2")
