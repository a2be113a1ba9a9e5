"""What every kind of step by hand is."""

from collections.abc import Callable

from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Step

ByHand = Callable[[Step, Plan], tuple[Instruction, ...]]
"""What a person does instead of the step; nothing where the site has no binding for it."""
