"""Leases in a database: each of these is one transaction, and the time is the database's own."""

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from changeover.engine import tables
from changeover.engine.events import Claimed, encode
from changeover.engine.lease import Clock, Lease
from changeover.engine.owner import Owner
from changeover.engine.records import RunRecord, no_run
from changeover.engine.store import POSTGRESQL_NOW, SQLITE_NOW, Store
from changeover.model.states import RunState


async def claim(store: Store, run: str, owner: Owner, at: float, *, seconds: float, clock: Clock) -> Lease:
    """Take the run over: the next epoch, together with the event that says so."""
    asked = clock()

    def take(connection: Connection) -> Claimed:
        row = connection.execute(
            sa.select(tables.run, store.now().label("now")).where(tables.run.c.id == run).with_for_update()
        ).one_or_none()
        if row is None:
            raise no_run(run)
        record(row).claimable()
        last = sa.select(sa.func.max(tables.event.c.seq)).where(tables.event.c.run == run)
        claimed = Claimed(
            seq=connection.execute(last).scalar_one() + 1, at=at, epoch=row.epoch + 1, owner=owner
        )
        connection.execute(
            sa.update(tables.run)
            .where(tables.run.c.id == run)
            .values(
                epoch=claimed.epoch,
                owner=msgspec.json.encode(owner).decode(),
                lease_until=store.now() + seconds,
            )
        )
        connection.execute(
            sa.insert(tables.event).values(
                run=run, seq=claimed.seq, epoch=claimed.epoch, body=encode(claimed)
            )
        )
        return claimed

    claimed = await store.write(take)
    return Lease(run, claimed.epoch, seconds, asked, claimed, clock)


async def renew(store: Store, lease: Lease) -> None:
    """Prolong the lease from now."""
    asked = lease.clock()
    await store.write(lambda connection: _set_until(connection, store, lease, store.now() + lease.seconds))
    lease.asked = asked


async def release(store: Store, lease: Lease) -> None:
    """End the lease now."""
    await store.write(lambda connection: _set_until(connection, store, lease, sa.literal(0.0)))


def _set_until(connection: Connection, store: Store, lease: Lease, until: sa.ColumnElement[float]) -> None:
    mine = (
        tables.run.c.id == lease.run,
        tables.run.c.epoch == lease.epoch,
        tables.run.c.lease_until > store.now(),
    )
    if connection.execute(sa.update(tables.run).where(*mine).values(lease_until=until)).rowcount != 1:
        raise lease.lost()


# Asked in every transaction that appends; ready-made, for to compose it anew costs more than to ask.
_MINE = "SELECT 1 FROM run WHERE id = :run AND epoch = :epoch AND lease_until > "
_SQLITE_MINE = sa.text(_MINE + SQLITE_NOW)
_POSTGRESQL_MINE = sa.text(_MINE + POSTGRESQL_NOW + " FOR UPDATE")


def verify(connection: Connection, store: Store, lease: Lease) -> None:
    """Within a transaction that appends: the lease is ours, and stays so until the transaction ends."""
    mine = _SQLITE_MINE if store.sqlite else _POSTGRESQL_MINE
    if connection.execute(mine, {"run": lease.run, "epoch": lease.epoch}).first() is None:
        raise lease.lost()


def record(row: sa.Row[tuple[object, ...]]) -> RunRecord:
    """A row of the table of runs that was read together with the database's `now`."""
    owner = msgspec.json.decode(row.owner, type=Owner)
    return RunRecord(
        run=row.id,
        site=row.site,
        state=RunState(row.state),
        actor=row.actor,
        reason=row.reason,
        created_at=row.created_at,
        ended_at=row.ended_at,
        owner=owner,
        conducted=row.lease_until > row.now and not owner.gone(),
    )
