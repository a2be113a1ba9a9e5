"""Who holds up a session that waits for a lock, while it waits: afterwards nobody can tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.errors import ServerError
from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError


@asynccontextmanager
async def watched(connections: Connections, query: str, interval: float) -> AsyncIterator[list[str]]:
    """While this is open, the list holds what `query` found when it last found anybody in the way."""
    seen: list[str] = []
    async with AsyncExitStack() as stack:
        try:
            session = await stack.enter_async_context(connections.open())
        except DatabaseError:
            # It only explains; when it cannot, the migration itself must not suffer.
            yield seen
            return
        watching = asyncio.create_task(_watch(session, query, interval, seen))
        try:
            yield seen
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError, ServerError):
                await watching


async def _watch(session: Session, query: str, interval: float, seen: list[str]) -> None:
    while True:
        if found := [line for (line,) in await session.execute(query)]:
            seen[:] = found
        await asyncio.sleep(interval)
