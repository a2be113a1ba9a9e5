"""The ledger's table in MariaDB.

It shares no transaction with what it tells of: statements that change a schema commit by themselves there.
"""

from changeover.drivers.mariadb.connection import Connection
from changeover.model.release import SqlMigration
from changeover.ports import Applied

CREATE = """
    CREATE TABLE IF NOT EXISTS changeover_migration (
        position    integer AUTO_INCREMENT PRIMARY KEY,
        name        varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
        checksum    varchar(255) NOT NULL,
        started_at  double NOT NULL,
        finished_at double NOT NULL DEFAULT 0
    ) ENGINE = InnoDB
"""

EXISTS = """
    SELECT 1 FROM information_schema.tables WHERE table_schema = database() AND table_name = 'changeover_migration'
"""


async def entries(connection: Connection) -> tuple[Applied, ...]:
    """What is in the ledger, in the order it came in; nothing if there is no table yet."""
    if not await connection.execute(EXISTS):
        return ()
    rows = await connection.execute(
        "SELECT name, checksum, started_at, finished_at FROM changeover_migration ORDER BY position"
    )
    return tuple(Applied(*row) for row in rows)


async def begin(connection: Connection, migration: SqlMigration) -> None:
    """Write the entry, unfinished. Of two conductors only one succeeds: the name is unique."""
    if not await connection.execute(EXISTS):
        await connection.execute(CREATE)
    await connection.execute(
        "INSERT INTO changeover_migration (name, checksum, started_at) VALUES (%s, %s, unix_timestamp(now(6)))",
        (migration.name, migration.checksum),
    )


async def finish(connection: Connection, name: str) -> None:
    """Write down that it is finished."""
    await connection.execute(
        "UPDATE changeover_migration SET finished_at = unix_timestamp(now(6)) WHERE name = %s", (name,)
    )


async def reopen(connection: Connection, name: str) -> None:
    """Write down that it is under way again: its way back was begun."""
    await connection.execute("UPDATE changeover_migration SET finished_at = 0 WHERE name = %s", (name,))


async def strike(connection: Connection, name: str) -> None:
    """Remove the entry."""
    await connection.execute("DELETE FROM changeover_migration WHERE name = %s", (name,))
