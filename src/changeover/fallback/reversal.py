"""The way back of a plan in which nothing goes node after node: its stages in reverse, each taken back as a whole.

Such a plan lays its stages so that this is right: every stop in one stage, the schema after it, the starts later.
"""

from collections.abc import Iterator

from changeover.fallback.reached import Begun, migrates
from changeover.fallback.schema import schema
from changeover.fallback.stages import undone, verified, whole
from changeover.model.plan import Stage

SERVES_AGAIN = frozenset({"node.start", "traffic.enter"})


def straight(begun: Begun) -> Iterator[Stage]:
    """Stage after stage, the latest first; the nodes are seen well as soon as all were started and are in rotation."""
    back = [
        whole(schema(stage, begun) if migrates(stage) else undone(stage, begun)) for stage in begun.stages
    ]
    serves = [place for place, stage in enumerate(back, start=1) if _serves(stage)]
    there = serves[-1] if serves else len(back)
    yield from back[:there]
    yield verified(begun.stages, begun)
    yield from back[there:]


def _serves(stage: Stage) -> bool:
    return any(step.do.action in SERVES_AGAIN for step in stage.steps)
