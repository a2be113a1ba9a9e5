"""Who holds up a session that waits for a lock, while it waits: afterwards nobody can tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import psycopg

from changeover.drivers.postgresql.connection import Connection, Connections
from changeover.errors import DatabaseError

# No text of the query: it may hold other people's data.
BLOCKERS = """
    SELECT concat('pid ', pid, ' (application ', quote_literal(application_name), ', user ', coalesce(usename, '?'),
        ', ', coalesce(state, 'state not shown to us'),
        ' since ' || to_char(coalesce(xact_start, state_change) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'),
        ', from ' || host(client_addr), ')')
    FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(%s)) ORDER BY xact_start NULLS LAST
"""


@asynccontextmanager
async def watched(connections: Connections, pid: int, lock_timeout: float) -> AsyncIterator[list[str]]:
    """While this is open, the list holds who blocked that session when it was last seen waiting."""
    seen: list[str] = []
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(connections.open())
        except DatabaseError:
            # It only explains; when it cannot, the migration itself must not suffer.
            yield seen
            return
        watching = asyncio.create_task(_watch(connection, pid, min(0.5, lock_timeout / 4), seen))
        try:
            yield seen
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError, psycopg.OperationalError):
                await watching


async def _watch(connection: Connection, pid: int, interval: float, seen: list[str]) -> None:
    while True:
        cursor = await connection.execute(BLOCKERS, (pid,))
        if found := [line for (line,) in await cursor.fetchall()]:
            seen[:] = found
        await asyncio.sleep(interval)
