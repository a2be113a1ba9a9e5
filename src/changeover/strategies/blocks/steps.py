"""What every block is made with: chains of steps, steps of a way back, time limits and estimates."""

from typing import Any

import msgspec

from changeover.model.plan import BACK, Operation, Step
from changeover.model.release import Release

CHANGES_NOTHING = "changes nothing"


def chain(*steps: Step) -> tuple[Step, ...]:
    """The steps, each needing the one before it."""
    before: tuple[str, ...] = ()
    chained: list[Step] = []
    for step in steps:
        chained.append(msgspec.structs.replace(step, needs=(*step.needs, *before)))
        before = (step.id,)
    return tuple(chained)


def back(*steps: Step) -> tuple[Step, ...]:
    """The steps as those of a way back, which is not taken back itself."""
    names = {step.id for step in steps}
    return tuple(
        msgspec.structs.replace(
            step,
            id=f"{BACK}{step.id}",
            needs=tuple(f"{BACK}{need}" for need in step.needs if need in names),
            undo=(),
            restore="",
            undo_note="",
        )
        for step in steps
    )


def timeout(release: Release, name: str, default: float) -> float:
    """Seconds that a step of that name may take: as the operator's file says, else the default."""
    return release.limits.timeouts.get(name, default)


def estimate(release: Release, name: str, default: float) -> dict[str, Any]:
    """The fields of a step that tell how many seconds it is expected to take, and who says so."""
    if name in release.estimates:
        return {"estimate": release.estimates[name], "basis": "the file"}
    return {"estimate": default}


def look(step: str, operation: Operation, summary: str, *, unit: str = "") -> Step:
    """A step that only looks: there is nothing to undo, and a first look that is bad is repeated once."""
    return Step(
        id=step,
        do=operation,
        summary=summary,
        undo_note=CHANGES_NOTHING,
        timeout=30,
        attempts=2,
        retry_wait=1,
        estimate=0.1,
        unit=unit,
    )
