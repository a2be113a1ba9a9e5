"""How PostgreSQL runs the file of a migration."""

from collections.abc import Iterator

from changeover.drivers.postgresql import script
from changeover.drivers.sql.ledger import LedgerTable
from changeover.drivers.sql.script import Statement
from changeover.drivers.sql.session import Session

LEDGER = LedgerTable(
    create="""
        CREATE TABLE changeover_migration (
            position    integer GENERATED ALWAYS AS IDENTITY,
            name        text PRIMARY KEY,
            checksum    text NOT NULL,
            started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
            finished_at timestamptz
        )
    """,
    exists="SELECT 1 WHERE to_regclass('changeover_migration') IS NOT NULL",
    entries="""
        SELECT name, checksum, extract(epoch FROM started_at)::float8,
            coalesce(extract(epoch FROM finished_at), 0)::float8
        FROM changeover_migration ORDER BY position
    """,
    now="clock_timestamp()",
    unfinished="NULL",
    is_unfinished="finished_at IS NULL",
)

# No text of the query: it may hold other people's data.
BLOCKERS = """
    SELECT concat('pid ', pid, ' (application ', quote_literal(application_name), ', user ', coalesce(usename, '?'),
        ', ', coalesce(state, 'state not shown to us'),
        ' since ' || to_char(coalesce(xact_start, state_change) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'),
        ', from ' || host(client_addr), ')')
    FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids({waiting})) ORDER BY xact_start NULLS LAST
"""

INVALID = """
    SELECT i.indexrelid::regclass::text FROM pg_index i
    WHERE NOT i.indisvalid AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = i.indexrelid)
"""
"""What `CREATE INDEX CONCURRENTLY` and `REINDEX CONCURRENTLY` leave when they fail."""


class PostgresDialect:
    """A file and its entry are one transaction, unless the file says otherwise."""

    ledger = LEDGER
    transactional = True
    refused = script.TRANSACTION_WORDS
    blame = "blocked by"
    way_out = "end that session (pg_terminate_backend) if it is idle in transaction"

    def cut(self, sql: str) -> Iterator[Statement]:
        """As `psql` does."""
        return script.cut(sql)

    def lock_timeout(self, seconds: float) -> tuple[float, str]:
        """In milliseconds, for each lock."""
        return seconds, f"SET lock_timeout = {max(1, round(seconds * 1000))}"

    def blockers(self, session: int) -> str:
        """Exactly those that hold the lock or wait for it before us."""
        return BLOCKERS.format(waiting=session)

    def all_or_nothing(self, statement: Statement) -> bool:
        """All but those that commit within, or that are carried out in two transactions."""
        detaches = statement.verb == "ALTER" and "CONCURRENTLY" in statement.text.upper()
        return statement.verb not in ("CALL", "DO", "VACUUM", "CLUSTER") and not detaches

    async def leftovers(self, session: Session) -> frozenset[str]:
        """Indexes that are not valid."""
        return frozenset(
            f"the INVALID index {name} was left (DROP INDEX CONCURRENTLY {name})"
            for (name,) in await session.execute(INVALID)
        )
