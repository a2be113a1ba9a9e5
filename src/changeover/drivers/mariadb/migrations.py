"""Applies and reverts SQL files on MariaDB.

Each statement is in effect when it has run: there is no way to keep a change of the schema and its entry in the
ledger together, so the entry is written before and finished after.
"""

import math
from collections.abc import Awaitable, Callable, Sequence

import pymysql

from changeover.drivers.ledger import applied, downwards, unfinished
from changeover.drivers.mariadb import ledger
from changeover.drivers.mariadb.blockers import watched
from changeover.drivers.mariadb.connection import LOST, Connection, Connections, number, said
from changeover.drivers.mariadb.script import cut
from changeover.drivers.script import Statement, parse
from changeover.errors import DatabaseError, LockTimeoutError
from changeover.model.release import SqlMigration

NO_LOCK = frozenset({1205, 1213})
"""ER_LOCK_WAIT_TIMEOUT, and ER_LOCK_DEADLOCK: the server chose us to break a deadlock."""

BY_HAND = "complete it or take it back by hand, then strike it from the ledger (forget)"


class Migrations:
    """SQL files on one database. Each runs on a connection of its own, so no setting outlives its file."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def apply(self, migration: SqlMigration, lock_timeout: float) -> str:
        """Apply it, unless it was applied before."""
        script = parse(migration.name, migration.sql, cut)
        async with self._connections.open() as connection:
            if applied(migration, await ledger.entries(connection)):
                return f"{migration.name}: already applied"
            await ledger.begin(connection, migration)
            run = _Run(self._connections, connection, migration.name, lock_timeout)
            await run.execute(script, lambda: ledger.strike(connection, migration.name))
            await ledger.finish(connection, migration.name)
        return run.summary

    async def revert(self, migration: SqlMigration, lock_timeout: float) -> str:
        """Run its way back, if it is in the ledger."""
        down = downwards(migration)
        script = parse(down.name, down.sql, cut)
        async with self._connections.open() as connection:
            entries = {entry.name: entry for entry in await ledger.entries(connection)}
            if migration.name not in entries:
                return f"{migration.name}: not in the ledger"
            if not entries[migration.name].finished_at:
                raise unfinished(entries[migration.name])
            await ledger.reopen(connection, migration.name)
            run = _Run(self._connections, connection, down.name, lock_timeout)
            await run.execute(script, lambda: ledger.finish(connection, migration.name))
            await ledger.strike(connection, migration.name)
        return run.summary

    async def forget(self, name: str) -> None:
        """Strike an unfinished entry."""
        async with self._connections.open() as connection:
            if not any(e.name == name and not e.finished_at for e in await ledger.entries(connection)):
                raise DatabaseError(
                    f"there is no unfinished migration {name!r} in the ledger",
                    hint="see the ledger for its name",
                )
            await ledger.strike(connection, name)


class _Run:
    """One file on one connection, and what a failure in it leaves behind."""

    def __init__(
        self, connections: Connections, connection: Connection, name: str, lock_timeout: float
    ) -> None:
        self._connections = connections
        self._connection = connection
        self._name = name
        self._lock_timeout = max(1, math.ceil(lock_timeout))
        self._done = 0

    @property
    def summary(self) -> str:
        """What was done."""
        return f"{self._name}: {self._done} statement{'s' if self._done > 1 else ''} applied"

    async def execute(self, script: Sequence[Statement], take_back: Callable[[], Awaitable[object]]) -> None:
        """One after the other. `take_back` undoes the note in the ledger when nothing was changed."""
        # Whole seconds are the finest the server has.
        await self._connection.execute(
            f"SET SESSION lock_wait_timeout = {self._lock_timeout}, innodb_lock_wait_timeout = {self._lock_timeout}"
        )
        async with watched(self._connections, self._connection.id, self._lock_timeout) as blockers:
            for statement in script:
                try:
                    await self._connection.execute(statement.text)
                except pymysql.MySQLError as error:
                    await self._fail(error, statement, blockers, take_back)
                self._done += 1

    async def _fail(
        self,
        error: pymysql.MySQLError,
        statement: Statement,
        blockers: Sequence[str],
        take_back: Callable[[], Awaitable[object]],
    ) -> None:
        place = f"{self._name}, line {statement.line}"
        if number(error) in LOST:
            state = f"the connection was lost after {self._done} statements, and whether this one is in effect is not known"
            raise self._connections.explained(place, error, state=state, hint=BY_HAND) from None
        if self._done or statement.verb in ("CALL", "LOAD", "EXECUTE"):
            before = f"statements before it that were executed: {self._done}"
            state = f"{before}; the ledger has {self._name} as begun"
            raise self._connections.explained(place, error, state=state, hint=BY_HAND) from None
        await take_back()
        if number(error) in NO_LOCK:
            who = (
                f"transactions open meanwhile: {', '.join(blockers)}"
                if blockers
                else "who held it was not seen"
            )
            raise LockTimeoutError(
                f"{place}: no lock within {self._lock_timeout} s: {said(error)}; {who}; nothing was changed",
                hint="try again, or end that session (KILL) if it is idle in a transaction",
            ) from None
        raise self._connections.explained(
            place, error, state="nothing was changed", hint="correct the file, and plan again"
        ) from None
