"""What every kind of step can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import msgspec

from changeover.model.plan import Operation, Plan
from changeover.model.values import Observation, Value
from changeover.ports import World


class Params(Value, frozen=True):
    """What a plan says of a step besides its target. Each kind that takes parameters declares them and their types."""

    @classmethod
    def of(cls, operation: Operation) -> Self:
        """Those of the operation; `msgspec.ValidationError` for any that is missing, unknown or of another type."""
        return msgspec.convert(operation.params, cls)


@dataclass(frozen=True, slots=True)
class Context:
    """Where an operation takes place.

    `since` is when the step was first started (seconds since the epoch), as the journal has it: the same
    after a crash, and begun anew when a person retries the step. `timeout` is how many seconds one call of
    the action may take. `answer` is what a person chose of the step's answers when they asked for it again, and
    `failed` what the failure had said that they chose it for, as it was recorded: `recorded` makes the same of any
    text, without secrets and cut where it is long. `tell` shows those who watch how far it has come; it is not recorded.
    """

    world: World
    plan: Plan
    run: str
    step: str
    attempt: int
    since: float
    timeout: float
    answer: str = ""
    failed: str = ""
    recorded: Callable[[str], str] = str
    tell: Callable[[str], None] = lambda _: None


class Action(Protocol):
    """The code behind one kind of step; `params` are those that it takes, checked before a run begins.

    The lifecycle every kind keeps, checked by one harness: observed *absent*, it is performed and then
    observed *done*; performed again it changes nothing; its counterpart, the step's `undo`, makes it
    *absent* again; and a crash between any two of these loses nothing.
    """

    kind: ClassVar[str]
    params: ClassVar[type[Params]]

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Whether the effect is there; changes nothing. A `PortError` means that it cannot be seen now."""
        ...

    async def perform(self, operation: Operation, context: Context) -> str | Observation:
        """Bring the effect about and return the evidence; a `ChangeoverError` if it could not be.

        One that ends by observing the effect returns that observation, and is not asked again.
        """
        ...
