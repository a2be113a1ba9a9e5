"""What every kind of step can do."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from changeover.model.plan import Operation, Plan
from changeover.model.values import Observation
from changeover.ports import World


@dataclass(frozen=True, slots=True)
class Context:
    """Where an operation takes place.

    `since` is when the step was first started (seconds since the epoch), as the journal has it: the same
    after a crash, and begun anew when a person retries the step. `timeout` is how many seconds one call of
    the action may take.
    """

    world: World
    plan: Plan
    run: str
    step: str
    attempt: int
    since: float
    timeout: float


class Action(Protocol):
    """The code behind one kind of step.

    The lifecycle every kind keeps, checked by one harness: observed *absent*, it is performed and then
    observed *done*; performed again it changes nothing; its counterpart, the step's `undo`, makes it
    *absent* again; and a crash between any two of these loses nothing.
    """

    kind: ClassVar[str]

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Whether the effect is there; changes nothing. A `PortError` means that it cannot be seen now."""
        ...

    async def perform(self, operation: Operation, context: Context) -> str | Observation:
        """Bring the effect about and return the evidence; a `ChangeoverError` if it could not be.

        One that ends by observing the effect returns that observation, and is not asked again.
        """
        ...
