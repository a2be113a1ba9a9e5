"""Connections to MariaDB, and what its refusals mean to an operator.

PyMySQL blocks, so each statement runs in a worker thread; a cancelled one is killed on the server.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pymysql

from changeover.drivers.login import Access, Login
from changeover.errors import DatabaseError

CONNECT_TIMEOUT = 10
"""Seconds."""

HINTS = {
    2003: "is the server running, and does it listen there (bind-address, port)?",
    2002: "is the server running, and is this its socket?",
    1045: "check the user, the host it may come from, and what the password's reference resolves to",
    1044: "GRANT ALL on that database to this user",
    1049: "check the database's name, or create it",
    1040: "free connections, or raise max_connections",
    1227: "see the missing privileges in `changeover check`",
    1142: "see the missing privileges in `changeover check`",
}
"""What to do next, by the server's error number."""

LOST = frozenset({0, 2006, 2013, 1927, 1053, 4031})
"""The numbers of errors after which a connection is no more."""


class Connection:
    """One session. Statements wait for their turn."""

    def __init__(self, raw: "pymysql.Connection[Any]", login: Login) -> None:
        self._raw = raw
        self._login = login
        self._turn = asyncio.Lock()
        self.id = int(raw.thread_id())  # type: ignore[no-untyped-call]

    async def execute(
        self, statement: str, arguments: Sequence[object] | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of the (first) result."""
        async with self._turn:
            work = asyncio.ensure_future(asyncio.to_thread(_execute, self._raw, statement, arguments))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.to_thread(_kill, self._login, self.id)
                await asyncio.wait({work})
                work.exception()
                raise

    async def close(self) -> None:
        """End the session."""
        if self._raw.open:
            await asyncio.to_thread(self._raw.close)


class Connections:
    """Opens connections, each with its own way to the server, and keeps one for what is asked often."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._kept: Connection | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def open(self, database: str | None = "") -> AsyncIterator[Connection]:
        """A connection of its own, closed afterwards; the server's errors become ours. None: to no database."""
        async with self._access.way() as login:
            target = login if database == "" else login.to(database or "")
            with self.translated(target):
                connection = Connection(await asyncio.to_thread(_connect, target), target)
                try:
                    yield connection
                finally:
                    await connection.close()

    async def kept(self) -> Connection:
        """The connection that is kept open; opened anew when it was lost."""
        async with self._opening:
            if self._kept is not None and not await _alive(self._kept):
                await self.close()
            if self._kept is None:
                self._kept = await self._stack.enter_async_context(self.open())
            return self._kept

    async def close(self) -> None:
        """Let go of it."""
        self._kept = None
        await self._stack.aclose()

    @contextmanager
    def translated(self, subject: object) -> Iterator[None]:
        """Turn the server's errors into ours, about `subject`."""
        try:
            yield
        except pymysql.MySQLError as error:
            raise self.explained(subject, error) from None

    def explained(
        self, subject: object, error: pymysql.MySQLError, *, state: str = "", hint: str = ""
    ) -> DatabaseError:
        """The error as ours; `state` says how things stand after it."""
        message = f"{subject}: {said(error)}" + (f"; {state}" if state else "")
        return DatabaseError(self._access.redact(message), hint=hint or HINTS.get(number(error), ""))


def number(error: pymysql.MySQLError) -> int:
    """The server's or the client's error number; 0 if there is none."""
    return int(error.args[0]) if error.args and isinstance(error.args[0], int) else 0


def said(error: pymysql.MySQLError) -> str:
    """What the server said, on one line, with its number."""
    words = " ".join(str(error.args[-1]).split()) if error.args else "the connection is closed"
    return f"{words} (error {number(error)})"


def quoted(name: str) -> str:
    """A name as an identifier."""
    return f"`{name.replace('`', '``')}`"


def _connect(login: Login) -> "pymysql.Connection[Any]":
    where: dict[str, Any] = (
        {"unix_socket": login.address} if login.local else {"host": login.address, "port": login.port}
    )
    return pymysql.connect(
        user=login.user,
        password=login.password,
        database=login.database or None,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT,
        **where,
    )


def _execute(
    raw: "pymysql.Connection[Any]", statement: str, arguments: Sequence[object] | None
) -> list[tuple[Any, ...]]:
    with raw.cursor() as cursor:
        cursor.execute(statement, arguments)
        rows = list(cursor.fetchall())
        while cursor.nextset():
            pass
        return rows


def _kill(login: Login, session: int) -> None:
    try:
        with _connect(login) as killer:
            _execute(killer, f"KILL {session}", None)
    except pymysql.MySQLError:
        # It has ended by itself, or the server has gone with it.
        return


async def _alive(connection: Connection) -> bool:
    try:
        await connection.execute("DO 0")
    except pymysql.MySQLError:
        return False
    return True
