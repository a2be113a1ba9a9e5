"""Blocks that wait for people."""

from changeover.model.plan import Operation, Step
from changeover.strategies.blocks.steps import CHANGES_NOTHING


def approve(gate: str, summary: str) -> Step:
    """Wait for a person."""
    return Step(
        id=f"{gate}/approve",
        do=Operation("people.approve", gate),
        summary=summary,
        undo_note=CHANGES_NOTHING,
        person=True,
        timeout=0,
    )
