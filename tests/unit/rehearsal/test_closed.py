"""Full stops and windows, rehearsed: single cases at the moments that matter, and whole ones where there is time."""

import pytest

from changeover.model.plan import Plan
from changeover.model.release import Late
from changeover.rehearsal import End, rehearse, replay
from tests.unit.rehearsal.plans import a_full_stop, a_window

FULL_STOP = a_full_stop()
WINDOW = a_window()


@pytest.mark.parametrize(
    ("plan", "case", "end"),
    [
        (FULL_STOP, "nothing", End.DONE),
        (FULL_STOP, "news/flush:conductor-dies-effect-goes-on", End.DONE),
        (FULL_STOP, "news/flushed:stalls:retry", End.DONE),
        (FULL_STOP, "news/flushed:stalls:with-ignore", End.DONE),
        (FULL_STOP, "news/flushed:stalls:abort-unmended", End.FELL_BACK),
        (FULL_STOP, "app1/stop:host-dies:retry:retry", End.DONE),
        (FULL_STOP, "main/contract/002_legacy:fails-before:abort", End.FELL_BACK),
        (FULL_STOP, "clean/approve:refused:abort", End.FELL_BACK),
        (FULL_STOP, "app2/start:never-well:abort-unmended", End.FELL_BACK),
        (WINDOW, "nothing", End.DONE),
        (WINDOW, "app1/first-log:fails-before:abort", End.FELL_BACK),
        (WINDOW, "app1/start-log:error-logged:with-accept", End.DONE),
        (WINDOW, "app1/start-log:error-logged:abort", End.FELL_BACK),
        (WINDOW, "main/expand/002_legacy:broken-off:abort", End.FELL_BACK),
        (WINDOW, "app2/keep:disk-full:retry", End.DONE),
        (WINDOW, "sign-off-anna/approve:refused:abort", End.FELL_BACK),
        (WINDOW, "public/close:conductor-dies-effect-goes-on", End.DONE),
    ],
)  # fmt: skip
def test_a_case_of_each_stage_ends_as_it_may(plan: Plan, case: str, end: End) -> None:
    """Done, or back where it began: files, configuration, gates, flushes and watchdogs included."""
    again = replay(plan, case)
    assert (again.end, again.findings) == (end, ())


@pytest.mark.parametrize(
    "case",
    ["sign-off-anna/approve:late", "app1/switch:latest-moment-in-it", "app2/start:conductor-away"],
)  # fmt: skip
def test_whatever_the_delay_the_run_is_back_before_the_window_closes(case: str) -> None:
    """By itself, as the file says: nobody answers, a step is in flight across the moment, no conductor was there."""
    again = replay(WINDOW, case)
    assert (again.end, again.findings) == (End.FELL_BACK, ())
    assert any("the latest safe moment has come" in line.text for line in again.trace)
    assert WINDOW.release.window
    began = WINDOW.release.window.opens
    assert again.trace[-1].at < WINDOW.release.window.closes - began + 3600


def test_where_the_file_says_ask_a_person_is_asked_at_the_latest_safe_moment() -> None:
    """And may go on all the same, or go back."""
    plan = a_window(late=Late.ASK)
    asked = replay(plan, "sign-off-anna/approve:late")
    assert asked.asks.startswith("the latest safe moment has come")
    assert {"retry", "abort"} <= set(asked.replies)
    assert replay(plan, "sign-off-anna/approve:late:abort").end is End.FELL_BACK
    assert replay(plan, "sign-off-anna/approve:late:retry").end is End.DONE


@pytest.mark.slow
@pytest.mark.parametrize("plan", [FULL_STOP, WINDOW], ids=["full-stop", "window"])
def test_no_fault_of_it_is_a_finding(plan: Plan) -> None:
    """Every single fault, every answer to it, and what fails for ever on the way back."""
    made = rehearse(plan)
    assert [(finding.case, finding.rule, finding.what) for finding in made.findings] == []
