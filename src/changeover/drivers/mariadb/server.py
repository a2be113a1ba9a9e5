"""The databases of the server as wholes: scratch databases, the lock around a snapshot, and the exchange."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pymysql

from changeover.drivers.mariadb import programs
from changeover.drivers.mariadb.connection import Connection, Connections, number, quoted
from changeover.drivers.mariadb.programs import Program
from changeover.errors import DatabaseError

LONGEST_NAME = 64
"""Characters of an identifier."""

PURPOSES = ("verify", "restore", "old")
NO_SUCH_THREAD = 1094
LOCK_WITHIN = 30
"""Seconds that the exchange, and the lock around a snapshot, wait for other sessions."""

TABLES = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = %s AND table_type <> 'VIEW' ORDER BY table_name
"""

FOREIGN = """
    SELECT DISTINCT concat(table_schema, '.', table_name) FROM information_schema.key_column_usage
    WHERE referenced_table_schema = %s AND table_schema <> %s
"""

OTHERS = "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> connection_id() AND id <> %s"


class Server:
    """The server, through connections to no database."""

    def __init__(self, connections: Connections, name: str) -> None:
        self._connections = connections
        self._name = name

    @asynccontextmanager
    async def scratch(self, purpose: str) -> AsyncIterator[str]:
        """An empty database like ours, for that purpose; one that a crash has left is dropped first."""
        name = scratch_name(purpose, self._name)
        await self.sweep()
        async with self._connections.open(None) as connection:
            await self._create_like(connection, name)
        try:
            yield name
        finally:
            await self.sweep()

    async def sweep(self) -> None:
        """Drop every scratch database of ours."""
        async with self._connections.open(None) as connection:
            await connection.execute("SET SESSION sql_notes = 0, foreign_key_checks = 0")
            for purpose in PURPOSES:
                await connection.execute(
                    f"DROP DATABASE IF EXISTS {quoted(scratch_name(purpose, self._name))}"
                )

    @asynccontextmanager
    async def commits_blocked(self) -> AsyncIterator[None]:
        """While this is open nothing is committed on the server, and no table is altered.

        `BACKUP STAGE BLOCK_COMMIT` does not wait for long queries, as FLUSH TABLES WITH READ LOCK does, with
        everybody queueing behind it.
        """
        async with self._connections.open(None) as connection:
            await connection.execute(f"SET SESSION lock_wait_timeout = {LOCK_WITHIN}")
            await connection.execute("BACKUP STAGE START")
            try:
                for stage in ("FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"):
                    await connection.execute(f"BACKUP STAGE {stage}")
                yield
            finally:
                await connection.execute("BACKUP STAGE END")

    async def exchange(self, scratch: str, restored: tuple[Program, ...]) -> None:
        """Put the scratch database's tables in place of ours, by one RENAME, and create the programs anew.

        The RENAME is atomic, also in a crash (since 10.6). Around it views, triggers, routines and events are
        missing for a moment, since none of them can be renamed from one database into another.
        """
        old = scratch_name("old", self._name)
        async with self._connections.open(None) as connection:
            await self._refuse_foreign_references(connection)
            await self._create_like(connection, old)
            tables = {
                name: [table for (table,) in await connection.execute(TABLES, (name,))]
                for name in (self._name, scratch)
            }
        async with self._connections.open(scratch) as connection:
            await programs.drop(
                connection, tuple(p for p in await programs.read(connection) if p.kind == "TRIGGER")
            )
        async with self._connections.open() as connection:
            await connection.execute(f"SET SESSION lock_wait_timeout = {LOCK_WITHIN}")
            replaced = await programs.read(connection)
            moves = [
                *_moves(self._name, old, tables[self._name]),
                *_moves(scratch, self._name, tables[scratch]),
            ]
            async with self._ending_others(connection):
                try:
                    await programs.drop(connection, replaced)
                    await connection.execute(rename(moves))
                except pymysql.MySQLError:
                    await programs.drop(connection, replaced)
                    await programs.create(connection, replaced)
                    raise
            await programs.create(connection, restored)

    @asynccontextmanager
    async def _ending_others(self, spared: Connection) -> AsyncIterator[None]:
        """While this is open, every other session that uses our database is ended as soon as it is seen."""
        ending = asyncio.create_task(self._end_others(spared))
        try:
            yield
        finally:
            ending.cancel()
            with suppress(asyncio.CancelledError):
                await ending

    async def _end_others(self, spared: Connection) -> None:
        async with self._connections.open(None) as connection:
            while True:
                for (session,) in await connection.execute(OTHERS, (self._name, spared.id)):
                    try:
                        await connection.execute(f"KILL {session}")
                    except pymysql.MySQLError as error:
                        if number(error) != NO_SUCH_THREAD:
                            raise
                await asyncio.sleep(0.1)

    async def _create_like(self, connection: Connection, name: str) -> None:
        found = await connection.execute(
            "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata "
            "WHERE schema_name = %s",
            (self._name,),
        )
        if not found:
            raise DatabaseError(
                f"there is no database {self._name!r} on the server",
                hint="check its name; it is never created",
            )
        charset, collation = found[0]
        await connection.execute(
            f"CREATE DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {collation}"
        )

    async def _refuse_foreign_references(self, connection: Connection) -> None:
        found = [table for (table,) in await connection.execute(FOREIGN, (self._name, self._name))]
        if found:
            raise DatabaseError(
                f"{', '.join(found)} outside of {self._name} refer to it by foreign keys, which would follow the old "
                "tables",
                hint="drop these keys, restore, and create them again",
            )


def rename(moves: list[tuple[str, str, str]]) -> str:
    """One RENAME TABLE for (table, from database, to database)."""
    return "RENAME TABLE " + ", ".join(
        f"{quoted(source)}.{quoted(table)} TO {quoted(target)}.{quoted(table)}"
        for table, source, target in moves
    )


def scratch_name(purpose: str, database: str) -> str:
    """The name of the scratch database for that purpose, never longer than the server allows."""
    name = f"changeover_{purpose}_{database}"
    if len(name) <= LONGEST_NAME:
        return name
    return f"changeover_{purpose}_{hashlib.sha256(database.encode()).hexdigest()[:16]}"


def _moves(source: str, target: str, tables: list[str]) -> list[tuple[str, str, str]]:
    return [(table, source, target) for table in tables]
