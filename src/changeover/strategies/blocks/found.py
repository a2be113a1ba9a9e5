"""What did not serve when the plan was made does not serve after a way back either."""

from collections.abc import Sequence

import msgspec

from changeover.model.plan import Facts, Stage, Step
from changeover.model.site import Node

SERVES_AGAIN = frozenset(
    {"node.start", "node.health", "node.version", "node.watchdog-start", "traffic.enter"}
)
"""What brings a node back that served."""


def serves(node: Node, facts: Facts) -> bool:
    """Whether the node ran and every balancer was told to use it; where nothing was seen, it is taken to."""
    told = (facts.pools.get(balancer, {}).get(server, "ready") for balancer, server in node.servers.items())
    return facts.versions.get(node.name) != "" and all(state == "ready" for state in told)


def as_found(stage: Stage, idle: Sequence[Node]) -> Stage:
    """The stage, whose way back leaves a node that did not serve when the plan was made stopped and out of rotation."""
    names = {node.name for node in idle}
    return msgspec.structs.replace(
        stage, steps=tuple(_idle_again(step) if step.unit in names else step for step in stage.steps)
    )


def _idle_again(step: Step) -> Step:
    undo = tuple(it for it in step.undo if it.do.action not in SERVES_AGAIN)
    note = "" if undo else f"{step.unit} did not serve when the plan was made"
    return msgspec.structs.replace(step, undo=undo, undo_note=step.undo_note or note)
