"""Plans, as a broken strategy would make them."""

from collections.abc import Iterable

import msgspec

from changeover.engine import graph
from changeover.engine.guard import Guard
from changeover.model.plan import Plan, Step
from changeover.rehearsal import Kind
from tests.unit.rehearsal.broken.breaking import (
    BEGAN,
    FLOOR,
    LEADS,
    WITHOUT_A_FAULT,
    Broken,
    edited,
    one,
    without,
)


def one_batch(plan: Plan) -> Plan:
    """Both nodes in the first batch."""
    first, second = (stage for stage in plan.stages if stage.batch)
    both = msgspec.structs.replace(first, steps=(*first.steps, *second.steps))
    stages = (both if stage == first else stage for stage in plan.stages if stage != second)
    return msgspec.structs.replace(plan, stages=tuple(stages))


def back_to_the_new_version(step: Step) -> Iterable[Step]:
    """The undo of the switch switches to what it has come from."""
    if step.do.action == "node.switch":
        undo = tuple(msgspec.structs.replace(it, do=step.do) for it in step.undo)
        step = msgspec.structs.replace(step, undo=undo)
    yield step


async def never_asked(*_: object) -> None:
    """No interlock is asked."""


ABORTED = f":{Kind.FAILS_BEFORE}:abort"

PLANS = {
    "no-undo-of-the-switch": Broken(
        what="a switch has no undo: the old version is never started again",
        plan=one("app1/switch", undo=()),
        case=f"app1/start{ABORTED}:retry:retry",
        rule=LEADS,
        says="back-expand waits for app1",
    ),
    "no-undo-of-the-snapshot": Broken(
        what="a snapshot has no undo: it stays behind",
        plan=one("main/snapshot", undo=()),
        case=f"main/verify-snapshot{ABORTED}",
        rule=BEGAN,
        says="snapshots",
    ),
    "no-undo-of-the-only-step-begun": Broken(
        what="installs have no undo: there is no way back to begin, and the new release stays",
        plan=edited(
            lambda step: (msgspec.structs.replace(step, undo=()) if "/install" in step.id else step,)
        ),
        case="app1/install:fails-before:abort",
        rule=BEGAN,
        says="installed",
    ),
    "undo-to-the-wrong-version": Broken(
        what="the undo of a switch switches to the new version",
        plan=edited(back_to_the_new_version),
        case=f"app1/start{ABORTED}:retry:retry",
        rule=LEADS,
        says="back-expand waits for app1",
    ),
    "batch-one-too-large": Broken(
        what="a batch takes out one node more than the floor allows; the interlock stops it",
        plan=one_batch,
        rule=WITHOUT_A_FAULT,
        says="capacity floor",
    ),
    "batch-one-too-large-unguarded": Broken(
        what="the same, and no interlock is asked",
        plan=one_batch,
        patches={f"{Guard.__module__}.Guard.{when}": never_asked for when in ("before", "after")},
        rule=FLOOR,
        says="public is left with 0 in rotation",
    ),
    "stop-before-out": Broken(
        what="a node is stopped before what that needs: it is still in rotation",
        plan=one("app1/stop", needs=()),
        rule=WITHOUT_A_FAULT,
        says="in rotation at public",
    ),
    "snapshot-never-verified": Broken(
        what="the step that verifies the snapshot is left out; the interlock stops it",
        plan=without("main/verify-snapshot"),
        rule=WITHOUT_A_FAULT,
        says="verified backup",
    ),
    "snapshot-never-verified-unguarded": Broken(
        what="the same, and no interlock is asked",
        plan=without("main/verify-snapshot"),
        patches={f"{Guard.__module__}.Guard.{when}": never_asked for when in ("before", "after")},
        rule="verified backup",
        says="no verified snapshot 'before-v2.",
    ),
    "finalize-without-a-gate": Broken(
        what="the way back is given up without a gate, and no check of the plan sees it",
        plan=without("finalize/approve"),
        patches={f"{graph.__name__}._finalize": lambda _: []},
        rule="only a person gives up the way back",
    ),
}
