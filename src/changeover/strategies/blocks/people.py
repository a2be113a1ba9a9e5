"""Blocks that wait for people."""

from collections.abc import Sequence

from changeover.model.plan import Operation, Step
from changeover.strategies.blocks.steps import CHANGES_NOTHING


def approve(gate: str, summary: str, who: Sequence[str] = ()) -> Step:
    """Wait for a person: one of `who`, or anybody if nobody is named."""
    return Step(
        id=f"{gate}/approve",
        do=Operation("people.approve", gate),
        summary=summary,
        undo_note=CHANGES_NOTHING,
        person=True,
        who=tuple(who),
        timeout=0,
    )


def by_hand(name: str, summary: str, who: Sequence[str] = ()) -> Step:
    """What a person does, who then approves it: that says it is done. The way back leaves it to people, too."""
    return Step(
        id=f"{name}/do",
        do=Operation("people.do", name),
        summary=summary,
        undo_note="a person does it, and takes it back",
        person=True,
        who=tuple(who),
        timeout=0,
    )
