"""The databases of a MariaDB server as wholes: the lock around a snapshot, and the exchange of two."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from changeover.drivers.mariadb import programs
from changeover.drivers.mariadb.programs import Program
from changeover.drivers.mariadb.session import quoted
from changeover.drivers.sql.errors import ServerError
from changeover.drivers.sql.server import Server, scratch_name
from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError

NO_SUCH_THREAD = "1094"
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


class MariaServer(Server):
    """The server, through sessions in no database."""

    @asynccontextmanager
    async def commits_blocked(self) -> AsyncIterator[None]:
        """While this is open nothing is committed on the server, and no table is altered.

        `BACKUP STAGE BLOCK_COMMIT` does not wait for long queries, as FLUSH TABLES WITH READ LOCK does, with
        everybody queueing behind it.
        """
        async with self._connections.open(self._home) as session:
            await session.execute(f"SET SESSION lock_wait_timeout = {LOCK_WITHIN}")
            await session.execute("BACKUP STAGE START")
            try:
                for stage in ("FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"):
                    await session.execute(f"BACKUP STAGE {stage}")
                yield
            finally:
                await session.execute("BACKUP STAGE END")

    async def exchange(self, scratch: str, restored: tuple[Program, ...]) -> None:
        """Put the scratch database's tables in place of ours, by one RENAME, and create the programs anew.

        The RENAME is atomic, also in a crash (since 10.6). Around it views, triggers, routines and events are
        missing for a moment, since none of them can be renamed from one database into another.
        """
        old = scratch_name("old", self._name)
        async with self._connections.open(self._home) as session:
            await self._refuse_foreign_references(session)
            await self._create_like(session, old)
            tables = {
                name: [table for (table,) in await session.execute(TABLES, (name,))]
                for name in (self._name, scratch)
            }
        async with self._connections.open(scratch) as session:
            await programs.drop(
                session, tuple(p for p in await programs.read(session) if p.kind == "TRIGGER")
            )
        async with self._connections.open() as session:
            await session.execute(f"SET SESSION lock_wait_timeout = {LOCK_WITHIN}")
            replaced = await programs.read(session)
            moves = [
                *_moves(self._name, old, tables[self._name]),
                *_moves(scratch, self._name, tables[scratch]),
            ]
            async with self._ending_others(session):
                try:
                    await programs.drop(session, replaced)
                    await session.execute(rename(moves))
                except ServerError:
                    await programs.drop(session, replaced)
                    await programs.create(session, replaced)
                    raise
            await programs.create(session, restored)

    @asynccontextmanager
    async def _ending_others(self, spared: Session) -> AsyncIterator[None]:
        """While this is open, every other session that uses our database is ended as soon as it is seen."""
        ending = asyncio.create_task(self._end_others(spared))
        try:
            yield
        finally:
            ending.cancel()
            with suppress(asyncio.CancelledError):
                await ending

    async def _end_others(self, spared: Session) -> None:
        async with self._connections.open(self._home) as session:
            while True:
                for (other,) in await session.execute(OTHERS, (self._name, spared.id)):
                    try:
                        await session.execute(f"KILL {other}")
                    except ServerError as error:
                        if error.code != NO_SUCH_THREAD:
                            raise
                await asyncio.sleep(0.1)

    async def _create_like(self, session: Session, name: str) -> None:
        found = await session.execute(
            "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata "
            "WHERE schema_name = %s",
            (self._name,),
        )
        if not found:
            raise self._missing()
        charset, collation = found[0]
        await session.execute(f"CREATE DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {collation}")

    async def _drop(self, session: Session, name: str) -> None:
        await session.execute("SET SESSION sql_notes = 0, foreign_key_checks = 0")
        await session.execute(f"DROP DATABASE IF EXISTS {quoted(name)}")

    async def _refuse_foreign_references(self, session: Session) -> None:
        found = [table for (table,) in await session.execute(FOREIGN, (self._name, self._name))]
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


def _moves(source: str, target: str, tables: list[str]) -> list[tuple[str, str, str]]:
    return [(table, source, target) for table in tables]
