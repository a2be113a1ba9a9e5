"""The ledger's table in PostgreSQL. Each function works in the transaction of its connection."""

from changeover.drivers.postgresql.connection import Connection
from changeover.model.release import SqlMigration
from changeover.ports import Applied

CREATE = """
    CREATE TABLE changeover_migration (
        position    integer GENERATED ALWAYS AS IDENTITY,
        name        text PRIMARY KEY,
        checksum    text NOT NULL,
        started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        finished_at timestamptz
    )
"""

ENTRIES = """
    SELECT name, checksum, extract(epoch FROM started_at)::float8, coalesce(extract(epoch FROM finished_at), 0)::float8
    FROM changeover_migration ORDER BY position
"""


async def entries(connection: Connection) -> tuple[Applied, ...]:
    """What is in the ledger, in the order it came in; nothing if there is no table yet."""
    if not await _exists(connection):
        return ()
    return tuple(Applied(*row) for row in await (await connection.execute(ENTRIES)).fetchall())


async def begin(connection: Connection, migration: SqlMigration) -> None:
    """Write the entry, unfinished. A second conductor waits here until the first one's transaction ends."""
    if not await _exists(connection):
        await connection.execute(CREATE)
    await connection.execute(
        "INSERT INTO changeover_migration (name, checksum) VALUES (%s, %s)",
        (migration.name, migration.checksum),
    )


async def finish(connection: Connection, name: str) -> None:
    """Write down that it is finished."""
    await connection.execute(
        "UPDATE changeover_migration SET finished_at = clock_timestamp() WHERE name = %s",
        (name,),
    )


async def reopen(connection: Connection, name: str) -> None:
    """Write down that it is under way again: its way back was begun."""
    await connection.execute(
        "UPDATE changeover_migration SET finished_at = NULL WHERE name = %s",
        (name,),
    )


async def strike(connection: Connection, name: str, *, unfinished: bool = False) -> int:
    """Remove the entry, or only one that is unfinished; return how many were."""
    if not await _exists(connection):
        return 0
    cursor = await connection.execute(
        "DELETE FROM changeover_migration WHERE name = %s AND (finished_at IS NULL OR NOT %s)",
        (name, unfinished),
    )
    return cursor.rowcount


async def _exists(connection: Connection) -> bool:
    (found,) = (
        await (await connection.execute("SELECT to_regclass(%s)", ("changeover_migration",))).fetchone()
    ) or (None,)
    return found is not None
