"""The databases of a server as wholes: scratch databases beside ours."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError

LONGEST_NAME = 63
"""Bytes: PostgreSQL cuts a longer identifier (NAMEDATALEN), MariaDB takes 64 characters."""

PURPOSES = ("verify", "restore", "old")


class Server(ABC):
    """The server, through sessions in `home`: another database than ours, or none."""

    def __init__(self, connections: Connections, name: str, home: str | None) -> None:
        self._connections = connections
        self._name = name
        self._home = home

    @asynccontextmanager
    async def scratch(self, purpose: str) -> AsyncIterator[str]:
        """An empty database like ours, for that purpose; one that a crash has left is dropped first."""
        name = scratch_name(purpose, self._name)
        await self.sweep()
        async with self._connections.open(self._home) as session:
            await self._create_like(session, name)
        try:
            yield name
        finally:
            await self.sweep()

    async def sweep(self) -> None:
        """Drop every scratch database of ours."""
        async with self._connections.open(self._home) as session:
            for purpose in PURPOSES:
                await self._drop(session, scratch_name(purpose, self._name))

    @abstractmethod
    async def _create_like(self, session: Session, name: str) -> None:
        """Create an empty database that is like ours in everything but its name."""

    @abstractmethod
    async def _drop(self, session: Session, name: str) -> None:
        """Drop that database, if it is there, whoever uses it."""

    def _missing(self) -> DatabaseError:
        return DatabaseError(
            f"there is no database {self._name!r} on the server", hint="check its name; it is never created"
        )


def scratch_name(purpose: str, database: str) -> str:
    """The name of the scratch database for that purpose, never longer than the server allows."""
    name = f"changeover_{purpose}_{database}"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"changeover_{purpose}_{hashlib.sha256(database.encode()).hexdigest()[:16]}"
