"""How many nodes may fail."""

from collections.abc import Sequence

import pytest

from changeover.engine.budgets import Breach, breach, set_aside
from changeover.engine.events import FAILURE_BUDGET, Event, StepChanged
from changeover.engine.fold import RunStatus
from changeover.model.plan import Budget
from changeover.model.release import Cause
from changeover.model.states import StepState
from tests.enginekit import a_gate, a_plan, a_step, told

S = StepState

STAGES = [
    [a_step(f"app{node}/{what}", unit=f"app{node}") for node in batch for what in ("stop", "start")]
    for batch in ((1, 2, 3), (4, 5, 6))
]


def after(story: str, budget: Budget) -> RunStatus:
    """Where a run stands after `1+ 2- 3~`: node 1 succeeded, 2 failed, 3 was set aside, in that order."""
    begun: list[Event] = []
    ended: list[Event] = []
    for word in story.split():
        node, came = word[0], word[1]
        for what in ("stop", "start"):
            name = f"app{node}/{what}"
            if came == "~":
                ended.append(StepChanged(step=name, state=S.SKIPPED, actor=FAILURE_BUDGET))
            elif came == "+" or what == "stop":
                begun.append(StepChanged(step=name, state=S.RUNNING, attempt=1))
                state, error = (S.DONE, "") if came == "+" else (S.FAILED, "StepError")
                ended.append(StepChanged(step=name, state=state, evidence="seen", error=error))
    events = begun + ended
    return told(a_plan(*STAGES, budgets=(budget,)), events)


@pytest.mark.parametrize(
    ("story", "budget", "why"),
    [
        ("1+ 2+", Budget("total", 0), ""),
        ("1+ 2-", Budget("total", 0), "app2/stop failed: 1 node failed in this run, the limit is 0"),
        ("1+ 2-", Budget("total", 1), ""),
        ("1~ 4-", Budget("total", 1), "app4/stop failed: 2 nodes failed in this run, the limit is 1"),
        ("1~ 4-", Budget("batch", 1), ""),
        ("1~ 2-", Budget("batch", 1), "app2/stop failed: 2 nodes failed in one batch, the limit is 1"),
        (
            "1~ 2-",
            Budget("consecutive", 1),
            "app2/stop failed: 2 nodes failed one after another, the limit is 1",
        ),
        ("1~ 2+ 3-", Budget("consecutive", 1), ""),
        ("1~ 2+ 3~ 4-", Budget("consecutive", 1), "2 nodes failed one after another"),
        ("3- 1+", Budget("consecutive", 0), ""),
    ],
)
def test_a_budget_counts_units(story: str, budget: Budget, why: str) -> None:
    """In a batch, in the run, or in a row in the order in which they came to their end."""
    broken = breach(after(story, budget))
    said = broken.why if broken else ""
    assert why in said
    assert bool(why) == bool(said)


def test_what_is_set_aside_counts_once_over_all_stages() -> None:
    """Its steps in later stages are skipped with it, which is no second failure."""
    stages = [
        [a_step("app1/stop", unit="app1")],
        [a_step("app1/clean", unit="app1"), a_step("app2/clean", unit="app2")],
    ]
    events: Sequence[Event] = [
        *(
            StepChanged(step=step, state=S.SKIPPED, actor=FAILURE_BUDGET)
            for step in ("app1/stop", "app1/clean")
        ),
        StepChanged(step="app2/clean", state=S.RUNNING, attempt=1),
        StepChanged(step="app2/clean", state=S.FAILED, error="E"),
    ]
    for scope, limit in (("total", 2), ("batch", 1), ("consecutive", 2)):
        assert breach(told(a_plan(*stages, budgets=(Budget(scope, limit),)), events)) is None


def test_what_a_person_skipped_is_addressed() -> None:
    """It counts no longer."""
    status = after("1-", Budget("total", 0))
    status.apply(StepChanged(seq=status.seq + 1, step="app1/stop", state=S.SKIPPED, actor="kim"))
    assert breach(status) is None


@pytest.mark.parametrize("budgets", [(), (Budget("total", 9),)])
def test_a_step_of_no_unit_is_in_no_budget(budgets: tuple[Budget, ...]) -> None:
    """Nor is anything without budgets."""
    events = [
        StepChanged(step="x", state=S.RUNNING, attempt=1),
        StepChanged(step="x", state=S.FAILED, evidence="seen", error="E"),
    ]
    assert breach(told(a_plan([a_step("x")], budgets=budgets), events)) == Breach(
        Cause.FAILURE, "x failed: seen"
    )


def test_a_refused_gate_is_in_no_budget() -> None:
    """A person said no."""
    events = [StepChanged(step="go", state=S.WAITING), StepChanged(step="go", state=S.FAILED, actor="kim")]
    plan = a_plan([a_gate("go", unit="app1")], budgets=(Budget("total", 9),))
    assert breach(told(plan, events)) == Breach(Cause.GATE, "go was refused")


def test_setting_aside_skips_what_the_unit_has_left() -> None:
    """What is done or in flight stays as it is."""
    steps = [a_step(f"app1/{name}", unit="app1") for name in ("a", "b", "c", "d")]
    events = [
        StepChanged(step="app1/a", state=S.RUNNING, attempt=1),
        StepChanged(step="app1/a", state=S.DONE),
        StepChanged(step="app1/b", state=S.RUNNING, attempt=1),
        StepChanged(step="app1/c", state=S.RUNNING, attempt=1),
        StepChanged(step="app1/c", state=S.FAILED, error="E"),
    ]
    status = told(a_plan(steps, [a_step("app2/a", unit="app2")]), events)
    reason = "app1 was set aside: app1/c failed"
    assert list(set_aside(status)) == [("app1/c", reason), ("app1/d", reason)]
