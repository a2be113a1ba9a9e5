"""What a database says of itself and of us."""

from changeover.errors import DatabaseError
from changeover.model.values import Outcome, Verdict
from changeover.model.words import count
from changeover.ports import Database

MEBIBYTE = 1024 * 1024


async def database(db: Database) -> Verdict:
    """Whether it answers and grants us what an upgrade needs."""
    subject = f"database {db.name}"
    try:
        facts = await db.facts()
    except DatabaseError as error:
        return Verdict(subject, Outcome.BAD, error.message, error.hint)
    if facts.missing_privileges:
        return Verdict(subject, Outcome.BAD, "missing privileges", "; ".join(facts.missing_privileges))
    return Verdict(
        subject, Outcome.GOOD, f"{facts.version}, {facts.size / MEBIBYTE:.1f} MiB, privileges granted"
    )


async def unfinished_migrations(db: Database) -> Verdict:
    """Whether the ledger is free of migrations that were begun and never finished."""
    subject = f"ledger of {db.name}"
    try:
        ledger = await db.ledger()
    except DatabaseError as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    unfinished = [entry.name for entry in ledger if not entry.finished_at]
    if unfinished:
        return Verdict(
            subject,
            Outcome.BAD,
            f"begun and never finished: {', '.join(unfinished)}",
            "see what it left in the database, set it right, then strike it from `changeover_migration`",
        )
    return Verdict(
        subject, Outcome.GOOD, f"{count(len(ledger), 'migration')} applied" if ledger else "no migrations yet"
    )
