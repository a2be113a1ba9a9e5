"""Connections to a server: how they are opened, and how its refusals become ours."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TypeVar

from changeover.drivers.login import Access, Login
from changeover.drivers.sql.errors import ServerError, silence
from changeover.drivers.sql.pulse import Pulse
from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError

Done = TypeVar("Done")

Connect = Callable[[Login, Pulse], Awaitable[Session]]
"""Opens a session in autocommit within `pulse.within` seconds; `ServerError`."""


class Connections:
    """Opens sessions, each with its own way to the server, and keeps one for what is asked often."""

    def __init__(self, access: Access, connect: Connect, silence: float) -> None:
        self._access = access
        self._connect = connect
        self._pulse = Pulse(self._ask, silence)
        self._kept: Session | None = None
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def open(self, database: str | None = "") -> AsyncIterator[Session]:
        """A session of its own, closed afterwards; the server's errors become ours. None: in no database."""
        async with self._access.way() as login:
            target = login if database == "" else login.to(database or "")
            with self.translated(target):
                session = await self._connect(target, self._pulse)
                try:
                    yield session
                finally:
                    await session.close()

    async def kept(self) -> Session:
        """The session that is kept open; opened anew when it was lost."""
        async with self._opening:
            if self._kept is not None and not await self._alive(self._kept):
                await self.close()
            if self._kept is None:
                self._kept = await self._stack.enter_async_context(self.open())
            return self._kept

    async def outlive(self, work: Awaitable[Done]) -> Done:
        """The work's result. It is ended if the server falls silent meanwhile: then it would wait for ever."""
        task = asyncio.ensure_future(work)
        try:
            answered = await self._pulse.outlives(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if not answered:
            task.cancel()
            await asyncio.wait({task})
            raise self.explained(f"database {self._access.config.name}", silence(self._pulse.silence))
        return task.result()

    async def close(self) -> None:
        """Let go of the one that is kept."""
        self._kept = None
        await self._stack.aclose()

    @contextmanager
    def translated(self, subject: object) -> Iterator[None]:
        """Turn the server's errors into ours, about `subject`."""
        try:
            yield
        except ServerError as error:
            raise self.explained(subject, error) from None

    def explained(
        self, subject: object, error: ServerError, *, state: str = "", hint: str = ""
    ) -> DatabaseError:
        """The error as ours; `state` says how things stand after it."""
        message = f"{subject}: {error.words}" + (f"; {state}" if state else "")
        return DatabaseError(self._access.redact(message), hint=hint or error.hint)

    async def _ask(self) -> None:
        """Whether a new connection comes to anything."""
        async with self._access.way() as login:
            session = await self._connect(login, self._pulse)
            await session.close()

    async def _alive(self, session: Session) -> bool:
        if session.busy:
            return True
        try:
            async with asyncio.timeout(self._pulse.within):
                await session.execute("SELECT 1")
        except (ServerError, TimeoutError):
            return False
        return True
