"""The `Database` port over MariaDB 10.6 or newer: PyMySQL for statements, mariadb-dump and mariadb for snapshots."""

from collections.abc import Mapping
from typing import Any

from changeover.drivers.login import Access, driver_options
from changeover.drivers.mariadb import facts, ledger
from changeover.drivers.mariadb.connection import Connections
from changeover.drivers.mariadb.copies import Copies
from changeover.drivers.mariadb.migrations import Migrations
from changeover.drivers.mariadb.options import Options
from changeover.drivers.secrets import Secrets
from changeover.model.release import SqlMigration
from changeover.model.site import DatabaseConfig
from changeover.ports import Applied, Host, ServerFacts, Snapshot

PORT = 3306
"""Where a server listens unless told otherwise."""


class MariaDB:
    """One database on a MariaDB server; nothing is opened before it is first needed."""

    def __init__(self, config: DatabaseConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> None:
        chosen = driver_options(config, Options)
        access = Access(config, secrets=secrets, hosts=hosts, port=PORT)
        self.name = config.name
        self._connections = Connections(access)
        self._copies = Copies(access, self._connections, chosen)
        self._migrations = Migrations(self._connections)

    async def facts(self) -> ServerFacts:
        """Version, size, clock and missing rights, each of them as the statement that grants it."""
        connection = await self._connections.kept()
        with self._connections.translated(f"database {self.name}"):
            return await facts.read(connection)

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
        """Put the database back; rights on it stay, every session on it is ended."""
        await self._copies.restore(label)

    async def ledger(self) -> tuple[Applied, ...]:
        """The entries of `changeover_migration`."""
        connection = await self._connections.kept()
        with self._connections.translated(f"database {self.name}"):
            return await ledger.entries(connection)

    async def migrate(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Apply the file; `lock_timeout` holds for each lock it waits for, in whole seconds, rounded up."""
        return await self._migrations.apply(migration, lock_timeout)

    async def revert(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Run its `down`."""
        return await self._migrations.revert(migration, lock_timeout)

    async def forget(self, name: str) -> None:
        """Strike an unfinished migration; `DatabaseError` if there is none of that name."""
        await self._migrations.forget(name)

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement in autocommit; no rows if it returns none."""
        connection = await self._connections.kept()
        with self._connections.translated(f"database {self.name}"):
            return await connection.execute(statement)

    async def close(self) -> None:
        """Close the connection that is kept."""
        await self._connections.close()


def open_database(config: DatabaseConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> MariaDB:
    """The factory behind the entry point `database.mariadb`."""
    return MariaDB(config, secrets=secrets, hosts=hosts)
