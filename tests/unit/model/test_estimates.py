"""Estimates that are learnt from the journal's history."""

from changeover.model.estimates import measured
from changeover.model.plan import Facts, Step
from changeover.strategies.rolling import rolling
from tests.sites import a_release, a_site

PLAN = rolling(a_site(), a_release(), Facts())


def _step(name: str, took: dict[tuple[str, str], list[float]]) -> Step:
    return next(step for step in measured(PLAN, took).steps() if step.id == name)


def test_the_median_and_the_ninetieth_percentile_of_the_same_step_count() -> None:
    """Eleven times on this node; what other nodes took does not matter then."""
    took = {("node.stop", "app1"): [float(n) for n in range(11)], ("node.stop", "app2"): [99.0]}
    step = _step("app1/stop", took)
    assert (step.estimate, step.at_worst, step.basis) == (5.0, 9.0, "measured 11 x on app1")


def test_another_target_counts_where_there_is_nothing_better() -> None:
    """A node that was never stopped takes what nodes took."""
    step = _step("app3/stop", {("node.stop", "app1"): [3.0], ("node.stop", "app2"): [5.0]})
    assert (step.estimate, step.at_worst, step.basis) == (4.0, 4.8, "measured 2 x on any target")


def test_what_was_never_measured_keeps_its_default() -> None:
    """And the plan is the same, but for what was learnt."""
    assert _step("app1/start", {("node.stop", "app1"): [3.0]}).estimate == 1
    assert measured(PLAN, {}) == PLAN


def test_the_way_back_learns_too() -> None:
    """The start that undoes a stop is a start."""
    stop = _step("app1/stop", {("node.start", "app1"): [7.0]})
    assert stop.undo[0].estimate == 7.0


def test_the_operators_file_replaces_the_defaults() -> None:
    """Its estimate counts until something is measured."""
    plan = rolling(a_site(), a_release(estimates={"start": 20.0}), Facts())
    start = next(step for step in plan.steps() if step.id == "app1/start")
    assert (start.estimate, start.basis) == (20.0, "the file")
    learnt = measured(plan, {("node.start", "app1"): [2.0]})
    assert next(step for step in learnt.steps() if step.id == "app1/start").estimate == 2.0
