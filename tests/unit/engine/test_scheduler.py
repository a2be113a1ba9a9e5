"""The scheduler against a model that looks at everything each time."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.engine.graph import Graph, check
from changeover.engine.scheduler import Scheduler
from changeover.errors import RefusedError
from changeover.model.plan import Plan, Step
from changeover.model.states import SATISFIED, StepState
from tests.enginekit import a_gate, a_plan, a_step

LIMITS = ("a", "b", "c")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Up to three stages of up to six steps, with needs and limits of every kind."""
    stages: list[list[Step]] = []
    before: list[str] = []
    for stage in range(draw(st.integers(1, 3))):
        steps: list[Step] = []
        for number in range(draw(st.integers(0, 6))):
            known = before + [step.id for step in steps]
            needs = draw(st.lists(st.sampled_from(known), max_size=2, unique=True)) if known else []
            limits = draw(st.lists(st.sampled_from(LIMITS), max_size=3, unique=True))
            steps.append(a_step(f"{stage}.{number}", needs=tuple(needs), limits=tuple(limits)))
        before += [step.id for step in steps]
        stages.append(steps)
    return a_plan(*stages, limits={name: draw(st.integers(1, 3)) for name in LIMITS})


def launchable(plan: Plan, states: Mapping[str, StepState], flying: set[str]) -> set[str]:
    """By definition: pending, everything it needs and every earlier stage satisfied, room in every limit."""
    by_id = {step.id: step for step in plan.steps()}
    used = {name: sum(name in by_id[step].limits for step in flying) for name in plan.limits}
    free: set[str] = set()
    for stage in plan.stages:
        for step in stage.steps:
            ready = states[step.id] is StepState.PENDING and step.id not in flying
            met = all(states[need] in SATISFIED and need not in flying for need in step.needs)
            if ready and met and all(used[name] < plan.limits[name] for name in step.limits):
                free.add(step.id)
        if any(states[step.id] not in SATISFIED or step.id in flying for step in stage.steps):
            break
    return free


@settings(deadline=None, max_examples=200)
@given(plan=plans(), data=st.data())
def test_it_hands_out_exactly_what_may_be_launched(plan: Plan, data: st.DataObject) -> None:
    """Whatever ends, fails, is tried again, skipped, or scheduled anew: never too much and never too little."""
    states = {step.id: StepState.PENDING for step in plan.steps()}
    by_id = {step.id: step for step in plan.steps()}
    flying: set[str] = set()
    graph = Graph(plan)
    scheduler = Scheduler(graph, states.__getitem__)
    reopening = 3
    while any(state not in SATISFIED for state in states.values()):
        free = launchable(plan, states, flying)
        step = scheduler.next()
        if step is not None:
            assert step.id in free
            flying.add(step.id)
            continue
        assert not free
        assert flying, "nothing is in flight and nothing may be launched, but steps are left"
        ended = by_id[data.draw(st.sampled_from(sorted(flying)), label="ends")]
        flying.remove(ended.id)
        scheduler.release(ended)
        if data.draw(st.booleans(), label="is tried again"):
            scheduler.again(ended)
            continue
        states[ended.id] = StepState.DONE
        scheduler.satisfy(ended)
        satisfied = sorted(name for name, state in states.items() if state in SATISFIED)
        if reopening and data.draw(st.booleans(), label="is scheduled anew"):
            reopening -= 1
            states[data.draw(st.sampled_from(satisfied), label="reopened")] = StepState.PENDING
            scheduler = Scheduler(graph, states.__getitem__, flying)
    assert scheduler.next() is None


def test_held_steps_wait_for_again() -> None:
    """A step between two attempts is nobody's to launch."""
    plan = a_plan([a_step("x")])
    scheduler = Scheduler(Graph(plan), lambda _: StepState.PENDING, held={"x"})
    assert scheduler.next() is None
    scheduler.again(next(plan.steps()))
    assert scheduler.next() == next(plan.steps())


def test_nothing_more_of_a_stage_while_an_earlier_one_is_open_again() -> None:
    """What is in flight there ends, but what needs it waits."""
    plan = a_plan([a_step("x")], [a_step("y"), a_step("z", needs=("y",))])
    x, y, z = plan.steps()
    states = {"x": StepState.PENDING, "y": StepState.RUNNING, "z": StepState.PENDING}
    scheduler = Scheduler(Graph(plan), states.__getitem__, flying={"y"})
    scheduler.release(y)
    scheduler.satisfy(y)
    assert (scheduler.next(), scheduler.next()) == (x, None)
    scheduler.release(x)
    scheduler.satisfy(x)
    assert scheduler.next() == z


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (a_plan([a_step("x"), a_step("x")]), "x is there twice"),
        (a_plan([a_step("x")], [a_step("x")]), "x is there twice"),
        (a_plan([a_step("x", needs=("y",))], [a_step("y")]), "x needs y, which is not before it"),
        (a_plan([a_step("x", needs=("y",)), a_step("y", needs=("x",))]), "wait for each other: x, y"),
        (a_plan([a_step("x", limits=("none",))]), "takes a place in none"),
        (a_plan([a_step("x")], limits={"none": 0}), "the limit none has no places"),
        (a_plan(finalize=[a_step("x")]), "x gives up the way back without a gate"),
        (a_plan(finalize=[a_gate("g"), a_step("x")]), "x gives up the way back without a gate"),
    ],
)
def test_a_plan_that_cannot_be_executed_is_refused(plan: Plan, says: str) -> None:
    """With what is wrong with it, before anything begins."""
    with pytest.raises(RefusedError, match=says):
        check(plan)


def test_a_finalize_stage_behind_its_gate_is_fine() -> None:
    """The gate comes first, the rest needs it."""
    check(a_plan([a_step("x")], finalize=[a_gate("g"), a_step("y", needs=("g",))]))
