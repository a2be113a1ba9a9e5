"""Steps of a way back: in reverse, behind a gate, among themselves."""

from collections.abc import Iterable, Sequence

import msgspec

from changeover.model.plan import BACK, Operation, Step


def in_reverse(steps: Sequence[Step]) -> list[Step]:
    """What takes these steps back, the last first, within each unit or target one after another.

    A gate among them guards everything that comes after it; a need of another's way back holds where there is that.
    """
    chains: dict[str, str] = {}
    gates: list[str] = []
    found: list[Step] = []
    for step in reversed(steps):
        chain = step.unit or step.do.target
        for undo in step.undo:
            before = dict.fromkeys([*gates, *undo.needs, *([chains[chain]] if chain in chains else [])])
            found.append(msgspec.structs.replace(undo, needs=tuple(before)))
            chains[chain] = undo.id
            if undo.person:
                gates.append(undo.id)
    return found


def gated(name: str, summary: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, behind a gate for a person that says this."""
    gate = Step(
        id=f"{BACK}{name}/approve",
        do=Operation("people.approve", name),
        summary=summary,
        person=True,
        timeout=0,
    )
    behind = (
        step if step.needs else msgspec.structs.replace(step, needs=(gate.id,)) for step in within(steps)
    )
    return (gate, *behind)


def within(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, needing only one another: what they needed of other stages is met when theirs begins."""
    names = {step.id for step in steps}
    return tuple(
        msgspec.structs.replace(step, needs=tuple(need for need in step.needs if need in names))
        for step in steps
    )


def by_unit(steps: Iterable[Step]) -> dict[str, list[Step]]:
    """The steps of each unit, in their order."""
    units: dict[str, list[Step]] = {}
    for step in steps:
        units.setdefault(step.unit, []).append(step)
    return units
