"""The journal as everyone sees it: runs, their plans, events and commands. Only a run's owner appends to it."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from changeover.engine import graph, lease, tables
from changeover.engine.commands import Command
from changeover.engine.events import Created, Event, StepChanged, Verb, decode, encode, sayable
from changeover.engine.fold import RunStatus, fold
from changeover.engine.owner import Owner
from changeover.engine.store import Store
from changeover.errors import JournalError, LockedError, RefusedError
from changeover.model.plan import FORMAT, Plan
from changeover.model.states import RunState, StepState

FOLLOW_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run in the list of runs. `conducted` says whether a conductor holds it now; `owner` is the last one."""

    run: str
    site: str
    state: RunState
    actor: str
    reason: str
    created_at: float
    ended_at: float | None
    owner: Owner
    conducted: bool


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command and what came of it. `outcome` is empty until the conductor answers: `taken` or `refused`."""

    command: Command
    outcome: str
    answer: str


class Journal:
    """Reads any run, creates runs, and hands commands to the conductor of one.

    Every method raises `JournalError` if the database fails, and `RefusedError` for a run that is not there.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def open(cls, where: str | os.PathLike[str]) -> "Journal":
        """The journal in that SQLite file (made if need be; `:memory:` too), or at a `postgresql://` URL."""
        return cls(Store(where))

    async def close(self) -> None:
        """Let go of the database."""
        await self.store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Runs

    async def create_run(self, plan: Plan, *, actor: str, reason: str, owner: Owner) -> str:
        """A new run of this plan; its id is readable, and sorts by time.

        `LockedError` if a run of the site has not ended: it says who holds it, why and since when.
        `RefusedError` if the plan could not be executed as it reads.
        """
        graph.check(plan)
        actor, reason = sayable(actor), sayable(reason)
        body = plan.to_json().decode()
        digest = plan.digest()

        def create(connection: Connection) -> str:
            self._refuse_second(connection, plan.site.name)
            now = connection.execute(sa.select(self.store.now())).scalar_one()
            run = _free_id(connection, now, plan.site.name)
            created = Created(seq=1, at=now, site=plan.site.name, plan=digest, actor=actor, reason=reason)
            connection.execute(
                sa.insert(tables.run).values(
                    id=run,
                    site=plan.site.name,
                    actor=actor,
                    reason=reason,
                    created_at=now,
                    state=RunState.RUNNING.value,
                    revision=1,
                    owner=msgspec.json.encode(owner).decode(),
                    epoch=0,
                    lease_until=0.0,
                )
            )
            connection.execute(sa.insert(tables.plan).values(run=run, revision=1, digest=digest, body=body))
            connection.execute(sa.insert(tables.event).values(run=run, seq=1, epoch=0, body=encode(created)))
            return run

        try:
            return await self.store.write(create)
        except JournalError as error:
            if isinstance(error.__cause__, sa.exc.IntegrityError):  # another came first, just now
                await self.store.read(lambda connection: self._refuse_second(connection, plan.site.name))
            raise

    async def refuse_second(self, site: str) -> None:
        """`LockedError` if a run of the site has not ended: it says who holds it, why and since when."""
        await self.store.read(lambda connection: self._refuse_second(connection, site))

    def _refuse_second(self, connection: Connection, site: str) -> None:
        held = connection.execute(
            sa.select(tables.run, self.store.now().label("now")).where(
                tables.run.c.site == site, tables.ACTIVE
            )
        ).one_or_none()
        if held is None:
            return
        hint = (
            f"`changeover watch {held.id}`"
            if lease.alive(held)
            else f"`changeover resume {held.id}`, or abort it"
        )
        raise LockedError(lease.holder(held), hint=hint)

    async def runs(self, site: str | None = None) -> list[RunRecord]:
        """Every run, the latest first."""
        query = sa.select(tables.run, self.store.now().label("now")).order_by(
            tables.run.c.created_at.desc(), tables.run.c.id.desc()
        )
        if site is not None:
            query = query.where(tables.run.c.site == site)
        return [_record(row) for row in await self.store.read(lambda c: c.execute(query).all())]

    async def run(self, run: str) -> RunRecord:
        """That run."""
        query = sa.select(tables.run, self.store.now().label("now")).where(tables.run.c.id == run)
        row = await self.store.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise RefusedError(f"the journal has no run {run}", hint="`changeover runs` lists them")
        return _record(row)

    async def plan(self, run: str) -> Plan:
        """The plan that the run executes; `JournalError` if this version cannot read it."""
        await self.run(run)
        query = (
            sa.select(tables.plan.c.body)
            .join(
                tables.run,
                sa.and_(
                    tables.run.c.id == tables.plan.c.run, tables.run.c.revision == tables.plan.c.revision
                ),
            )
            .where(tables.run.c.id == run)
        )
        body = await self.store.read(lambda c: c.execute(query).scalar_one())
        hint = "use the version of Changeover that began the run"
        try:
            plan = Plan.from_json(body)
        except msgspec.MsgspecError as error:
            raise JournalError(f"run {run}: its plan cannot be read: {error}", hint=hint) from error
        if plan.format != FORMAT:
            raise JournalError(
                f"run {run}: its plan has format {plan.format}, this version of Changeover reads {FORMAT}",
                hint=hint,
            )
        return plan

    async def events(self, run: str, after: int = 0) -> list[Event]:
        """What happened in the run, in order, from behind the event `after` on."""
        query = (
            sa.select(tables.event.c.body)
            .where(tables.event.c.run == run, tables.event.c.seq > after)
            .order_by(tables.event.c.seq)
        )
        return await self.store.read(lambda connection: decode(connection.execute(query).scalars()))

    async def status(self, run: str) -> RunStatus:
        """Where the run stands."""
        with uncollected():
            plan = await self.plan(run)
            return fold(run, plan, await self.events(run))

    async def follow(self, run: str, after: int = 0, every: float = FOLLOW_SECONDS) -> AsyncIterator[Event]:
        """What happened and happens, as it is recorded; it ends with the run."""
        while True:
            ended = (await self.run(run)).ended_at is not None
            for event in await self.events(run, after):
                after = event.seq
                yield event
            if ended:
                return
            await asyncio.sleep(every)

    async def durations(self, site: str, runs: int = 5) -> Mapping[tuple[str, str], list[float]]:
        """How many seconds each (action, target) took in the latest runs of the site, the latest first."""
        took: dict[tuple[str, str], list[float]] = {}
        for record in (await self.runs(site))[:runs]:
            do = {step.id: step.do for step in (await self.plan(record.run)).steps()}
            begun: dict[str, float] = {}
            for event in await self.events(record.run):
                if not isinstance(event, StepChanged):
                    continue
                if event.state is StepState.RUNNING:
                    begun[event.step] = event.at
                elif event.state is StepState.DONE and event.step in begun:
                    operation = do[event.step]
                    took.setdefault((operation.action, operation.target), []).append(
                        event.at - begun.pop(event.step)
                    )
                else:
                    begun.pop(event.step, None)  # a duration counts only when nothing went wrong in between
        return took

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
    ) -> int:
        """Tell the run's conductor; `command_outcome` of the number returned says what came of it.

        It is kept for the next conductor if there is none now. `RefusedError` if the run has ended.
        """

        def send(connection: Connection) -> int:
            query = sa.select(tables.run.c.state, tables.run.c.ended_at, self.store.now().label("now"))
            row = connection.execute(query.where(tables.run.c.id == run).with_for_update()).one_or_none()
            if row is None:
                raise RefusedError(f"the journal has no run {run}", hint="`changeover runs` lists them")
            if row.ended_at is not None:
                raise RefusedError(
                    f"run {run} has ended: {row.state}", hint="there is nothing to tell it any more"
                )
            values = {
                "run": run,
                "sent_at": row.now,
                "verb": verb.value,
                "step": sayable(step),
                "actor": sayable(actor),
                "reason": sayable(reason),
            }
            result = connection.execute(
                sa.insert(tables.command).values(
                    **values, accept_skipped=accept_skipped, outcome="", answer=""
                )
            )
            key = result.inserted_primary_key
            assert key is not None
            return int(key[0])

        return await self.store.write(send)

    async def command_outcome(self, number: int) -> CommandRecord:
        """The command of that number, with what came of it so far."""
        query = sa.select(tables.command).where(tables.command.c.id == number)
        row = await self.store.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise RefusedError(f"the journal has no command {number}")
        return CommandRecord(_command(row), row.outcome, row.answer)

    async def pending_commands(self, run: str) -> list[Command]:
        """What was sent to the run and is not answered yet, in the order it was sent."""
        query = (
            sa.select(tables.command)
            .where(tables.command.c.run == run, tables.command.c.outcome == "")
            .order_by(tables.command.c.id)
        )
        return await self.store.read(lambda c: [_command(row) for row in c.execute(query)])


@contextmanager
def uncollected() -> Iterator[None]:
    """While a long run is read nothing becomes garbage, and the collector would walk all of it many times."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _record(row: sa.Row[tuple[object, ...]]) -> RunRecord:
    return RunRecord(
        run=row.id,
        site=row.site,
        state=RunState(row.state),
        actor=row.actor,
        reason=row.reason,
        created_at=row.created_at,
        ended_at=row.ended_at,
        owner=msgspec.json.decode(row.owner, type=Owner),
        conducted=lease.alive(row),
    )


def _command(row: sa.Row[tuple[object, ...]]) -> Command:
    return Command(row.id, Verb(row.verb), row.actor, row.step, row.reason, row.accept_skipped)


def _free_id(connection: Connection, now: float, site: str) -> str:
    """`20261121-0702-identity`; the second of a minute ends in `-2`."""
    stem = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M}-{site}"
    taken = set(
        connection.execute(
            sa.select(tables.run.c.id).where(tables.run.c.id.startswith(stem, autoescape=True))
        ).scalars()
    )
    return next(
        run
        for number in range(1, len(taken) + 2)
        if (run := f"{stem}-{number}" if number > 1 else stem) not in taken
    )
