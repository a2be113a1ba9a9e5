"""Which cases a lab can play, and which of them are chosen."""

import pytest

from changeover.errors import RefusedError
from changeover.labrehearsal import cases
from changeover.model.plan import Facts, Plan
from changeover.model.states import StepState
from changeover.rehearsal import Kind, Strike, parse
from changeover.strategies.rolling import rolling
from tests.sites import a_release, a_site

EVERY = tuple(cases.HOW)
OF_PROCESSES = tuple(kind for kind in EVERY if kind not in (Kind.NETWORK_CUT, Kind.DISK_FULL))


def _plan(nodes: int = 4) -> Plan:
    return rolling(a_site(nodes), a_release(keep_serving=nodes - 1), Facts())


def test_the_chosen_cases_strike_in_every_stage_and_with_every_fault() -> None:
    """What takes some minutes leaves out no role of a stage and nothing that a lab can bring about."""
    plan = _plan()
    chosen = cases.chosen(plan, EVERY)
    stage_of = {step.id: stage for stage in plan.stages for step in stage.steps}
    struck = [strike for case in chosen for strike in case.strikes]
    stages = {stage_of[it.step].name for it in struck if it.step in stage_of}
    assert stages >= {stage.name for stage in plan.stages if not stage.batch}
    assert any(stage_of[it.step].batch for it in struck if it.step in stage_of)
    assert any(it.step.startswith("back/") for it in struck)
    assert {it.kind for it in struck} == set(EVERY)
    assert len(chosen) == len(cases.CHOSEN)


@pytest.mark.parametrize("nodes", [1, 2, 3, 9])
def test_whatever_is_chosen_or_possible_can_be_played(nodes: int) -> None:
    """No case names a step that the plan has not, or a fault that means nothing to it; none comes twice."""
    plan = _plan(nodes)
    for found in (cases.chosen(plan, EVERY), cases.candidates(plan, EVERY)):
        assert found
        assert [cases.why_not(case, plan, EVERY) for case in found] == [""] * len(found)
        assert len(set(found)) == len(found)
        assert [parse(str(case)) for case in found] == found


def test_what_a_form_cannot_bring_about_is_left_out() -> None:
    """Plain processes have neither a cable nor a disk of their own."""
    kinds = {it.kind for case in cases.chosen(_plan(), OF_PROCESSES) for it in case.strikes}
    assert kinds == set(OF_PROCESSES)


def test_past_the_point_of_no_return_nobody_answers_that_the_run_goes_back() -> None:
    """In finalize a case is retried, or the conductor dies; only its gate may be refused and the run aborted."""
    plan = _plan()
    finalize = {step.id for step in plan.stages[-1].steps if not step.person}
    behind = [case for case in cases.candidates(plan, EVERY) if case.strikes[0].step in finalize]
    assert behind
    assert {reply for case in behind for reply in case.replies} == {"retry"}


def test_cases_are_selected_by_name_or_pattern() -> None:
    """A pattern takes what matches; a whole name takes also what no pattern would have found."""
    plan = _plan()
    start = cases.select(["*/start:hangs:*"], plan, EVERY)
    assert {case.strikes[0].step for case in start} == {"app1/start", "app3/start", "app4/start"}
    assert list(map(str, cases.select(["app2/enter:hangs:leave"], plan, EVERY))) == ["app2/enter:hangs:leave"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("app9/start:hangs:retry", "the plan has no step app9/start"),
        ("app1/start:slow", "cannot bring about slow"),
        ("app1/start:hangs@2", "struck as a whole"),
        ("app1/drain:fails-before:retry", "means nothing to traffic.drain"),
        ("main/expand/999_half_way:hangs", "is there to fail half-way"),
        ("app1/start", "is not the name of a case"),
    ],
)
def test_what_cannot_be_played_is_refused_with_why(name: str, why: str) -> None:
    """A case that the lab could only pretend to play is none."""
    with pytest.raises(RefusedError, match=why):
        cases.select([name], _plan(), EVERY)


@pytest.mark.parametrize(
    ("step", "host"),
    [
        ("app2/start", "app2"),
        ("app2/drain", "lb1"),
        ("app2/enter", "lb1"),
        ("public/pool-check", "lb1"),
        ("main/snapshot", "db1"),
        ("main/expand/001_kind", "db1"),
        ("db1/host-check", "db1"),
    ],
)
def test_a_step_is_struck_at_the_host_that_it_is_at_work_on(step: str, host: str) -> None:
    """A drain is done at the balancer, a migration at the database."""
    plan = _plan()
    assert cases.host_of(next(it for it in plan.steps() if it.id == step), plan.site) == host


def test_what_has_to_be_there_before_a_step_is_brought_about_earlier() -> None:
    """The application is told while nothing of it runs, and a disk is full when its room has been looked at."""
    plan = _plan()

    def first(step: str, kind: Kind) -> tuple[str, StepState]:
        return cases.struck_at(Strike(step, kind), plan)[0]

    assert first("app1/start", Kind.FAILS_BEFORE) == ("app1/switch", StepState.RUNNING)
    assert first("back/app1/start", Kind.FAILS_BEFORE) == ("back/app1/switch", StepState.RUNNING)
    assert first("app3/install", Kind.DISK_FULL) == ("app3/host-check", StepState.DONE)
    assert first("main/snapshot", Kind.DISK_FULL) == ("app1/install", StepState.RUNNING)
    contract = "main/snapshot-before-contract"
    assert first(contract, Kind.DISK_FULL) == ("finalize/approve", StepState.DONE)
    assert first("app1/verify", Kind.HOST_DIES) == ("app4/enter", StepState.RUNNING)
    assert first("app1/start", Kind.DIES_RECORDED) == ("app1/start", StepState.DONE)
    assert first("app1/start", Kind.HOST_DIES) == ("app1/start", StepState.RUNNING)
