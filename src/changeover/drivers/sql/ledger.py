"""The ledger of migrations: what an entry means for the migration that is due."""

from collections.abc import Sequence
from datetime import UTC, datetime

from changeover.errors import DatabaseError
from changeover.model.release import SqlMigration
from changeover.ports import Applied


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
        hint="see what is there, complete it or take it back by hand, then strike it from the ledger (forget)",
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
