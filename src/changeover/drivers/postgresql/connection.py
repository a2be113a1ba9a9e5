"""Connections to PostgreSQL, and what its refusals mean to an operator."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from changeover.drivers.login import Access, Login
from changeover.errors import DatabaseError

CONNECT_TIMEOUT = 10
"""Seconds."""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

HINTS = {
    "connection refused": "is the server running, and does it listen there (listen_addresses, port)?",
    "timeout expired": "is the server running, and does a firewall let us through?",
    "password authentication failed": "check the user, and what the password's reference resolves to",
    "no password supplied": "the server wants a password: give `password` a reference",
    "no pg_hba.conf entry": "allow this user and address in the server's pg_hba.conf",
    "does not exist": "check the database's name and the user's, or create them",
    "not currently accepting connections": "a restore was cut short and left it closed: run the restore again",
    "too many clients": "free connections, or raise max_connections",
}
"""What to do next, by what the server or libpq says (15.x, lc_messages C)."""


class Connections:
    """Opens connections, each with its own way to the server, and keeps one for what is asked often."""

    def __init__(self, access: Access, parameters: Mapping[str, str]) -> None:
        self._access = access
        self._parameters = parameters
        self._kept: Connection | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def open(self, database: str = "") -> AsyncIterator[Connection]:
        """A connection in autocommit of its own, closed afterwards; the server's errors become ours."""
        async with self._access.way() as login:
            target = login.to(database or login.database)
            with self.translated(target):
                connection = await psycopg.AsyncConnection.connect(
                    conninfo(target, self._parameters),
                    password=target.password or None,
                    autocommit=True,
                    prepare_threshold=None,
                )
                async with _closing(connection):
                    yield connection

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
        except psycopg.Error as error:
            raise self.explained(subject, error) from None

    def explained(
        self, subject: object, error: psycopg.Error, *, state: str = "", hint: str = ""
    ) -> DatabaseError:
        """The error as ours; `state` says how things stand after it."""
        words = said(error)
        known = next((known for sign, known in HINTS.items() if sign in words.lower()), "")
        message = f"{subject}: {words}" + (f"; {state}" if state else "")
        return DatabaseError(self._access.redact(message), hint=hint or known)


def conninfo(login: Login, parameters: Mapping[str, str]) -> str:
    """Libpq's connection string, for us and for its tools; the password is never in it."""
    keywords: dict[str, str | int | None] = {
        "host": login.address,
        "port": login.port,
        "user": login.user,
        "dbname": login.database,
        "connect_timeout": CONNECT_TIMEOUT,
        "application_name": "changeover",
    }
    return make_conninfo("", **{**keywords, **parameters})


def said(error: psycopg.Error) -> str:
    """What the server said, on one line: the message, then its detail."""
    if error.diag.message_primary is None:
        return " ".join(str(error).split())
    detail = error.diag.message_detail
    return error.diag.message_primary + (f" ({detail})" if detail else "")


async def _alive(connection: Connection) -> bool:
    try:
        await connection.execute("")
    except psycopg.Error:
        return False
    return True


@asynccontextmanager
async def _closing(connection: Connection) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await connection.close()
