"""Blocks that take a node out of rotation, and bring it back."""

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import Release
from changeover.model.site import Node
from changeover.strategies.blocks.steps import back, chain, estimate, timeout

ROTATION = "rotation"
"""The limit with one place that every step takes which makes a pool smaller, so that the floor is exact."""


def leave(node: Node, release: Release) -> tuple[Step, Step]:
    """Drain the node, then take it out of rotation once nobody is on it. Both are undone by its coming back."""
    drain, out = leaving(node, release)
    return (
        msgspec.structs.replace(drain, undo=back(enter(node, release))),
        msgspec.structs.replace(out, undo_note="by what undoes the drain"),
    )


def leaving(node: Node, release: Release) -> tuple[Step, Step]:
    """The two steps of leaving, without a way back."""
    limits = release.limits
    servers = {"servers": dict(node.servers)}
    patience = {"quiet": limits.quiet, "deadline": limits.drain, "escalation": limits.drain_escalation}
    drain = Step(
        id=f"{node.name}/drain",
        do=Operation("traffic.drain", node.name, servers),
        summary=f"give {node.name} no new sessions",
        limits=(ROTATION,),
        timeout=30,
        attempts=2,
        retry_wait=1,
        estimate=0.1,
        unit=node.name,
    )
    out = Step(
        id=f"{node.name}/out",
        do=Operation("traffic.remove", node.name, {**servers, **patience}),
        summary=f"wait until nobody is on {node.name}, at most {limits.drain:g} s, then take it out",
        timeout=limits.drain + 60 if limits.drain_escalation != "wait" else 86400.0,
        **estimate(release, "drain", 5),
        unit=node.name,
    )
    return drain, out


def enter(node: Node, release: Release) -> Step:
    """Bring the node back into rotation and see it there."""
    return Step(
        id=f"{node.name}/enter",
        do=Operation("traffic.enter", node.name, {"servers": dict(node.servers)}),
        summary=f"bring {node.name} back and see the balancer send it sessions",
        undo=back(*chain(*leaving(node, release))),
        timeout=timeout(release, "enter", 120),
        attempts=2,
        retry_wait=1,
        **estimate(release, "enter", 2),
        unit=node.name,
    )
