"""What the engine asks of a journal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from changeover.engine.commands import Command
from changeover.engine.events import Event, Verb
from changeover.engine.fold import RunStatus
from changeover.engine.lease import SECONDS, Lease
from changeover.engine.owner import Owner
from changeover.model.plan import Plan


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to, written down together with its events."""

    command: int
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Events that are recorded together, and the answer to the command that led to them."""

    events: Sequence[Event]
    answer: Answer | None = None


class JournalPort(Protocol):
    """Keeps runs: in a database (`Journal`), or in memory for rehearsals (`MemoryJournal`).

    Every method raises `JournalError` if the journal fails, and `RefusedError` for a run that is not there.
    """

    async def create_run(self, plan: Plan, *, actor: str, reason: str, owner: Owner) -> str:
        """A new run of this plan; its id is readable, and sorts by time.

        `LockedError` if a run of the site has not ended: it says who holds it, why and since when.
        `RefusedError` if the plan could not be executed as it reads.
        """
        ...

    async def plan(self, run: str) -> Plan:
        """The plan that the run was created with; `JournalError` if this version cannot read it."""
        ...

    async def status(self, run: str) -> RunStatus:
        """Where the run stands."""
        ...

    async def claim(self, run: str, owner: Owner, at: float, *, seconds: float = SECONDS) -> Lease:
        """Take the run over: the next epoch, at once with the event that says so.

        `at` is the time written on the event. `LockedError` while another conductor holds a live lease, unless
        that process is provably gone; `RefusedError` if the run has ended.
        """
        ...

    async def renew(self, lease: Lease) -> None:
        """Prolong the lease from now; `FencedError` if it has ended or is another's."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it up, so that the next conductor need not wait for its end."""
        ...

    async def append(self, lease: Lease, entries: Sequence[Entry], *, before: Callable[[], None]) -> None:
        """Return when all of it is durable, or raise and nothing of it is; `FencedError` without the lease.

        `before` is called when everything but the end of the transaction is done.
        """
        ...

    async def note(self, lease: Lease, notes: Mapping[str, str]) -> None:
        """What the steps in flight say of how far they have come, in place of what they said before.

        Nobody's record: it is for those who watch. `FencedError` without the lease.
        """
        ...

    async def command(
        self,
        run: str,
        verb: Verb,
        *,
        actor: str,
        step: str = "",
        reason: str = "",
        accept_skipped: bool = False,
        answer: str = "",
        signed: str = "",
    ) -> int:
        """Tell the run's conductor; its number. `RefusedError` if the run has ended."""
        ...

    async def pending_commands(self, run: str) -> list[Command]:
        """What was sent to the run and is not answered yet, in the order it was sent."""
        ...

    async def arrival(self, run: str, poll: float) -> None:
        """Return when a command may have been sent: when one was, or after `poll` seconds if that cannot be told."""
        ...
