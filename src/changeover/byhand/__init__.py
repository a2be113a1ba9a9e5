"""How a person does each kind of step without Changeover. Pure: from a plan to what is typed where."""

from collections.abc import Mapping

from changeover.byhand import access, application, database, files, people, traffic
from changeover.byhand.base import ByHand
from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Step

__all__ = ["BY_HAND", "by_hand"]

BY_HAND: Mapping[str, ByHand] = {
    **access.BY_HAND,
    **application.BY_HAND,
    **database.BY_HAND,
    **files.BY_HAND,
    **people.BY_HAND,
    **traffic.BY_HAND,
}
"""Kind of action → how it is done by hand."""


def by_hand(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    """What a person does instead of the step; for a kind that nobody has described, what the step says of itself."""
    described = BY_HAND.get(step.do.action)
    return described(step, plan) if described else (Instruction(step.do.target, step.summary),)
