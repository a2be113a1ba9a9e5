"""A database in memory: rows that are their ids, a ledger, and snapshots that hold both."""

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from changeover.errors import DatabaseError, LockTimeoutError
from changeover.model.release import SqlMigration
from changeover.ports import Applied, ServerFacts, Snapshot, restoring
from changeover.simulation import schema
from changeover.simulation.calls import Work
from changeover.simulation.state import Copy, Store

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite, Transition

LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*")
NOTHING = re.compile(r"(--[^\n]*|/\*.*?\*/|[\s;])*", re.DOTALL)
ROW_BYTES = 100


class SimulatedDatabase:
    """The `Database` port over one store of the site. A migration is its name: its text is not executed.

    One of MariaDB, or that says it needs no transaction, can be left half done; any other is there or not.
    """

    def __init__(self, name: str, site: "SimulatedSite") -> None:
        self.name = name
        self._site = site
        self._whole = site.site.database(name).transactional

    async def facts(self) -> ServerFacts:
        """Version, size and clock of the server, and the rights that a test has taken away."""
        store = await self._look("facts")
        rows = sum(map(len, (*store.tables.values(), *store.writes)))
        return ServerFacts("simulated 1", rows * ROW_BYTES, self._site.clock.now(), store.missing_privileges)

    async def snapshot(self, label: str) -> Snapshot:
        """Keep what is in it when this begins; it counts when this has ended."""
        if not LABEL.fullmatch(label):
            raise DatabaseError(f"{label!r} cannot be the label of a snapshot", hint="use letters and digits")
        store = await self._look("find_snapshot")
        if label not in store.snapshots:
            begin, end = (
                partial(_draft, name=self.name, label=label),
                partial(_keep, name=self.name, label=label),
            )
            await self._effect("snapshot", self._site.durations.snapshot, end, begin)
        return store.taken(label).snapshot

    async def find_snapshot(self, label: str) -> Snapshot | None:
        """The snapshot of that label, if it was finished."""
        store = await self._look("find_snapshot")
        return store.snapshots[label].snapshot if label in store.snapshots else None

    async def verify_snapshot(self, label: str) -> Snapshot:
        """Compare what is in it with what was when it was taken, and mark it."""
        store = await self._look("find_snapshot")
        _intact(store, label)
        end = partial(_verified, name=self.name, label=label)
        await self._effect("verify_snapshot", self._site.durations.verify, end)
        return store.taken(label).snapshot

    async def drop_snapshot(self, label: str) -> None:
        """Forget it, and what one cut short has left."""
        end = partial(_drop, name=self.name, label=label)
        await self._effect("drop_snapshot", self._site.durations.drop, end)

    async def restore(self, label: str) -> None:
        """Put it back. One that died leaves it closed, or of MariaDB, which is never closed, an entry in the ledger."""
        store = self._store
        _intact(store, label)
        if not store.taken(label).snapshot.verified:
            raise DatabaseError(f"the snapshot {label!r} is not verified", hint="verify it first")
        if self._whole:
            begin, end = partial(_close, name=self.name), partial(_restored, name=self.name, label=label)
            await self._effect("restore", self._site.durations.restore, end, begin)
            return
        exchanged = partial(_exchanged, name=self.name, label=label)
        await self._effect("restore", self._site.durations.restore, exchanged)
        struck = partial(_strike, name=self.name, entry=restoring(label))
        await self._effect("restore", self._site.durations.told, struck)

    async def ledger(self) -> tuple[Applied, ...]:
        """What was applied, in order."""
        return tuple((await self._look("ledger")).ledger.values())

    async def migrate(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Write it down, once its lock is to be had."""
        if NOTHING.fullmatch(migration.sql):
            raise DatabaseError(f"{migration.name}: there is no statement in it")
        entry = (await self._look("ledger")).ledger.get(migration.name)
        if entry is not None:
            _finished(entry)
            if entry.checksum != migration.checksum:
                raise DatabaseError(f"{migration.name} was applied with another text", hint="make a new one")
            return f"{migration.name}: already applied"
        await self._lock(migration, lock_timeout)
        whole = self._whole and migration.transactional
        begin, end = schema.applying(self.name, migration, whole)
        await self._effect("migrate", self._site.durations.migrate, end, begin, locks=self.name)
        return f"{migration.name}: applied"

    async def revert(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Strike it out, once its lock is to be had."""
        if not migration.down.strip():
            raise DatabaseError(f"{migration.name} has no `down`", hint="the way back is the snapshot")
        entry = (await self._look("ledger")).ledger.get(migration.name)
        if entry is None:
            return f"{migration.name}: not in the ledger"
        _finished(entry)
        await self._lock(migration, lock_timeout)
        whole = self._whole and migration.transactional
        begin, end = schema.reverting(self.name, migration.name, whole)
        await self._effect("revert", self._site.durations.migrate, end, begin, locks=self.name)
        return f"{migration.name}: reverted"

    async def forget(self, name: str) -> None:
        """Strike an unfinished one out."""
        entry = (await self._look("ledger")).ledger.get(name)
        if entry is None or entry.finished_at:
            raise DatabaseError(f"there is no unfinished migration {name!r}")
        await self._effect("forget", 0.0, partial(_forget, name=self.name, migration=name))

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """There is nothing to be asked."""
        raise DatabaseError(f"the simulated database does not speak SQL: {statement}")

    async def close(self) -> None:
        """Nothing is held open."""

    @property
    def _store(self) -> Store:
        return self._site.stores[self.name]

    async def _look(self, method: str) -> Store:
        store = self._store
        await self._site.calls.look("database", method, self.name, store.host)
        self._site.count()
        if store.closed:
            raise DatabaseError(
                f"database {self.name}: it is not currently accepting connections",
                hint="if a restore has died, run the restore again",
            )
        return store

    async def _lock(self, migration: SqlMigration, lock_timeout: float) -> None:
        if await schema.locked(self._site, self.name, lock_timeout):
            raise LockTimeoutError(
                f"{migration.name}: no lock within {lock_timeout:g} s; in the way: 1 (a long transaction)",
                hint="wait for it to end, or end it",
            )

    async def _effect(
        self,
        method: str,
        seconds: float,
        end: "Transition",
        begin: "Transition | None" = None,
        locks: str = "",
    ) -> None:
        work = Work(seconds, begin, end, locks=locks)
        await self._site.calls.effect("database", method, self.name, self._store.host, work)


def _intact(store: Store, label: str) -> None:
    """`DatabaseError` if what is in the snapshot is not what was written."""
    kept = store.taken(label)
    if _fingerprint(kept.tables, kept.writes, kept.ledger) != kept.snapshot.fingerprint:
        raise DatabaseError(f"the snapshot {label!r} is damaged", hint="drop it and take another")


def _finished(entry: Applied) -> None:
    if not entry.finished_at:
        began = datetime.fromtimestamp(entry.started_at, UTC)
        raise DatabaseError(
            f"{entry.name} was begun at {began:%Y-%m-%d %H:%M:%SZ} and has not been finished",
            hint="see what is there, set it right, then strike it from the ledger: `changeover forget`",
        )


def _fingerprint(
    tables: dict[str, frozenset[int]], writes: tuple[range, ...], ledger: dict[str, Applied]
) -> str:
    content = repr(([(name, sorted(tables[name])) for name in sorted(tables)], writes, sorted(ledger)))
    return hashlib.sha256(content.encode()).hexdigest()


def _has_room(site: "SimulatedSite", store: Store, what: str) -> None:
    if site.hosts[store.host].full:
        raise DatabaseError(
            f"the {what} failed on {store.host} with status 1: No space left on device", hint="make room"
        )


def _draft(site: "SimulatedSite", name: str, label: str) -> None:
    store = site.stores[name]
    tables, writes, ledger = dict(store.tables), tuple(store.writes), dict(store.ledger)
    fingerprint = _fingerprint(tables, writes, ledger)
    rows = {table: len(ids) for table, ids in tables.items()}
    if writes:
        rows["writes"] = sum(map(len, writes))
    store.drafts[label] = Copy(
        Snapshot(
            label=label,
            path=f"memory:{name}/{label}",
            size=sum(rows.values()) * ROW_BYTES,
            sha256=fingerprint,
            rows=rows,
            fingerprint=fingerprint,
            taken_at=site.moment,
        ),
        tables,
        writes,
        ledger,
        tuple(store.applied),
        frozenset(store.partly),
    )


def _keep(site: "SimulatedSite", name: str, label: str) -> None:
    store = site.stores[name]
    draft = store.drafts.pop(label, None)
    if draft is None:
        return
    _has_room(site, store, "dump")
    store.snapshots[label] = draft


def _verified(site: "SimulatedSite", name: str, label: str) -> None:
    _has_room(site, site.stores[name], "restore")
    kept = site.stores[name].taken(label)
    snapshot = msgspec.structs.replace(kept.snapshot, verified=True)
    site.stores[name].snapshots[label] = replace(kept, snapshot=snapshot)


def _drop(site: "SimulatedSite", name: str, label: str) -> None:
    site.stores[name].snapshots.pop(label, None)
    site.stores[name].drafts.pop(label, None)


def _close(site: "SimulatedSite", name: str) -> None:
    site.stores[name].closed = True


def _restored(site: "SimulatedSite", name: str, label: str) -> None:
    store = site.stores[name]
    store.closed = False
    _has_room(site, store, "restore")
    _put_back(store, label)


def _exchanged(site: "SimulatedSite", name: str, label: str) -> None:
    """The tables are those of the snapshot; what belongs to them is not there yet, and the ledger says so."""
    store = site.stores[name]
    _has_room(site, store, "restore")
    _put_back(store, label)
    entry = restoring(label)
    store.ledger[entry] = Applied(entry, store.snapshots[label].snapshot.sha256, site.moment, 0)


def _strike(site: "SimulatedSite", name: str, entry: str) -> None:
    site.stores[name].ledger.pop(entry, None)


def _put_back(store: Store, label: str) -> None:
    kept = store.taken(label)
    store.tables, store.writes, store.ledger = dict(kept.tables), list(kept.writes), dict(kept.ledger)
    store.applied, store.partly = list(kept.applied), set(kept.partly)


def _forget(site: "SimulatedSite", name: str, migration: str) -> None:
    site.stores[name].ledger.pop(migration, None)
