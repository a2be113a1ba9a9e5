"""A session on PostgreSQL through psycopg, and what the server's refusals mean to an operator."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import make_conninfo

from changeover.drivers.login import Login
from changeover.drivers.sql.connections import Connect
from changeover.drivers.sql.errors import ServerError
from changeover.drivers.sql.pulse import Pulse
from changeover.drivers.sql.session import Rows, Session

CONNECT_TIMEOUT = 10
"""Seconds, for the tools on the host."""

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

UNREACHED = ("timeout expired", "timed out", "no route to host", "unreachable")
"""What libpq says when nothing came back."""

NO_LOCK = (errors.LockNotAvailable, errors.DeadlockDetected)
"""The lock was not to be had in time, or the server chose us to break a deadlock."""


class PostgresSession(Session):
    """In autocommit; one that is cancelled goes on with its next statement."""

    def __init__(self, raw: "psycopg.AsyncConnection[tuple[Any, ...]]", pulse: Pulse) -> None:
        super().__init__(pulse)
        self._raw = raw
        self.id = raw.info.backend_pid
        self.version = raw.info.server_version
        raw.add_notice_handler(lambda notice: self.notices.append(notice.message_primary or ""))

    async def close(self) -> None:
        """End the session."""
        await self._raw.close()

    async def _run(self, statement: str, arguments: Sequence[object] | None) -> Rows:
        try:
            cursor = await self._raw.execute(statement.encode(), arguments)
            return await cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise failure(error, lost=self._raw.closed) from None

    async def _interrupt(self) -> None:
        try:
            await self._raw.cancel_safe(timeout=self._pulse.within)
        except psycopg.Error as error:
            raise failure(error) from None

    def _let_go(self) -> None:
        # It may have ended from the other side.
        with (
            suppress(OSError, psycopg.OperationalError),
            socket.socket(fileno=os.dup(self._raw.pgconn.socket)) as way,
        ):
            way.shutdown(socket.SHUT_RDWR)


def connect(parameters: Mapping[str, str]) -> Connect:
    """How a session is opened, with more of libpq's connection keywords."""
    return partial(_connect, parameters)


async def _connect(parameters: Mapping[str, str], login: Login, pulse: Pulse) -> PostgresSession:
    try:
        async with asyncio.timeout(pulse.within):
            raw = await psycopg.AsyncConnection.connect(
                conninfo(login, parameters),
                password=login.password or None,
                autocommit=True,
                prepare_threshold=None,
            )
    except TimeoutError:
        raise ServerError(
            f"no answer within {pulse.within:g} s", silent=True, hint=HINTS["timeout expired"]
        ) from None
    except psycopg.Error as error:
        raise failure(error) from None
    return PostgresSession(raw, pulse)


def failure(error: psycopg.Error, *, lost: bool = False) -> ServerError:
    """The server's error, or libpq's."""
    words = said(error)
    lower = words.lower()
    return ServerError(
        words,
        code=error.sqlstate or "",
        hint=next((hint for sign, hint in HINTS.items() if sign in lower), ""),
        lost=lost,
        silent=error.sqlstate is None and any(sign in lower for sign in UNREACHED),
        no_lock=isinstance(error, NO_LOCK),
        offset=int(error.diag.statement_position or 1) - 1,
    )


def said(error: psycopg.Error) -> str:
    """What the server said, on one line: the message, then its detail."""
    if error.diag.message_primary is None:
        return " ".join(str(error).split())
    detail = error.diag.message_detail
    return error.diag.message_primary + (f" ({detail})" if detail else "")


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
