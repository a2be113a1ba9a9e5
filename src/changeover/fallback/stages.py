"""Stages of a way back that every strategy's plan has."""

from collections.abc import Iterable, Sequence

import msgspec

from changeover.fallback.reached import Begun, direction
from changeover.fallback.steps import gated, in_reverse, within
from changeover.model.plan import BACK, Direction, Operation, Stage, Step

SERVES_AGAIN = frozenset({"node.start", "traffic.enter"})


def taking_back(stage: Stage, steps: Sequence[Step], begun: Begun) -> Stage:
    """The stage that takes this one back by these steps; behind a gate where the stage asks."""
    if steps and direction(stage, begun.plan) is Direction.ASK:
        steps = gated(stage.name, f"a person agrees that {stage.name} is taken back", steps)
    return Stage(
        f"back-{stage.name}",
        f"Take back: {stage.title}",
        within(steps),
        in_rotation=stage.in_rotation,
        affected=stage.affected,
        outage=stage.outage,
    )


def whole(stage: Stage) -> Stage:
    """A node that was left behind may still run the new version: nothing is taken from under it."""
    return msgspec.structs.replace(stage, whole=True)


def undone(stage: Stage, begun: Begun) -> Stage:
    """The stage in reverse. The snapshot of a database that was changed is kept."""
    kept = [step for step in begun.steps(stage) if not begun.needed(step)]
    return taking_back(stage, in_reverse(kept), begun)


def verified(stages: Iterable[Stage], begun: Begun) -> Stage:
    """See each node that was touched in these stages well, of the old version and in rotation."""
    plan = begun.plan
    touched = {step.unit for stage in stages for step in begun.steps(stage) if _serves_again(step)}
    steps = tuple(
        Step(
            id=f"{BACK}{node.name}/verify",
            do=Operation(
                "node.verify",
                node.name,
                {"version": plan.release.from_version, "servers": dict(node.servers)},
            ),
            summary=f"see that {node.name} is well and runs {plan.release.from_version}"
            + (", in rotation" if node.servers else ""),
            timeout=30,
            attempts=2,
            retry_wait=1,
            estimate=0.1,
            unit=node.name,
        )
        for node in plan.site.application.nodes
        if node.name in touched
    )
    return Stage("back-verify", f"See every node well and of version {plan.release.from_version}", steps)


def _serves_again(step: Step) -> bool:
    return any(undo.do.action in SERVES_AGAIN for undo in step.undo)
