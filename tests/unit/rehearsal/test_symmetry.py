"""Who stands for whom in a large plan."""

import pytest

from changeover.model.plan import Facts, Plan
from changeover.model.release import Batch
from changeover.rehearsal.symmetry import reduced
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site
from tests.unit.rehearsal.plans import a_full_stop, a_window


def a_plan(nodes: int, *batches: int) -> Plan:
    """Rolling, in batches of these sizes, the last one again and again."""
    return STRATEGIES["rolling"](
        a_site(nodes), a_release(batches=tuple(Batch(count=size) for size in batches)), Facts()
    )


def test_a_small_plan_is_not_reduced() -> None:
    """Every step of every node is struck."""
    plan = a_plan(4, 1)
    assert reduced(plan) == ([step.id for step in plan.steps()], ())


def test_one_of_each_role_stands_for_the_others() -> None:
    """A canary, the first batch, one between and the last one: the first node of each."""
    _, alike = reduced(a_plan(20, 1, 5))
    assert {it.target: len(it.stands_for) for it in alike} == {"app1": 0, "app2": 4, "app7": 9, "app17": 3}


def test_what_belongs_to_no_node_is_struck_in_full() -> None:
    """Balancers, databases and gates are no class of each other."""
    plan = a_plan(20, 1, 5)
    steps, alike = reduced(plan)
    chosen = {it.target for it in alike}
    assert {"finalize/approve", "main/snapshot", "lb1/host-check", "public/pool-check"} <= set(steps)
    assert {step.partition("/")[0] for step in steps if step.startswith("app")} == chosen


def test_a_node_with_something_of_its_own_is_a_class_of_its_own() -> None:
    """One that was found half upgraded has other steps, and stands for nobody."""
    plan = STRATEGIES["rolling"](a_site(12), a_release(), Facts(versions={"app5": "v2"}))
    _, alike = reduced(plan)
    assert ("app5", ()) in {(it.target, it.stands_for) for it in alike}


@pytest.mark.parametrize("plan", [a_window(12), a_full_stop(12)], ids=["window", "full-stop"])
def test_where_nothing_rolls_the_head_stands_for_itself_and_one_node_for_the_others(plan: Plan) -> None:
    """Though each node has a stage of its own in a window."""
    _, alike = reduced(plan)
    assert {it.target: len(it.stands_for) for it in alike} == {"app1": 0, "app2": 10}
