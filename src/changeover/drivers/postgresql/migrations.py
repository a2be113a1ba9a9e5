"""Applies and reverts SQL files on PostgreSQL, together with the ledger."""

from changeover.drivers.ledger import applied, downwards, unfinished
from changeover.drivers.postgresql import ledger
from changeover.drivers.postgresql.connection import Connections
from changeover.drivers.postgresql.run import Run
from changeover.drivers.postgresql.script import TRANSACTION_WORDS, cut
from changeover.drivers.script import Statement, parse
from changeover.errors import DatabaseError
from changeover.model.release import SqlMigration


class Migrations:
    """SQL files on one database. Each runs on a connection of its own, so no setting outlives its file."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def apply(self, migration: SqlMigration, lock_timeout: float) -> str:
        """Apply it, unless it was applied before."""
        script = _parse(migration)
        async with self._connections.open() as connection:
            if applied(migration, await ledger.entries(connection)):
                return f"{migration.name}: already applied"
            async with Run(self._connections, connection, migration.name, lock_timeout) as run:
                if migration.transactional:
                    async with run.whole():
                        await ledger.begin(connection, migration)
                        await run.execute(script)
                        await ledger.finish(connection, migration.name)
                else:
                    await ledger.begin(connection, migration)
                    async with run.piecemeal(lambda: ledger.strike(connection, migration.name)):
                        await run.execute(script)
                    await ledger.finish(connection, migration.name)
        return run.summary

    async def revert(self, migration: SqlMigration, lock_timeout: float) -> str:
        """Run its way back, if it is in the ledger."""
        down = downwards(migration)
        script = _parse(down)
        async with self._connections.open() as connection:
            entries = {entry.name: entry for entry in await ledger.entries(connection)}
            if migration.name not in entries:
                return f"{migration.name}: not in the ledger"
            if not entries[migration.name].finished_at:
                raise unfinished(entries[migration.name])
            async with Run(self._connections, connection, down.name, lock_timeout) as run:
                if migration.transactional:
                    async with run.whole():
                        await run.execute(script)
                        await ledger.strike(connection, migration.name)
                else:
                    await ledger.reopen(connection, migration.name)
                    async with run.piecemeal(lambda: ledger.finish(connection, migration.name)):
                        await run.execute(script)
                    await ledger.strike(connection, migration.name)
        return run.summary

    async def forget(self, name: str) -> None:
        """Strike an unfinished entry."""
        async with self._connections.open() as connection:
            if not await ledger.strike(connection, name, unfinished=True):
                raise DatabaseError(
                    f"there is no unfinished migration {name!r} in the ledger",
                    hint="see the ledger for its name",
                )


def _parse(migration: SqlMigration) -> tuple[Statement, ...]:
    refused = TRANSACTION_WORDS if migration.transactional else frozenset[str]()
    return parse(migration.name, migration.sql, cut, refused=refused)
