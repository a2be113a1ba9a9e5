"""Blocks that stop, switch and start a node, and see that it is well."""

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import Release
from changeover.model.site import Node
from changeover.strategies.blocks.steps import CHANGES_NOTHING, back, chain, estimate, look, timeout


def replace(node: Node, release: Release, *, watched: bool = False) -> tuple[Step, ...]:
    """Stop, switch, start, and see the node well and of the new version; the way back is the same, reversed.

    One that is `watched` has a watchdog, which is stopped before it and started after it.
    """
    old, new = release.from_version, release.to_version
    undone = msgspec.structs.replace
    started = chain(start(node, release), health(node, release), version(node, old, release))
    return (
        *([watchdog_stop(node)] if watched else []),
        undone(stop(node, release), undo=back(*started)),
        undone(switch(node, old, new, release), undo=back(switch(node, new, old, release))),
        undone(start(node, release), undo=back(stop(node, release))),
        health(node, release),
        version(node, new, release),
        *([watchdog_start(node)] if watched else []),
    )


def stop(node: Node, release: Release) -> Step:
    """Stop the node."""
    return Step(
        id=f"{node.name}/stop",
        do=Operation("node.stop", node.name, {"servers": dict(node.servers)}),
        summary=f"stop {node.name}",
        timeout=timeout(release, "stop", 300),
        **estimate(release, "stop", 2),
        unit=node.name,
    )


def switch(node: Node, old: str, new: str, release: Release) -> Step:
    """Switch the node from one version to another, while it is stopped."""
    return Step(
        id=f"{node.name}/switch",
        do=Operation("node.switch", node.name, {"release": new, "servers": dict(node.servers)}),
        summary=f"switch {node.name} from {old} to {new}",
        timeout=timeout(release, "switch", 60),
        **estimate(release, "switch", 0.2),
        unit=node.name,
    )


def start(node: Node, release: Release) -> Step:
    """Start the node."""
    return Step(
        id=f"{node.name}/start",
        do=Operation("node.start", node.name),
        summary=f"start {node.name}",
        timeout=timeout(release, "start", 300),
        **estimate(release, "start", 1),
        unit=node.name,
    )


def health(node: Node, release: Release) -> Step:
    """Wait until the node is well."""
    return Step(
        id=f"{node.name}/health",
        do=Operation("node.health", node.name),
        summary=f"wait until {node.name} is well",
        undo_note=CHANGES_NOTHING,
        timeout=timeout(release, "health", 300),
        **estimate(release, "health", 10),
        unit=node.name,
    )


def version(node: Node, expected: str, release: Release) -> Step:
    """See that the node runs that version."""
    return Step(
        id=f"{node.name}/version",
        do=Operation("node.version", node.name, {"version": expected}),
        summary=f"see that {node.name} runs {expected}",
        undo_note=CHANGES_NOTHING,
        timeout=timeout(release, "version", 30),
        **estimate(release, "version", 0.1),
        unit=node.name,
    )


def hold(gate: str, node: Node, seconds: float) -> Step:
    """Keep watching a node for a while."""
    return Step(
        id=f"{gate}/hold-{node.name}",
        do=Operation("node.hold", node.name, {"seconds": seconds}),
        summary=f"watch {node.name} for {seconds:g} s; stop if it is not well",
        undo_note=CHANGES_NOTHING,
        timeout=seconds + 60,
        estimate=seconds,
        unit=node.name,
    )


def verify(node: Node, expected: str) -> Step:
    """See that the node is well, of that version, and in rotation at every balancer that it is a server of."""
    seen = f"runs {expected}, and is in rotation" if node.servers else f"and runs {expected}"
    return look(
        f"{node.name}/verify",
        Operation("node.verify", node.name, {"version": expected, "servers": dict(node.servers)}),
        f"see that {node.name} is well, {seen}",
        unit=node.name,
    )


def stopped(node: Node, release: Release) -> Step:
    """See that the node does not run, and that nothing would start it again."""
    seen = look(
        f"{node.name}/stopped",
        Operation("node.stopped", node.name),
        f"see {node.name} not running, and nothing there that would start it again",
        unit=node.name,
    )
    return msgspec.structs.replace(seen, timeout=timeout(release, "stop", 300), attempts=1)


def watchdog_stop(node: Node) -> Step:
    """Stop what would start the node again."""
    return msgspec.structs.replace(_watchdog(node, "stop"), undo=back(_watchdog(node, "start")))


def watchdog_start(node: Node) -> Step:
    """Start it again."""
    return msgspec.structs.replace(_watchdog(node, "start"), undo=back(_watchdog(node, "stop")))


def _watchdog(node: Node, verb: str) -> Step:
    return Step(
        id=f"{node.name}/watchdog-{verb}",
        do=Operation(f"node.watchdog-{verb}", node.name),
        summary=f"{verb} the watchdog of {node.name}",
        timeout=60,
        attempts=2,
        retry_wait=1,
        estimate=0.5,
        unit=node.name,
    )
