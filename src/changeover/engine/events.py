"""What the journal holds: typed events, as JSON."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from changeover.engine.owner import Owner
from changeover.model.plan import Budget, Stage
from changeover.model.release import Cause, Moment
from changeover.model.states import RunState, StepState

POLICY = "policy"
"""The actor of what the operator's file said beforehand."""

FAILURE_BUDGET = "failure budget"
"""The actor of what happens because a node is set aside within the plan's failure budget."""


class Verb(StrEnum):
    """What a person may tell a run. *abort*: go back to where it began; *leave*: end it where it is.

    *forget* tells what was done beside it: a torn migration was struck from a database's ledger.
    """

    PAUSE = "pause"
    CONTINUE = "continue"
    RETRY = "retry"
    SKIP = "skip"
    APPROVE = "approve"
    REFUSE = "refuse"
    ABORT = "abort"
    LEAVE = "leave"
    FORGET = "forget"


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="event"):
    """`seq` counts from 1 without a gap within the run; `at` is in seconds since the epoch.

    Both are given when the event is recorded.
    """

    seq: int = 0
    at: float = 0.0


class Created(_Event, frozen=True, tag="created"):
    """The run was created; `plan` is the digest of what it executes."""

    site: str
    plan: str
    actor: str
    reason: str


class Claimed(_Event, frozen=True, tag="claimed"):
    """A conductor took the run over; what was in flight under an earlier epoch is in doubt."""

    epoch: int
    owner: Owner


class RunChanged(_Event, frozen=True, tag="run"):
    """The run went to `state`. `cause` is the kind of reason why it stopped, where there is one."""

    state: RunState
    reason: str = ""
    actor: str = ""
    cause: Cause | None = None


class FallbackBegun(_Event, frozen=True, tag="fallback"):
    """The run goes back: from now on it executes these stages, derived from where its steps stood."""

    stages: tuple[Stage, ...]
    budgets: tuple[Budget, ...]
    reason: str
    actor: str


class StepChanged(_Event, frozen=True, tag="step"):
    """A step went to `state`.

    `evidence` is what the world said, `reason` what `actor` said. `error` is the type of what was raised,
    and `hint` what it advises. `answer` is what a person chose of the step's answers when it was to be done again.
    """

    step: str
    state: StepState
    attempt: int = 0
    evidence: str = ""
    error: str = ""
    hint: str = ""
    actor: str = ""
    reason: str = ""
    answer: str = ""


class CommandTaken(_Event, frozen=True, tag="command"):
    """A person's command was obeyed or, if `refused` says why, refused.

    `step` is `DATABASE/MIGRATION` where one was forgotten. `answer` is what a retry was sent with,
    `signed` who gave the answer to a gate, where that is not the `actor`.
    """

    command: int
    verb: Verb
    actor: str
    step: str = ""
    reason: str = ""
    refused: str = ""
    answer: str = ""
    signed: str = ""

    @property
    def by(self) -> str:
        """Who gave it: `kim`, or `anna (sent by kim)` where another login sent it."""
        return f"{self.signed} (sent by {self.actor})" if self.signed else self.actor


class Warned(_Event, frozen=True, tag="warned"):
    """People were warned that the latest safe moment is near: `moment`, in seconds since the epoch."""

    moment: float
    reason: str


class Told(_Event, frozen=True, tag="told"):
    """People were told of what the event `of` is about (0: of the end of the run) or, if `error` says why, not."""

    notice: str
    moment: Moment
    of: int
    error: str = ""


Event = Created | Claimed | RunChanged | FallbackBegun | StepChanged | CommandTaken | Warned | Told


def leads_to(event: Event) -> RunState | None:
    """The state that the run is in from then on; None if it stays where it was."""
    if isinstance(event, RunChanged):
        return event.state
    return RunState.RUNNING if isinstance(event, FallbackBegun) else None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Event])


def encode(event: Event) -> str:
    """The event as JSON."""
    return _encoder.encode(event).decode()


def encode_all(events: Sequence[Event]) -> str:
    """The events as one JSON array."""
    return _encoder.encode(events).decode()


def decode(bodies: Iterable[str]) -> list[Event]:
    """The events again, all at once: a run may have hundreds of thousands."""
    return _decoder.decode(f"[{','.join(bodies)}]")


def sayable(text: str) -> str:
    """The text with what no encoding can hold replaced: arguments and outputs may carry undecodable bytes."""
    return text if text.isascii() else text.encode(errors="replace").decode()
