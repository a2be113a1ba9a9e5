"""A window that cannot be kept is refused before anything is begun."""

from typing import Any

import msgspec
import pytest

from changeover.errors import RefusedError
from changeover.fallback.timing import best_beginning, refuse_early, refuse_late
from changeover.model.plan import Direction, Operation, Plan, Step
from changeover.model.release import Window
from tests.enginekit import a_gate, a_plan, a_step

OPENS = 1_900_000_000.0
HOUR, MINUTE = 3600.0, 60.0


def lasting(name: str, there: float, back: float = 0.0, **more: Any) -> Step:
    """A step that takes so many minutes, and so many to be taken back."""
    undo = a_step(f"back/{name}", estimate=back * MINUTE)
    return a_step(name, estimate=there * MINUTE, undo=(undo,), **more)


WAIT = a_step("open", do=Operation("time.wait", "open", {"until": OPENS}))


def a_night(*stages: list[Step], hours: float, ahead: int = 0, **window: Any) -> Plan:
    """A plan for a window of so many hours; the first stages, `ahead` of them, are without an outage."""
    plan = a_plan(*stages, finalize=[a_gate("final")])
    made = tuple(
        msgspec.structs.replace(stage, outage=not stage.finalize and number >= ahead)
        for number, stage in enumerate(plan.stages)
    )
    it = Window(OPENS, OPENS + hours * HOUR, zone="UTC", **window)
    return msgspec.structs.replace(
        plan, stages=made, release=msgspec.structs.replace(plan.release, window=it)
    )


PLAN = ([lasting("install", 30)], [WAIT], [lasting("migrate", 40, 50)], [lasting("start", 10)])


def test_a_night_that_is_long_enough() -> None:
    """Whenever before the opening it begins: what is made ready ahead is waited for."""
    plan = a_night(*PLAN, hours=2, ahead=2)
    for begins in (OPENS - 12 * HOUR, OPENS - 30 * MINUTE, best_beginning(plan, OPENS - HOUR)):
        refuse_late(plan, begins)


def test_the_way_there_and_back_must_fit() -> None:
    """It says which stage ends too late for its way back, and by when it must have ended."""
    with pytest.raises(RefusedError) as caught:
        refuse_late(a_night(*PLAN, hours=1.5, ahead=2, margin=5 * MINUTE), OPENS - HOUR)
    assert caught.value.message == (
        "the window cannot be kept: stage3 ends 18:26 UTC by the estimates; with the way back of 50.0 min at worst and "
        "the margin of 5 min before the window closes, it must have ended by 18:21 UTC"
    )


def test_a_run_that_begins_too_late() -> None:
    """The same night is long enough for one that begins in time."""
    plan = a_night(*PLAN, hours=2, ahead=2)
    with pytest.raises(RefusedError, match="stage3 ends"):
        refuse_late(plan, OPENS + MINUTE)
    with pytest.raises(RefusedError, match="the window has closed: that was 2030-03-17 19:46 UTC"):
        refuse_late(plan, OPENS + 2 * HOUR)


def test_past_the_point_of_no_return_nothing_has_to_fit() -> None:
    """There is no way back to leave time for."""
    plan = a_night([lasting("a", 10, 10)], [lasting("b", 600, 600)], [lasting("c", 1)], hours=1)
    with pytest.raises(RefusedError, match="stage2 ends"):
        refuse_late(plan, OPENS)
    forward = msgspec.structs.replace(plan.stages[1], back=Direction.FORWARD)
    stages = (plan.stages[0], forward, *plan.stages[2:])
    refuse_late(msgspec.structs.replace(plan, stages=stages), OPENS)


def test_nothing_begins_before_its_window_but_what_waits_for_it() -> None:
    """A plan that stops the site at once is begun when the window has opened."""
    at_once = a_night([lasting("a", 10)], [lasting("b", 10)], hours=2)
    with pytest.raises(
        RefusedError, match="the window opens 2030-03-17 17:46 UTC, and nothing in the plan waits"
    ):
        refuse_early(at_once, OPENS - 1)
    refuse_early(at_once, OPENS)
    refuse_early(a_night(*PLAN, hours=2), OPENS - HOUR)


def test_the_best_beginning_leaves_time_for_what_comes_before_the_wait() -> None:
    """Or is now, where that is past; without a wait it is the opening, without a window now."""
    assert best_beginning(a_night(*PLAN, hours=2, ahead=2), OPENS - HOUR) == OPENS - 30 * MINUTE
    assert best_beginning(a_night(*PLAN, hours=2, ahead=2), OPENS - MINUTE) == OPENS - MINUTE
    assert best_beginning(a_night([lasting("a", 10)], hours=2), OPENS - HOUR) == OPENS
    assert best_beginning(a_plan([lasting("a", 10)]), 5.0) == 5.0
