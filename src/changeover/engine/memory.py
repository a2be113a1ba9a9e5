"""A journal in memory, for rehearsals: it works on any event loop, and no call of it takes time."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from changeover.engine import graph
from changeover.engine.commands import Command
from changeover.engine.events import (
    Claimed,
    CommandTaken,
    Created,
    Event,
    FallbackBegun,
    RunChanged,
    Verb,
    leads_to,
    sayable,
)
from changeover.engine.lease import SECONDS, Clock, Lease
from changeover.engine.owner import Owner
from changeover.engine.port import Entry
from changeover.engine.records import (
    CommandRecord,
    Records,
    RunRecord,
    free_id,
    no_command,
    no_run,
    stem,
    takes_no_commands,
)
from changeover.model.plan import Plan
from changeover.model.states import ENDED, RunState


def _never(_: Owner) -> bool:
    return False


@dataclass
class _Run:
    """One run. Its events never change, so that a copy shares them."""

    id: str
    plan: Plan
    created: Created
    owner: Owner
    events: list[Event]
    commands: dict[int, CommandRecord] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    state: RunState = RunState.RUNNING
    ended_at: float | None = None
    epoch: int = 0
    lease_until: float = 0.0


class MemoryJournal(Records):
    """Runs in memory. `clock` is that of the leases and of what is created, in seconds since the epoch.

    `gone` says whether the process of an owner runs no more: then its lease does not hold.
    """

    def __init__(self, clock: Clock, *, gone: Callable[[Owner], bool] = _never) -> None:
        self._clock = clock
        self._gone = gone
        self._runs: dict[str, _Run] = {}
        self._commands = 0
        self._waiting: list[asyncio.Future[None]] = []

    def beginning(self, run: str, seq: int, clock: Clock) -> "MemoryJournal":
        """A journal of that run alone, as it was after event `seq` and had its conductor died there.

        In it are the commands that were taken by then. It costs one pass over the events, and no event is copied.
        """
        it = self._find(run)
        events = it.events[:seq]
        taken = {event.command for event in events if isinstance(event, CommandTaken)}
        copy = replace(
            it,
            events=events,
            commands={number: record for number, record in it.commands.items() if number in taken},
            state=RunState.RUNNING,
            ended_at=None,
            epoch=0,
            lease_until=0.0,
        )
        _take_in(copy, events)
        journal = MemoryJournal(clock, gone=self._gone)
        journal._runs[run] = copy
        journal._commands = self._commands
        return journal

    # Runs

    async def create_run(self, plan: Plan, *, actor: str, reason: str, owner: Owner) -> str:
        """A new run of this plan."""
        graph.check(plan)
        for run in self._runs.values():
            if run.created.site == plan.site.name and run.ended_at is None:
                self._record(run).refuse_second()
        now = self._clock()
        created = Created(
            seq=1,
            at=now,
            site=plan.site.name,
            plan=plan.digest(),
            actor=sayable(actor),
            reason=sayable(reason),
        )
        name = free_id(stem(now, plan.site.name), self._runs)
        self._runs[name] = _Run(name, plan, created, owner, [created])
        return name

    async def runs(self, site: str | None = None) -> list[RunRecord]:
        """Every run, the latest first."""
        return [
            self._record(run) for run in reversed(self._runs.values()) if site in (None, run.created.site)
        ]

    async def run(self, run: str) -> RunRecord:
        """That run."""
        return self._record(self._find(run))

    async def plan(self, run: str) -> Plan:
        """The plan that the run was created with."""
        return self._find(run).plan

    async def events(self, run: str, after: int = 0) -> list[Event]:
        """What happened in the run, in order, from behind the event `after` on."""
        return self._find(run).events[after:]

    # For the conductor of a run

    async def claim(self, run: str, owner: Owner, at: float, *, seconds: float = SECONDS) -> Lease:
        """Take the run over."""
        it = self._find(run)
        self._record(it).claimable()
        claimed = Claimed(seq=len(it.events) + 1, at=at, epoch=it.epoch + 1, owner=owner)
        it.events.append(claimed)
        _take_in(it, [claimed])
        now = self._clock()
        it.lease_until = now + seconds
        return Lease(run, claimed.epoch, seconds, now, claimed, self._clock)

    async def renew(self, lease: Lease) -> None:
        """Prolong the lease from now."""
        it = self._owned(lease)
        lease.asked = self._clock()
        it.lease_until = lease.asked + lease.seconds

    async def release(self, lease: Lease) -> None:
        """Give it up."""
        self._owned(lease).lease_until = 0.0

    async def append(self, lease: Lease, entries: Sequence[Entry], *, before: Callable[[], None]) -> None:
        """All of it is there when it returns, or nothing."""
        it = self._owned(lease)
        before()
        for entry in entries:
            it.events += entry.events
            if answer := entry.answer:
                it.commands[answer.command] = replace(
                    it.commands[answer.command], outcome=answer.outcome, answer=answer.text
                )
            _take_in(it, entry.events)

    async def note(self, lease: Lease, notes: Mapping[str, str]) -> None:
        """What the steps in flight say of how far they have come."""
        self._owned(lease).notes = dict(notes)

    async def notes(self, run: str) -> Mapping[str, str]:
        """Step → what it last said of how far it has come."""
        return self._find(run).notes

    # Commands

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
        """Tell the run's conductor; it is woken at once."""
        it = self._find(run)
        if it.ended_at is not None:
            raise takes_no_commands(run, it.state)
        self._commands += 1
        command = Command(
            self._commands,
            verb,
            sayable(actor),
            sayable(step),
            sayable(reason),
            accept_skipped,
            sayable(answer),
            sayable(signed),
        )
        it.commands[command.id] = CommandRecord(command, outcome="", answer="")
        waiting, self._waiting = self._waiting, []
        for arrived in waiting:
            if not arrived.done():
                arrived.set_result(None)
        return command.id

    async def command_outcome(self, number: int) -> CommandRecord:
        """The command of that number, with what came of it so far."""
        for run in self._runs.values():
            if number in run.commands:
                return run.commands[number]
        raise no_command(number)

    async def pending_commands(self, run: str) -> list[Command]:
        """What was sent to the run and is not answered yet, in the order it was sent."""
        return [record.command for record in self._find(run).commands.values() if not record.outcome]

    async def arrival(self, run: str, poll: float) -> None:  # noqa: ARG002 - it is told, whatever run it is
        """Return when the next command is sent."""
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(arrived)
        await arrived

    def _find(self, run: str) -> _Run:
        try:
            return self._runs[run]
        except KeyError:
            raise no_run(run) from None

    def _owned(self, lease: Lease) -> _Run:
        it = self._runs[lease.run]
        if it.epoch != lease.epoch or it.lease_until <= self._clock():
            raise lease.lost()
        return it

    def _record(self, run: _Run) -> RunRecord:
        return RunRecord(
            run=run.id,
            site=run.created.site,
            state=run.state,
            actor=run.created.actor,
            reason=run.created.reason,
            created_at=run.created.at,
            ended_at=run.ended_at,
            owner=run.owner,
            conducted=run.lease_until > self._clock() and not self._gone(run.owner),
        )


def _take_in(run: _Run, events: Iterable[Event]) -> None:
    """What the events say of the run as a whole."""
    for event in events:
        if isinstance(event, Claimed):
            run.epoch, run.owner = event.epoch, event.owner
        elif isinstance(event, RunChanged | FallbackBegun):
            run.state = leads_to(event) or run.state
            run.ended_at = event.at if run.state in ENDED else None
    if run.ended_at is not None:
        for number, record in run.commands.items():
            if not record.outcome:
                run.commands[number] = replace(
                    record, outcome="refused", answer=f"the run has ended: {run.state}"
                )
