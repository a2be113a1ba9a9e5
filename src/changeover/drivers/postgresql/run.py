"""One SQL file on one connection: its statements in order, and what a failure among them leaves behind."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

import psycopg
from psycopg import errors, sql

from changeover.drivers.postgresql.blockers import watched
from changeover.drivers.postgresql.connection import Connection, Connections, said
from changeover.drivers.script import Statement
from changeover.errors import DatabaseError, LockTimeoutError

NO_LOCK = (errors.LockNotAvailable, errors.DeadlockDetected)
"""The lock was not to be had in time, or the server chose us to break a deadlock."""

INVALID = """
    SELECT i.indexrelid::regclass::text FROM pg_index i
    WHERE NOT i.indisvalid AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = i.indexrelid)
"""
"""What `CREATE INDEX CONCURRENTLY` and `REINDEX CONCURRENTLY` leave when they fail."""


class Run:
    """While it is open, who blocks the connection is watched."""

    def __init__(
        self, connections: Connections, connection: Connection, name: str, lock_timeout: float
    ) -> None:
        self._connections = connections
        self._connection = connection
        self._name = name
        self._lock_timeout = lock_timeout
        self._stack = AsyncExitStack()
        self._blockers: list[str] = []
        self._notices: list[str] = []
        self._done = 0
        self._current: Statement | None = None

    async def __aenter__(self) -> Self:
        pid = self._connection.info.backend_pid
        self._blockers = await self._stack.enter_async_context(
            watched(self._connections, pid, self._lock_timeout)
        )
        self._connection.add_notice_handler(lambda notice: self._notices.append(notice.message_primary or ""))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def summary(self) -> str:
        """What was done, and what the server had to say about it."""
        count = f"{self._done} statement{'s' if self._done > 1 else ''}"
        return "; ".join([f"{self._name}: {count} applied", *self._notices])

    async def execute(self, script: Sequence[Statement]) -> None:
        """One statement after the other."""
        for self._current in script:
            await self._connection.execute(self._current.text.encode())
            self._done += 1
        self._current = None

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[None]:
        """In one transaction: all of it is in effect afterwards, or nothing."""
        try:
            async with self._connection.transaction():
                await self._connection.execute(self._lock_timeout_is("SET LOCAL"))
                yield
        except NO_LOCK as error:
            raise self._no_lock(error) from None
        except psycopg.Error as error:
            if self._connection.closed:
                raise self._failed(
                    error, "the connection was lost", hint="the ledger tells whether it was applied"
                ) from None
            raise self._failed(
                error, "nothing was changed", hint="correct the file, and plan again"
            ) from None

    @asynccontextmanager
    async def piecemeal(self, take_back: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """Each statement by itself. `take_back` undoes the note in the ledger when nothing was changed."""
        invalid = await self._invalid()
        await self._connection.execute(self._lock_timeout_is("SET"))
        try:
            yield
        except psycopg.Error as error:
            if self._connection.closed:
                raise self._failed(
                    error, "the connection was lost, and how far it came is not known", hint=_BY_HAND
                ) from None
            left = sorted(await self._invalid() - invalid)
            if self._done or left or not self._current or not _all_or_nothing(self._current):
                raise self._failed(error, self._state(left), hint=_BY_HAND) from None
            await take_back()
            if isinstance(error, NO_LOCK):
                raise self._no_lock(error) from None
            raise self._failed(
                error, "nothing was changed", hint="correct the file, and plan again"
            ) from None

    async def _invalid(self) -> set[str]:
        return {name for (name,) in await (await self._connection.execute(INVALID)).fetchall()}

    def _lock_timeout_is(self, command: str) -> sql.Composed:
        milliseconds = max(1, round(self._lock_timeout * 1000))
        return sql.SQL(command + " lock_timeout = {}").format(sql.Literal(f"{milliseconds}ms"))

    def _state(self, left: Sequence[str]) -> str:
        parts = [f"statements before it that are in effect: {self._done}"]
        parts += [f"the INVALID index {name} was left (DROP INDEX CONCURRENTLY {name})" for name in left]
        return "; ".join(parts)

    def _no_lock(self, error: psycopg.Error) -> LockTimeoutError:
        who = f"blocked by {', '.join(self._blockers)}" if self._blockers else "who held it was not seen"
        return LockTimeoutError(
            f"{self._place(error)}: no lock within {self._lock_timeout:g} s: {said(error)}; {who}; nothing was changed",
            hint="try again, or end that session (pg_terminate_backend) if it is idle in transaction",
        )

    def _failed(self, error: psycopg.Error, state: str, *, hint: str) -> DatabaseError:
        return self._connections.explained(f"{self._place(error)}", error, state=state, hint=hint)

    def _place(self, error: psycopg.Error) -> str:
        if self._current is None:
            return self._name
        offset = int(error.diag.statement_position or 1) - 1
        return f"{self._name}, line {self._current.line + self._current.text.count(chr(10), 0, offset)}"


_BY_HAND = "complete it or take it back by hand, then strike it from the ledger (forget)"


def _all_or_nothing(statement: Statement) -> bool:
    """Whether the statement by itself can only happen wholly or not at all, invalid indexes aside."""
    commits_within = statement.verb in ("CALL", "DO", "VACUUM", "CLUSTER")
    detaches = statement.verb == "ALTER" and "CONCURRENTLY" in statement.text.upper()
    return not (commits_within or detaches)
