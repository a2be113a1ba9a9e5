"""What a database says of itself and of us."""

from collections import Counter

from changeover.checks.machines import MEBIBYTE, space
from changeover.errors import DatabaseError, HostError
from changeover.model.values import Outcome, Verdict
from changeover.model.words import count
from changeover.ports import Database, Host

DUMP = 1
"""The room for a snapshot, in sizes of the database: a dump has no indexes and no free pages, but may be text."""

SCRATCH = 1
"""The room for the copy that it is restored into to verify it, beside the database itself."""


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


async def room(db: Database, host: Host, snapshots: str, spare: int) -> Verdict:
    """Whether a snapshot and a scratch copy fit, with `spare` bytes left on each file system that they lie on.

    Where the server does not tell us where its files are, the copy is counted beside the snapshots.
    """
    subject = f"room for {db.name}"
    try:
        facts = await db.facts()
        there = await space(host, snapshots)
        data = await space(host, facts.directory) if facts.directory else there
    except (DatabaseError, HostError) as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    sizes = Counter({there.mount: DUMP}) + Counter({data.mount: SCRATCH})
    needed = {mount: times * facts.size + spare for mount, times in sizes.items()}
    free = {data.mount: data.free, there.mount: there.free}
    evidence = "; ".join(
        f"{free[mount] / MEBIBYTE:.1f} MiB free on {mount} of {host.name}, {needed[mount] / MEBIBYTE:.1f} MiB needed "
        f"({times} x {facts.size / MEBIBYTE:.1f} + {spare / MEBIBYTE:.1f})"
        for mount, times in sizes.items()
    )
    if any(free[mount] < needed[mount] for mount in sizes):
        return Verdict(
            subject,
            Outcome.BAD,
            evidence,
            "make room for a snapshot and a copy to verify it, or set `snapshot_dir` to a file system with more",
        )
    return Verdict(subject, Outcome.GOOD, evidence)


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
            "see what it left in the database, set it right, then strike it from the ledger: `changeover forget`",
        )
    return Verdict(
        subject, Outcome.GOOD, f"{count(len(ledger), 'migration')} applied" if ledger else "no migrations yet"
    )
