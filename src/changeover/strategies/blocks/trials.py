"""Blocks that build a release, and try a node that runs it."""

from changeover.model.plan import Operation, Step
from changeover.model.release import Release
from changeover.model.site import Node
from changeover.strategies.blocks.steps import CHANGES_NOTHING, estimate, timeout


def build(node: Node, release: Release) -> Step:
    """Make the release, ahead of time."""
    return Step(
        id=f"{node.name}/build",
        do=Operation("node.build", node.name, {"release": release.to_version}),
        summary=f"build {release.to_version} on {node.name}",
        undo_note="what was built is left; nothing runs from it",
        timeout=timeout(release, "build", 3600),
        attempts=2,
        retry_wait=2,
        **estimate(release, "build", 60),
        unit=node.name,
    )


def trial(node: Node, release: Release) -> Step:
    """Try the node, as the application's `test` does."""
    return Step(
        id=f"{node.name}/test",
        do=Operation("node.test", node.name, {"release": release.to_version}),
        summary=f"test {release.to_version} on {node.name}",
        undo_note=CHANGES_NOTHING,
        timeout=timeout(release, "test", 600),
        **estimate(release, "test", 5),
        unit=node.name,
    )
