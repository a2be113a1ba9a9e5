"""A database in memory: a ledger, snapshots, and rows that are nothing but their names."""

from typing import Any

import msgspec

from changeover.errors import DatabaseError, LockTimeoutError
from changeover.model.release import SqlMigration
from changeover.ports import Applied, Clock, ServerFacts, Snapshot


class SimulatedDatabase:
    """The `Database` port. `locked` makes the next so many migrations find their lock taken."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.rows: set[str] = set()
        self.locked = 0
        self._clock = clock
        self._ledger: dict[str, Applied] = {}
        self._snapshots: dict[str, tuple[Snapshot, frozenset[str], dict[str, Applied]]] = {}

    async def facts(self) -> ServerFacts:
        """Always of the same version, always granting everything."""
        return ServerFacts("simulated 1", len(self.rows), self._clock.now())

    async def snapshot(self, label: str) -> Snapshot:
        """Keep the rows and the ledger as they are now."""
        if label not in self._snapshots:
            taken = Snapshot(
                label=label,
                path=f"memory:{label}",
                size=len(self.rows),
                sha256="",
                rows={"rows": len(self.rows)},
                fingerprint=str(hash(frozenset(self.rows))),
                taken_at=self._clock.now(),
            )
            self._snapshots[label] = (taken, frozenset(self.rows), dict(self._ledger))
        return self._snapshots[label][0]

    async def find_snapshot(self, label: str) -> Snapshot | None:
        """The snapshot of that label."""
        return self._snapshots[label][0] if label in self._snapshots else None

    async def verify_snapshot(self, label: str) -> Snapshot:
        """Mark it."""
        snapshot, rows, ledger = self._taken(label)
        verified = msgspec.structs.replace(snapshot, verified=True)
        self._snapshots[label] = (verified, rows, ledger)
        return verified

    async def drop_snapshot(self, label: str) -> None:
        """Forget it."""
        self._snapshots.pop(label, None)

    async def restore(self, label: str) -> None:
        """Put rows and ledger back."""
        snapshot, rows, ledger = self._taken(label)
        if not snapshot.verified:
            raise DatabaseError(f"{label} is not verified")
        self.rows, self._ledger = set(rows), dict(ledger)

    async def ledger(self) -> tuple[Applied, ...]:
        """What was applied, in order."""
        return tuple(self._ledger.values())

    async def migrate(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Write it down, unless its lock is taken."""
        if self.locked:
            self.locked -= 1
            await self._clock.sleep(lock_timeout)
            raise LockTimeoutError(f"no lock within {lock_timeout:g} s")
        now = self._clock.now()
        self._ledger.setdefault(migration.name, Applied(migration.name, migration.checksum, now, now))
        return f"applied {migration.name}"

    async def revert(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Strike it out."""
        self._ledger.pop(migration.name, None)
        return f"reverted {migration.name}"

    async def forget(self, name: str) -> None:
        """Strike it out."""
        self._ledger.pop(name, None)

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """There is nothing to be asked."""
        raise DatabaseError(f"the simulated database does not speak SQL: {statement}")

    async def close(self) -> None:
        """Nothing is held open."""

    def _taken(self, label: str) -> tuple[Snapshot, frozenset[str], dict[str, Applied]]:
        if label not in self._snapshots:
            raise DatabaseError(f"no snapshot {label!r}")
        return self._snapshots[label]
