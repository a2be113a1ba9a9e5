"""Blocks for databases: snapshots and migrations."""

from collections.abc import Sequence

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import CommandMigration, Migrations, Release, SqlMigration
from changeover.strategies.blocks.steps import back, estimate, timeout


def snapshot(database: str, label: str, release: Release, suffix: str = "") -> tuple[Step, Step]:
    """Take a snapshot, and verify it by restoring it."""
    take = Step(
        id=f"{database}/snapshot{suffix}",
        do=Operation("database.snapshot", database, {"label": label}),
        undo=back(_drop(database, label, suffix)),
        summary=f"take the snapshot {label} of {database} while it is written to",
        timeout=timeout(release, "snapshot", 3600),
        attempts=2,
        retry_wait=2,
        **estimate(release, "snapshot", 10),
    )
    verify = Step(
        id=f"{database}/verify-snapshot{suffix}",
        do=Operation("database.verify", database, {"label": label}),
        summary=f"restore {label} into a scratch database and compare every table",
        undo_note="changes nothing but the mark on the snapshot",
        needs=(take.id,),
        timeout=timeout(release, "verify_snapshot", 7200),
        attempts=2,
        retry_wait=2,
        **estimate(release, "verify_snapshot", 20),
    )
    return take, verify


def _drop(database: str, label: str, suffix: str) -> Step:
    return Step(
        id=f"{database}/drop-snapshot{suffix}",
        do=Operation("database.drop-snapshot", database, {"label": label}),
        summary=f"remove the snapshot {label} of {database}",
        timeout=300,
        attempts=2,
        retry_wait=2,
        estimate=1,
    )


def migrations(change: Migrations, phase: str, label: str, release: Release) -> list[Step]:
    """The migrations of one phase (`expand` or `contract`), one after another."""
    steps: list[Step] = []
    todo = change.expand if phase == "expand" else change.contract
    for migration in todo:
        needs = (steps[-1].id,) if steps else ()
        if isinstance(migration, SqlMigration):
            steps.append(_sql(change, migration, phase, label, release=release, needs=needs))
        else:
            steps.append(_command(change, migration, phase, label, release=release, needs=needs))
    return steps


def _sql(
    change: Migrations,
    migration: SqlMigration,
    phase: str,
    label: str,
    *,
    release: Release,
    needs: tuple[str, ...],
) -> Step:
    params = {
        "migration": msgspec.to_builtins(migration),
        "lock_timeout": change.lock_timeout,
        "backup": label,
    }
    step = Step(
        id=f"{change.database}/{phase}/{migration.name}",
        do=Operation("database.migrate", change.database, params),
        restore=label,
        summary=f"{phase} {change.database}: {migration.name}, waiting at most {change.lock_timeout:g} s for a lock",
        needs=needs,
        timeout=timeout(release, "migrate", 3600),
        attempts=change.attempts,
        retry_wait=change.retry_wait,
        **estimate(release, "migrate", 2),
    )
    if not migration.down:
        return step
    down = msgspec.structs.replace(
        step,
        do=Operation("database.revert", change.database, params),
        summary=f"take {migration.name} back from {change.database} by its down script",
    )
    return msgspec.structs.replace(step, undo=back(down))


def _command(
    change: Migrations,
    migration: CommandMigration,
    phase: str,
    label: str,
    *,
    release: Release,
    needs: tuple[str, ...],
) -> Step:
    params = {
        "observe": migration.observe,
        "node": migration.node,
        "release": release.to_version,
        "lock_timeout": change.lock_timeout,
        "backup": label,
    }
    step = Step(
        id=f"{change.database}/{phase}/{migration.name}",
        do=Operation("database.command", change.database, {**params, "run": migration.run, "expect": "yes"}),
        restore=label,
        summary=f"{phase} {change.database}: the application's own {migration.run}, run on {migration.node}, "
        f"waiting at most {change.lock_timeout:g} s for a lock",
        needs=needs,
        timeout=timeout(release, "migrate", 3600),
        attempts=change.attempts,
        retry_wait=change.retry_wait,
        **estimate(release, "migrate", 5),
    )
    if not migration.undo:
        return step
    down = msgspec.structs.replace(
        step,
        do=Operation("database.command", change.database, {**params, "run": migration.undo, "expect": "no"}),
        summary=f"take {migration.name} back from {change.database}: the application's own {migration.undo}, "
        f"run on {migration.node}",
    )
    return msgspec.structs.replace(step, undo=back(down))


def unless_applied(step: Step, applied: Sequence[str], *, needed: bool = False) -> Step:
    """The step, which is not taken back if its migration had been applied, or was needed, when the plan was made."""
    if step.id.rpartition("/")[2] not in applied and not needed:
        return step
    note = "it had been applied when the plan was made"
    return msgspec.structs.replace(step, undo=(), restore="", undo_note=note)
