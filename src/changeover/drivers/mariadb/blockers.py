"""Who holds up a session that waits for a lock, while it waits: afterwards nobody can tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pymysql

from changeover.drivers.mariadb.connection import Connection, Connections
from changeover.errors import DatabaseError

# Who holds a metadata lock is not to be seen without a plugin that is off by default; every open transaction
# of the same database may. No text of a query: it may hold other people's data.
BLOCKERS = """
    SELECT concat('connection ', p.id, ' (user ', p.user, ' from ', p.host, ', ', p.command,
        ', transaction open since ', date_format(convert_tz(t.trx_started, @@session.time_zone, '+00:00'),
                                                 '%Y-%m-%d %H:%i:%sZ'), ')')
    FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
    WHERE p.id NOT IN (connection_id(), {waiting}) AND (p.db = database() OR p.db IS NULL)
        AND coalesce(p.state, '') NOT LIKE 'Waiting for%'
        AND EXISTS (SELECT 1 FROM information_schema.processlist w WHERE w.id = {waiting} AND w.time_ms > {grace})
    ORDER BY t.trx_started LIMIT 5
"""

GRACE = 100
"""Milliseconds that a statement runs before it is taken to be waiting."""


@asynccontextmanager
async def watched(connections: Connections, session: int, lock_timeout: float) -> AsyncIterator[list[str]]:
    """While this is open, the list holds whose transactions were open when that session was last seen waiting."""
    seen: list[str] = []
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(connections.open())
        except DatabaseError:
            # It only explains; when it cannot, as without the PROCESS privilege, the migration itself must not suffer.
            yield seen
            return
        watching = asyncio.create_task(_watch(connection, session, min(0.5, lock_timeout / 4), seen))
        try:
            yield seen
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError, pymysql.OperationalError):
                await watching


async def _watch(connection: Connection, session: int, interval: float, seen: list[str]) -> None:
    while True:
        if found := await connection.execute(BLOCKERS.format(waiting=session, grace=GRACE)):
            seen[:] = [line for (line,) in found]
        await asyncio.sleep(interval)
