"""How long the way back takes, and whether a window leaves time for it."""

from collections.abc import Mapping

from changeover.errors import RefusedError
from changeover.fallback import Reached, direction, from_the_end_of, reachable, way_back
from changeover.model.moments import dated, told
from changeover.model.plan import Direction, Plan, Stage
from changeover.model.timetable import WAITS, estimate


def lasts_back(plan: Plan, reached: Mapping[str, Reached]) -> float | None:
    """How many seconds the way back takes at worst from where so much was reached; None if there is none any more."""
    try:
        back = way_back(plan, reached)
    except RefusedError:
        return None
    return estimate(back, at_worst=True).lasts


def refuse_late(plan: Plan, begins: float) -> None:
    """`RefusedError` for a plan that cannot be carried out within its window, begun at that time by its own estimates.

    Each stage must end early enough for everything up to it to be taken back, at worst, before the window closes.
    """
    window = plan.release.window
    if window is None:
        return
    if begins >= window.closes:
        raise RefusedError(
            f"the window has closed: that was {dated(window.closes, window.zone)}",
            hint="set `upgrade.window` anew, and make a new plan",
        )
    times = estimate(plan, begins=begins)
    bound, possible = _bound(plan), reachable(plan)
    for stage in bound:
        if stage not in possible:
            return
        back = estimate(from_the_end_of(stage, plan), at_worst=True).lasts
        ends, must = begins + times.stages[stage.name].end, window.closes - back - window.margin
        if ends > must:
            raise RefusedError(
                f"the window cannot be kept: {stage.name} ends {told(ends, window.zone)} by the estimates; with the way "
                f"back of {back / 60:.1f} min at worst and the margin of {window.margin / 60:.0f} min before the window "
                f"closes, it must have ended by {told(must, window.zone)}",
                hint="`changeover plan --fallback` tells what takes how long; make the window longer, or begin earlier",
            )


def refuse_early(plan: Plan, begins: float) -> None:
    """`RefusedError` for a plan that would begin before its window and does not wait for it."""
    window = plan.release.window
    if window is None or begins >= window.opens or any(step.do.action == WAITS for step in plan.steps()):
        return
    raise RefusedError(
        f"the window opens {dated(window.opens, window.zone)}, and nothing in the plan waits for it",
        hint="begin the run then",
    )


def best_beginning(plan: Plan, now: float) -> float:
    """When the run had best begin: with the time that it needs before it waits for the window, if that is not past."""
    window = plan.release.window
    return max(now, window.opens - _ahead(plan)) if window else now


def _bound(plan: Plan) -> tuple[Stage, ...]:
    """The stages before the last one without service or, where there is none, before it only goes forward."""
    without = [number for number, stage in enumerate(plan.stages) if stage.outage]
    if without:
        return plan.stages[: without[-1]]
    forward = [stage for stage in plan.stages if direction(stage, plan) is Direction.FORWARD]
    return plan.stages[: plan.stages.index(forward[0])] if forward else plan.stages


def _ahead(plan: Plan) -> float:
    """Seconds of work before the step that waits for the window to open."""
    times = estimate(plan)
    waits = (step.id for step in plan.steps() if step.do.action == WAITS)
    first = next(waits, "")
    return times.steps[first].start if first else 0.0
