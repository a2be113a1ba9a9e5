"""The journal in a database, as everyone sees it. Only a run's owner appends to it."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from changeover.engine import appending, graph, leasing, tables
from changeover.engine.commands import Command
from changeover.engine.events import Created, Event, Verb, decode, encode, sayable
from changeover.engine.lease import SECONDS, Clock, Lease, boottime
from changeover.engine.leasing import record
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
from changeover.engine.store import Store
from changeover.errors import JournalError
from changeover.model.plan import FORMAT, Plan
from changeover.model.states import RunState

__all__ = ["CommandRecord", "Journal", "RunRecord"]


class Journal(Records):
    """Runs in SQLite or PostgreSQL. `clock` is by which a conductor ends its own lease."""

    def __init__(self, store: Store, clock: Clock = boottime) -> None:
        self.store = store
        self._clock = clock

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
        """A new run of this plan."""
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
        if held is not None:
            record(held).refuse_second()

    async def runs(self, site: str | None = None) -> list[RunRecord]:
        """Every run, the latest first."""
        query = sa.select(tables.run, self.store.now().label("now")).order_by(
            tables.run.c.created_at.desc(), tables.run.c.id.desc()
        )
        if site is not None:
            query = query.where(tables.run.c.site == site)
        return [record(row) for row in await self.store.read(lambda c: c.execute(query).all())]

    async def run(self, run: str) -> RunRecord:
        """That run."""
        query = sa.select(tables.run, self.store.now().label("now")).where(tables.run.c.id == run)
        row = await self.store.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise no_run(run)
        return record(row)

    async def plan(self, run: str) -> Plan:
        """The plan that the run was created with."""
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

    # For the conductor of a run

    async def claim(self, run: str, owner: Owner, at: float, *, seconds: float = SECONDS) -> Lease:
        """Take the run over, in one transaction."""
        return await leasing.claim(self.store, run, owner, at, seconds=seconds, clock=self._clock)

    async def renew(self, lease: Lease) -> None:
        """Prolong the lease from now."""
        await leasing.renew(self.store, lease)

    async def release(self, lease: Lease) -> None:
        """Give it up."""
        await leasing.release(self.store, lease)

    async def append(self, lease: Lease, entries: Sequence[Entry], *, before: Callable[[], None]) -> None:
        """Return when all of it is durable: it is one transaction."""
        await appending.append(self.store, lease, entries, before)

    async def arrival(self, run: str, poll: float) -> None:  # noqa: ARG002 - whatever run it is
        """Return after `poll` seconds: a database does not say when something was sent."""
        await asyncio.sleep(poll)

    async def note(self, lease: Lease, notes: Mapping[str, str]) -> None:
        """What the steps in flight say of how far they have come, in place of what they said before."""
        rows = [{"run": lease.run, "step": step, "text": sayable(text)} for step, text in notes.items()]

        def write(connection: Connection) -> None:
            leasing.verify(connection, self.store, lease)
            connection.execute(sa.delete(tables.note).where(tables.note.c.run == lease.run))
            if rows:
                connection.execute(sa.insert(tables.note), rows)

        await self.store.write(write)

    async def notes(self, run: str) -> Mapping[str, str]:
        """Step → what it last said of how far it has come."""
        query = sa.select(tables.note.c.step, tables.note.c.text).where(tables.note.c.run == run)
        return {row.step: row.text for row in await self.store.read(lambda c: c.execute(query).all())}

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
        """Tell the run's conductor; `command_outcome` of the number returned says what came of it.

        It is kept for the next conductor if there is none now.
        """

        def send(connection: Connection) -> int:
            query = sa.select(tables.run.c.state, tables.run.c.ended_at, self.store.now().label("now"))
            row = connection.execute(query.where(tables.run.c.id == run).with_for_update()).one_or_none()
            if row is None:
                raise no_run(run)
            if row.ended_at is not None:
                raise takes_no_commands(run, row.state)
            values = {
                "run": run,
                "sent_at": row.now,
                "verb": verb.value,
                "step": sayable(step),
                "actor": sayable(actor),
                "reason": sayable(reason),
                "choice": sayable(answer),
                "signed": sayable(signed),
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
            raise no_command(number)
        return CommandRecord(_command(row), row.outcome, row.answer)

    async def pending_commands(self, run: str) -> list[Command]:
        """What was sent to the run and is not answered yet, in the order it was sent."""
        query = (
            sa.select(tables.command)
            .where(tables.command.c.run == run, tables.command.c.outcome == "")
            .order_by(tables.command.c.id)
        )
        return await self.store.read(lambda c: [_command(row) for row in c.execute(query)])


def _command(row: sa.Row[tuple[object, ...]]) -> Command:
    return Command(
        row.id, Verb(row.verb), row.actor, row.step, row.reason, row.accept_skipped, row.choice, row.signed
    )


def _free_id(connection: Connection, now: float, site: str) -> str:
    begin = stem(now, site)
    taken = sa.select(tables.run.c.id).where(tables.run.c.id.startswith(begin, autoescape=True))
    return free_id(begin, set(connection.execute(taken).scalars()))
