"""Who holds up a session that waits for a lock, while it waits: afterwards nobody can tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from changeover.drivers.postgresql.connection import Connections
from changeover.errors import DatabaseError

# No text of the query: it may hold other people's data.
BLOCKERS = """
    SELECT format('pid %s (application %L, user %s, %s%s%s)', pid, application_name, coalesce(usename, '?'),
        coalesce(state, 'state not shown to us'),
        ' since ' || to_char(coalesce(xact_start, state_change) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'),
        ', from ' || host(client_addr))
    FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(%s)) ORDER BY xact_start NULLS LAST
"""


@asynccontextmanager
async def watched(connections: Connections, pid: int, lock_timeout: float) -> AsyncIterator[list[str]]:
    """While this is open, the list holds who blocked that session when it was last seen waiting."""
    seen: list[str] = []
    watching = asyncio.create_task(_watch(connections, pid, min(0.5, lock_timeout / 4), seen))
    try:
        yield seen
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(connections: Connections, pid: int, interval: float, seen: list[str]) -> None:
    # It only explains; when it cannot, the migration itself must not suffer.
    with suppress(DatabaseError):
        async with connections.open() as connection:
            while True:
                cursor = await connection.execute(BLOCKERS, (pid,))
                if found := [line for (line,) in await cursor.fetchall()]:
                    seen[:] = found
                await asyncio.sleep(interval)
