"""Blocks that read the logs of a node from where they stood before it was started."""

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import Release
from changeover.model.site import Node, Site
from changeover.model.templates import filled, values_of
from changeover.strategies.blocks.steps import CHANGES_NOTHING, back, estimate, timeout

ACCEPT = {"accept": "lets stand what was found until now, as known to whoever says so"}


def mark_log(node: Node, site: Site, release: Release, *, label: str) -> tuple[Step, ...]:
    """Remember where the logs stand; none if no log is watched."""
    if not release.logs:
        return ()
    values = values_of(node, site, release)
    paths = [filled(it.path, values) for it in release.logs]
    return (
        Step(
            id=f"{node.name}/{label}-mark",
            do=Operation("log.mark", node.name, {"label": label, "paths": paths}),
            summary=f"remember where {', '.join(paths)} of {node.name} stands",
            undo_note="it is forgotten with the release",
            timeout=60,
            attempts=2,
            retry_wait=1,
            estimate=0.2,
            unit=node.name,
        ),
    )


def check_log(node: Node, site: Site, release: Release, version: str, *, label: str) -> tuple[Step, ...]:
    """Read what was written since the mark; none if no log is watched."""
    if not release.logs:
        return ()
    values = values_of(node, site, release)
    watched = [msgspec.structs.replace(it, path=filled(it.path, values)) for it in release.logs]
    step = f"{label}-log"
    known = sum(
        it.version in ("", version) and it.step in ("", step, f"{node.name}/{step}")
        for log in watched
        for it in log.known
    )
    return (
        Step(
            id=f"{node.name}/{step}",
            do=Operation(
                "log.check",
                node.name,
                {
                    "label": label,
                    "logs": msgspec.json.decode(msgspec.json.encode(watched)),
                    "version": version,
                },
            ),
            summary=f"read what {node.name} has written to {', '.join(it.path for it in watched)} since: no error"
            + (f" but {known} known" if known else ""),
            undo_note=CHANGES_NOTHING,
            timeout=timeout(release, "log", 600),
            **estimate(release, "log", 1),
            unit=node.name,
            answers=ACCEPT,
        ),
    )


def forget_marks(node: Node, release: Release) -> tuple[Step, ...]:
    """Forget where the logs stood; none if no log is watched."""
    if not release.logs:
        return ()
    return (
        Step(
            id=f"{node.name}/forget-marks",
            do=Operation("log.forget", node.name),
            summary=f"forget where the logs of {node.name} stood",
            undo_note="it is not needed any more",
            timeout=60,
            attempts=2,
            retry_wait=1,
            estimate=0.2,
            unit=node.name,
        ),
    )


def with_marks_forgotten(step: Step, node: Node, release: Release) -> Step:
    """The step, whose way back ends by forgetting where the logs of the node stood."""
    return msgspec.structs.replace(step, undo=(*step.undo, *back(*forget_marks(node, release))))
