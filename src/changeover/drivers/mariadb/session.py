"""A session on MariaDB through PyMySQL, and what the server's refusals mean to an operator.

PyMySQL blocks, so each statement runs in a worker thread.
"""

import asyncio
import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pymysql

from changeover.drivers.login import Login
from changeover.drivers.sql.errors import ServerError
from changeover.drivers.sql.pulse import Pulse
from changeover.drivers.sql.session import Rows, Session

NOT_RUNNING = "is the server running, and does it listen there (bind-address, port; or is this its socket)?"

HINTS = {
    1045: "check the user, the host it may come from, and what the password's reference resolves to",
    1044: "GRANT ALL on that database to this user",
    1049: "check the database's name, or create it",
    1040: "free connections, or raise max_connections",
    1227: "see the missing privileges in `changeover check`",
    1142: "see the missing privileges in `changeover check`",
}
"""What to do next, by the server's error number."""

LOST = frozenset({0, 2006, 2013, 1927, 1053, 4031})
"""The numbers of errors after which a session is no more."""

NO_LOCK = frozenset({1205, 1213})
"""ER_LOCK_WAIT_TIMEOUT, and ER_LOCK_DEADLOCK: the server chose us to break a deadlock."""

UNREACHED = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)


class MariaSession(Session):
    """In autocommit; one whose statement is cancelled is killed on the server."""

    def __init__(
        self, raw: "pymysql.Connection[Any]", way: socket.socket, login: Login, pulse: Pulse
    ) -> None:
        super().__init__(pulse)
        self._raw = raw
        self._way = way
        self._login = login
        self.id = int(raw.thread_id())  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """End the session."""
        if self._raw.open:
            await asyncio.to_thread(self._raw.close)
        self._way.close()

    async def _run(self, statement: str, arguments: Sequence[object] | None) -> Rows:
        try:
            return await asyncio.to_thread(_execute, self._raw, statement, arguments)
        except pymysql.MySQLError as error:
            raise failure(error) from None

    async def _interrupt(self) -> None:
        killer = await connect(self._login, self._pulse)
        try:
            await killer.execute(f"KILL {self.id}")
        finally:
            await killer.close()

    def _let_go(self) -> None:
        _shut(self._way)


async def connect(login: Login, pulse: Pulse) -> MariaSession:
    """Open a session. The socket is ours: shutting it is all that frees a thread that waits for an answer."""
    try:
        async with asyncio.timeout(pulse.within):
            reached = await _reach(login)
    except TimeoutError:
        raise _no_answer(pulse) from None
    except OSError as error:
        silent = error.errno in UNREACHED
        raise ServerError(f"cannot connect: {error}", silent=silent, hint=NOT_RUNNING) from None
    raw = pymysql.connect(
        user=login.user,
        password=login.password,
        database=login.database or None,
        charset="utf8mb4",
        autocommit=True,
        defer_connect=True,
        **({"unix_socket": login.address} if login.local else {"host": login.address, "port": login.port}),
    )
    way = reached.dup()
    logging_in = asyncio.ensure_future(asyncio.to_thread(raw.connect, reached))
    answered = False
    try:
        answered = bool((await asyncio.wait({logging_in}, timeout=pulse.within))[0])
        if answered:
            logging_in.result()
            return MariaSession(raw, way, login, pulse)
    except pymysql.MySQLError as error:
        way.close()
        raise failure(error) from None
    finally:
        if not answered:
            _shut(way)
            await asyncio.gather(logging_in, return_exceptions=True)
            way.close()
    raise _no_answer(pulse)


async def _reach(login: Login) -> socket.socket:
    loop = asyncio.get_running_loop()
    places: list[tuple[int, Any]] = [(socket.AF_UNIX, login.address)]
    if not login.local:
        found = await loop.getaddrinfo(login.address, login.port, type=socket.SOCK_STREAM)
        places = [(family, address) for family, _, _, _, address in found]
    while True:
        family, address = places.pop(0)
        reached = socket.socket(family, socket.SOCK_STREAM)
        reached.setblocking(False)
        try:
            await loop.sock_connect(reached, address)
        except BaseException as error:
            reached.close()
            if places and isinstance(error, OSError):
                continue
            raise
        if not login.local:
            reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reached.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        reached.setblocking(True)
        return reached


def _shut(way: socket.socket) -> None:
    # It may have ended from the other side.
    with suppress(OSError):
        way.shutdown(socket.SHUT_RDWR)


def _execute(raw: "pymysql.Connection[Any]", statement: str, arguments: Sequence[object] | None) -> Rows:
    with raw.cursor() as cursor:
        cursor.execute(statement, arguments)
        rows = list(cursor.fetchall())
        while cursor.nextset():
            pass
        return rows


def _no_answer(pulse: Pulse) -> ServerError:
    return ServerError(f"no answer within {pulse.within:g} s", silent=True, hint=NOT_RUNNING)


def failure(error: pymysql.MySQLError) -> ServerError:
    """The server's error, or the client's."""
    number = int(error.args[0]) if error.args and isinstance(error.args[0], int) else 0
    words = " ".join(str(error.args[-1]).split()) if error.args else "the connection is closed"
    return ServerError(
        f"{words} (error {number})",
        code=str(number),
        hint=HINTS.get(number, ""),
        lost=number in LOST,
        no_lock=number in NO_LOCK,
    )


def quoted(name: str) -> str:
    """A name as an identifier."""
    return f"`{name.replace('`', '``')}`"
