"""The ledger of migrations: its table, and what an entry means for the migration that is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError
from changeover.model.release import SqlMigration
from changeover.ports import Applied


@dataclass(frozen=True, slots=True)
class LedgerTable:
    """How a dialect keeps it. `exists` finds a row if the table is there; `entries` has the columns of `Applied`.

    `now` and `unfinished` are what is written into `finished_at`, and `is_unfinished` asks for the latter.
    """

    create: str
    exists: str
    entries: str
    now: str
    unfinished: str
    is_unfinished: str


class Ledger:
    """The table `changeover_migration`. Each method works in the transaction of its session, if there is one."""

    def __init__(self, table: LedgerTable) -> None:
        self._table = table

    async def entries(self, session: Session) -> tuple[Applied, ...]:
        """What is in the ledger, in the order it came in; nothing if there is no table yet."""
        if not await session.execute(self._table.exists):
            return ()
        return tuple(Applied(*row) for row in await session.execute(self._table.entries))

    async def begin(self, session: Session, name: str, checksum: str) -> bool:
        """Write the entry, unfinished; return whether the table was made for it.

        Of two conductors only one succeeds: the name is unique.
        """
        new = not await session.execute(self._table.exists)
        if new:
            await session.execute(self._table.create)
        await session.execute(
            f"INSERT INTO changeover_migration (name, checksum, started_at) VALUES (%s, %s, {self._table.now})",  # noqa: S608
            (name, checksum),
        )
        return new

    async def finish(self, session: Session, name: str) -> None:
        """Write down that it is finished."""
        await self._mark(session, name, self._table.now)

    async def reopen(self, session: Session, name: str) -> None:
        """Write down that it is under way again: its way back was begun."""
        await self._mark(session, name, self._table.unfinished)

    async def strike(self, session: Session, name: str) -> None:
        """Remove the entry."""
        await session.execute("DELETE FROM changeover_migration WHERE name = %s", (name,))

    async def drop(self, session: Session) -> None:
        """Remove the table."""
        await session.execute("DROP TABLE changeover_migration")

    async def forget(self, session: Session, name: str) -> bool:
        """Remove the entry if it is unfinished; return whether there was such a one."""
        if not await session.execute(self._table.exists):
            return False
        condition = f"name = %s AND {self._table.is_unfinished}"
        return bool(
            await session.execute(
                f"DELETE FROM changeover_migration WHERE {condition} RETURNING name",  # noqa: S608
                (name,),
            )
        )

    async def _mark(self, session: Session, name: str, finished_at: str) -> None:
        await session.execute(
            f"UPDATE changeover_migration SET finished_at = {finished_at} WHERE name = %s",  # noqa: S608
            (name,),
        )


def applied(migration: SqlMigration, entries: Sequence[Applied]) -> bool:
    """Whether it was applied before.

    Raises:
        DatabaseError: it was applied with another text, or begun and not finished.
    """
    entry = next((entry for entry in entries if entry.name == migration.name), None)
    if entry is None:
        return False
    if not entry.finished_at:
        raise unfinished(entry)
    if entry.checksum != migration.checksum:
        raise DatabaseError(
            f"{migration.name} was applied with another text: its checksum in the ledger is "
            f"{entry.checksum[:12]}, that of the file {migration.checksum[:12]}",
            hint="put the file back as it was, and make the change in a new migration",
        )
    return True


def unfinished(entry: Applied) -> DatabaseError:
    """The error for an entry that is under way, or whose migration died."""
    return DatabaseError(
        f"{entry.name} was begun at {moment(entry.started_at)} and has not been finished: "
        "part of it may be in the database",
        hint="see what is there, complete it or take it back by hand, then strike it from the ledger: `changeover forget`",
    )


def downwards(migration: SqlMigration) -> SqlMigration:
    """The way back as a file of its own name."""
    if not migration.down.strip():
        raise DatabaseError(f"{migration.name} has no `down`", hint="the way back is the snapshot")
    return SqlMigration(
        f"{migration.name} (down)", migration.down, migration.checksum, migration.transactional
    )


def moment(seconds: float) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
