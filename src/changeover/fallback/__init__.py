"""The way back: derived from a plan and from how far it has come, as a plan of its own. Pure.

What went node after node goes back as `rolling` says; everything else by plain `reversal`, stage after stage.
"""

from collections.abc import Mapping

import msgspec

from changeover.errors import RefusedError
from changeover.fallback.reached import MIGRATES, Begun, Reached, direction, point_of_no_return, reachable
from changeover.fallback.reversal import straight
from changeover.fallback.rolling import rolled
from changeover.model.plan import Budget, Plan, Stage

__all__ = [
    "MIGRATES",
    "Reached",
    "direction",
    "from_the_end_of",
    "point_of_no_return",
    "reachable",
    "way_back",
]


def from_the_end_of(stage: Stage, plan: Plan) -> Plan:
    """The way back once that stage is done."""
    until = plan.stages[: plan.stages.index(stage) + 1]
    return way_back(plan, {step.id: Reached() for before in until for step in before.steps})


def way_back(plan: Plan, reached: Mapping[str, Reached]) -> Plan:
    """What takes back every step that was begun, half-done ones included; without stages if there is none.

    `RefusedError` past the point of no return.
    """
    begun = Begun(plan, reached)
    last = point_of_no_return(plan)
    ahead = plan.stages[plan.stages.index(last) :] if last else ()
    if any(not reached[step.id].skipped for stage in ahead for step in begun.steps(stage)):
        name = last.name if last else ""
        raise RefusedError(
            f"there is no way back any more: {name} has begun",
            hint="retry or skip what failed, or end the run where it is with `changeover abort --stay`",
        )
    went = rolled if any(stage.batch for stage in plan.stages) else straight
    stages = [stage for stage in went(begun) if stage.steps]
    return msgspec.structs.replace(
        plan, stages=tuple(stages), budgets=(Budget("total", len(plan.site.application.nodes)),)
    )
