"""Blocks that put a release in place on a node, and remove it."""

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import Release
from changeover.model.site import Node
from changeover.strategies.blocks.steps import back, estimate, timeout

INSTALLS = "installs"
"""The limit on how many nodes are staged at once."""


def install(node: Node, release: Release) -> Step:
    """Stage the new release beside the running one. Taken back, it is set aside with its node."""
    taken_out = uninstall(node, release.to_version, "uninstall")
    return Step(
        id=f"{node.name}/install",
        do=Operation("node.install", node.name, {"release": release.to_version}),
        undo=back(msgspec.structs.replace(taken_out, unit=node.name)),
        summary=f"put {release.to_version} in place on {node.name}, beside what runs",
        limits=(INSTALLS,),
        timeout=timeout(release, "install", 600),
        attempts=2,
        retry_wait=2,
        **estimate(release, "install", 5),
        unit=node.name,
    )


def uninstall(node: Node, version: str, name: str = "remove-old") -> Step:
    """Remove a release that the node does not run."""
    return Step(
        id=f"{node.name}/{name}",
        do=Operation("node.uninstall", node.name, {"release": version}),
        summary=f"remove {version} from {node.name}",
        undo_note="install it again",
        timeout=300,
        attempts=2,
        retry_wait=2,
        estimate=1,
    )
