"""The `Database` port, over whatever a dialect is made of."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.copies import Copies
from changeover.drivers.sql.ledger import Ledger
from changeover.drivers.sql.migrations import Dialect, Migrations
from changeover.drivers.sql.session import Session
from changeover.model.release import SqlMigration
from changeover.ports import Applied, ServerFacts, Snapshot

Found = TypeVar("Found")


class SqlDatabase:
    """One database on a server; nothing is opened before it is first needed."""

    def __init__(
        self,
        name: str,
        *,
        connections: Connections,
        copies: Copies,
        dialect: Dialect,
        facts: Callable[[Session], Awaitable[ServerFacts]],
    ) -> None:
        self.name = name
        self._connections = connections
        self._copies = copies
        self._ledger = Ledger(dialect.ledger)
        self._migrations = Migrations(connections, self._ledger, dialect)
        self._facts = facts

    async def facts(self) -> ServerFacts:
        """Version, size, clock and missing rights, each of them as the statement that grants it."""
        return await self._on_the_kept(self._facts)

    async def snapshot(self, label: str) -> Snapshot:
        """Take a snapshot of what is committed now; a finished one of that label is returned as it is."""
        return await self._copies.take(label)

    async def find_snapshot(self, label: str) -> Snapshot | None:
        """The finished snapshot of that label; `DatabaseError` if it is damaged."""
        return await self._copies.find(label)

    async def verify_snapshot(self, label: str) -> Snapshot:
        """Restore it into a scratch database on the same server, compare, and mark it."""
        return await self._copies.verify(label)

    async def drop_snapshot(self, label: str) -> None:
        """Remove it, with drafts and scratch databases that a crash has left."""
        await self._copies.drop(label)

    async def restore(self, label: str) -> None:
        """Put the database back to the verified snapshot; every session on it is ended."""
        await self._copies.restore(label)

    async def ledger(self) -> tuple[Applied, ...]:
        """The entries of `changeover_migration`."""
        return await self._on_the_kept(self._ledger.entries)

    async def migrate(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Apply the file; `lock_timeout` holds for each lock it waits for."""
        return await self._migrations.apply(migration, lock_timeout)

    async def revert(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Run its `down`."""
        return await self._migrations.revert(migration, lock_timeout)

    async def forget(self, name: str) -> None:
        """Strike an unfinished migration; `DatabaseError` if there is none of that name."""
        await self._migrations.forget(name)

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement in autocommit; no rows if it returns none."""
        return await self._on_the_kept(lambda session: session.execute(statement))

    async def close(self) -> None:
        """Close the connection that is kept."""
        await self._connections.close()

    async def _on_the_kept(self, ask: Callable[[Session], Awaitable[Found]]) -> Found:
        session = await self._connections.kept()
        with self._connections.translated(f"database {self.name}"):
            return await ask(session)
