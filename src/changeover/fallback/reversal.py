"""The way back of a plan in which nothing goes node after node: its stages in reverse, each taken back as a whole.

Such a plan lays its stages so that this is right: every stop in one stage, the schema after it, the starts later.
"""

from collections.abc import Iterator

from changeover.fallback.reached import Begun, migrates
from changeover.fallback.schema import schema
from changeover.fallback.stages import undone, verified, whole
from changeover.model.plan import Stage

STARTS = "node.start"


def straight(begun: Begun) -> Iterator[Stage]:
    """Stage after stage, the latest first; the nodes are seen well as soon as all of them were started."""
    back = [
        whole(schema(stage, begun) if migrates(stage) else undone(stage, begun)) for stage in begun.stages
    ]
    starts = [place for place, stage in enumerate(back, start=1) if _starts(stage)]
    started = starts[-1] if starts else len(back)
    yield from back[:started]
    yield verified(begun.stages, begun)
    yield from back[started:]


def _starts(stage: Stage) -> bool:
    return any(step.do.action == STARTS for step in stage.steps)
