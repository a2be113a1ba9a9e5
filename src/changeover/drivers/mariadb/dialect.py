"""How MariaDB runs the file of a migration.

Each statement is in effect when it has run: there is no way to keep a change of the schema and its entry in the
ledger together, so the entry is written before and finished after.
"""

import math
from collections.abc import Iterator

from changeover.drivers.mariadb import script
from changeover.drivers.sql.ledger import LedgerTable
from changeover.drivers.sql.script import Statement
from changeover.drivers.sql.session import Session

LEDGER = LedgerTable(
    create="""
        CREATE TABLE IF NOT EXISTS changeover_migration (
            position    integer AUTO_INCREMENT PRIMARY KEY,
            name        varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
            checksum    varchar(255) NOT NULL,
            started_at  double NOT NULL,
            finished_at double NOT NULL DEFAULT 0
        ) ENGINE = InnoDB
    """,
    exists="""
        SELECT 1 FROM information_schema.tables
        WHERE table_schema = database() AND table_name = 'changeover_migration'
    """,
    entries="SELECT name, checksum, started_at, finished_at FROM changeover_migration ORDER BY position",
    now="unix_timestamp(now(6))",
    unfinished="0",
    is_unfinished="finished_at = 0",
)

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


class MariaDialect:
    """Each statement by itself."""

    ledger = LEDGER
    transactional = False
    refused = frozenset[str]()
    blame = "transactions open meanwhile:"
    way_out = "end that session (KILL) if it is idle in a transaction"

    def cut(self, sql: str) -> Iterator[Statement]:
        """As the `mariadb` client does."""
        return script.cut(sql)

    def lock_timeout(self, seconds: float) -> tuple[float, str]:
        """In whole seconds, the finest that the server has, rounded up."""
        whole = max(1, math.ceil(seconds))
        return whole, f"SET SESSION lock_wait_timeout = {whole}, innodb_lock_wait_timeout = {whole}"

    def blockers(self, session: int) -> str:
        """Those who may be in the way; it takes the PROCESS privilege."""
        return BLOCKERS.format(waiting=session, grace=GRACE)

    def all_or_nothing(self, statement: Statement) -> bool:
        """All but those that run others, and one that may load half a file."""
        return statement.verb not in ("CALL", "LOAD", "EXECUTE")

    async def leftovers(self, session: Session) -> frozenset[str]:  # noqa: ARG002 - a part of the dialect
        """Nothing: changes of the schema are atomic since 10.6."""
        return frozenset()
