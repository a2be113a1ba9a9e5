"""How long steps take, learnt from how long they took."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles

import msgspec

from changeover.model.plan import Plan, Step

Took = Mapping[tuple[str, str], Sequence[float]]
"""(action, target) → how many seconds it took, each time that nothing went wrong in between."""


def measured(plan: Plan, took: Took) -> Plan:
    """The plan with every estimate that can be replaced by what was measured, in the steps of its way back too.

    The same action on the same target counts; where there is none, the same action on any target.
    """
    kinds: dict[str, list[float]] = {}
    for (action, _), seconds in took.items():
        kinds.setdefault(action, []).extend(seconds)

    def learnt(step: Step) -> Step:
        undo = tuple(map(learnt, step.undo))
        own = took.get((step.do.action, step.do.target), ())
        seen, where = (own, step.do.target) if own else (kinds.get(step.do.action, ()), "any target")
        if not seen:
            return msgspec.structs.replace(step, undo=undo)
        return msgspec.structs.replace(
            step,
            undo=undo,
            estimate=round(median(seen), 3),
            at_worst=round(_ninetieth(seen), 3),
            basis=f"measured {len(seen)} x on {where}",
        )

    stages = tuple(
        msgspec.structs.replace(stage, steps=tuple(map(learnt, stage.steps))) for stage in plan.stages
    )
    return msgspec.structs.replace(plan, stages=stages)


def _ninetieth(seconds: Sequence[float]) -> float:
    """The 90th percentile, never more than the longest."""
    return quantiles(seconds, n=10, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
