"""The way back of a plan in which nothing goes node after node: its stages in reverse, each taken back as a whole.

Such a plan lays its stages so that this is right: every stop in one stage, the schema after it, the starts later.
"""

from collections.abc import Iterator

from changeover.fallback.reached import Begun, migrates
from changeover.fallback.schema import schema
from changeover.fallback.stages import SERVES_AGAIN, undone, verified, whole
from changeover.model.plan import BACK, Operation, Stage, Step

STOPS = "node.stop"


def straight(begun: Begun) -> Iterator[Stage]:
    """Stage after stage, the latest first; the nodes are seen well as soon as all were started and are in rotation."""
    back = [whole(it) for stage in begun.stages for it in _taken_back(stage, begun)]
    serves = [place for place, stage in enumerate(back, start=1) if _serves(stage)]
    there = serves[-1] if serves else len(back)
    yield from back[:there]
    yield verified(begun.stages, begun)
    yield from back[there:]


def _taken_back(stage: Stage, begun: Begun) -> Iterator[Stage]:
    if not migrates(stage):
        yield undone(stage, begun)
        return
    change = schema(stage, begun)
    if change.steps:
        yield _at_rest(begun)
    yield change


def _at_rest(begun: Begun) -> Stage:
    """What was stopped is seen so, and stopped again where a reboot has started it: the schema changes under nobody."""
    stopped = {it.do.target for stage in begun.stages for it in begun.steps(stage) if it.do.action == STOPS}
    steps = tuple(
        Step(
            id=f"{BACK}{node.name}/stopped",
            do=Operation("node.stopped", node.name),
            summary=f"see {node.name} not running, and stop it again where it does",
            timeout=begun.plan.release.limits.timeouts.get("stop", 300),
            attempts=2,
            retry_wait=1,
            estimate=0.1,
            unit=node.name,
        )
        for node in begun.plan.site.application.nodes
        if node.name in stopped
    )
    return Stage("back-at-rest", "See that nothing runs", steps, outage=True)


def _serves(stage: Stage) -> bool:
    return any(step.do.action in SERVES_AGAIN for step in stage.steps)
