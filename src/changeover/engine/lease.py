"""Who may append to a run: a lease with an epoch, on the database's clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from changeover.engine import tables
from changeover.engine.events import Claimed, encode
from changeover.engine.owner import Owner
from changeover.engine.store import POSTGRESQL_NOW, SQLITE_NOW, Store
from changeover.errors import FencedError, LockedError, RefusedError

SECONDS = 15.0
"""How long a lease lasts by default; it is renewed every third of it."""

_SAFE = 0.9
"""The part of a lease that its owner uses: two clocks do not run alike."""


def boottime() -> float:
    """Seconds that go on while the machine sleeps, and that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Lease:
    """The right to append to a run under one epoch. `until` is by this process's monotonic clock."""

    run: str
    epoch: int
    seconds: float
    until: float
    claimed: Claimed
    clock: Callable[[], float] = boottime

    def check(self) -> None:
        """Raise `FencedError` once it may have ended, without asking the database."""
        if self.over:
            raise self.lost()

    @property
    def over(self) -> bool:
        """Whether it may have ended, as far as this process can tell by itself."""
        return self.clock() >= self.until

    def lost(self) -> FencedError:
        """What to raise when it is no longer ours."""
        return FencedError(
            f"this conductor no longer owns run {self.run} (epoch {self.epoch})",
            hint=f"`changeover status {self.run}` says who does",
        )


async def claim(
    store: Store,
    run: str,
    owner: Owner,
    at: float,
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = boottime,
) -> Lease:
    """Take the run over: the next epoch, in one transaction, together with the event that says so.

    `at` is the time written on the event. `LockedError` while another conductor holds a live lease, unless
    that process is provably gone; `RefusedError` if there is no such run, or it has ended.
    """
    before = clock()

    def take(connection: Connection) -> Claimed:
        row = connection.execute(
            sa.select(tables.run, store.now().label("now")).where(tables.run.c.id == run).with_for_update()
        ).one_or_none()
        if row is None:
            raise RefusedError(f"the journal has no run {run}", hint="`changeover runs` lists them")
        if row.ended_at is not None:
            raise RefusedError(f"run {run} has ended: {row.state}", hint="start a new one")
        if alive(row):
            raise LockedError(holder(row), hint=f"`changeover status {run}` or `changeover watch {run}`")
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
    return Lease(run, claimed.epoch, seconds, before + seconds * _SAFE, claimed, clock)


async def renew(store: Store, lease: Lease) -> None:
    """Prolong the lease from now; `FencedError` if it has ended or is another's."""
    before = lease.clock()
    await store.write(lambda connection: _set_until(connection, store, lease, store.now() + lease.seconds))
    lease.until = before + lease.seconds * _SAFE


async def release(store: Store, lease: Lease) -> None:
    """Give it up, so that the next conductor need not wait for its end."""
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


def alive(row: sa.Row[tuple[object, ...]]) -> bool:
    """Whether a run, read together with the database's `now`, has a conductor."""
    return row.lease_until > row.now and not msgspec.json.decode(row.owner, type=Owner).gone()


def holder(row: sa.Row[tuple[object, ...]]) -> str:
    """Who holds the site of a run, why, since when, and whether anyone conducts it."""
    since = datetime.fromtimestamp(row.created_at, UTC)
    owner = msgspec.json.decode(row.owner, type=Owner)
    conductor = f"is conducted by {owner}" if alive(row) else f"has no conductor now (the last was {owner})"
    return (
        f"site {row.site} is held by run {row.id} of {row.actor} since {since:%Y-%m-%d %H:%M} UTC"
        f" ({row.reason or 'no reason given'}); it is {row.state} and {conductor}"
    )
