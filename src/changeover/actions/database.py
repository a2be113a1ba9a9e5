"""Snapshots and migrations. The target is the database."""

from typing import ClassVar, Literal

from changeover.actions.base import Context, Params
from changeover.model.plan import Operation, snapshot_label
from changeover.model.release import SqlMigration
from changeover.model.values import Observation, Presence, absent, done, unknown
from changeover.model.words import count
from changeover.ports import Answer, Database, Snapshot, restoring

MEBIBYTE = 1024 * 1024


class Labelled(Params, frozen=True):
    """What the plan calls the snapshot."""

    label: str


class Migrating(Params, frozen=True):
    """The migration, how many seconds it may wait for a lock, and the snapshot there must be before."""

    migration: SqlMigration
    lock_timeout: float
    backup: str = ""


class Commanding(Params, frozen=True):
    """The capabilities that run it and tell of it, on which node; `expect` is what `observe` then answers."""

    run: str
    observe: str
    expect: Literal["yes", "no"]
    node: str
    release: str
    lock_timeout: float
    backup: str = ""


class Restoring(Labelled, frozen=True):
    """That, and the migrations that need not be taken back then."""

    instead_of: tuple[Operation, ...]
    backup: str = ""


def _database(operation: Operation, context: Context) -> Database:
    return context.world.databases[operation.target]


def _label(params: Labelled, context: Context) -> str:
    """The snapshot's own name: no other run's snapshot is ever taken for this one's."""
    return snapshot_label(params.label, context.run)


def _describe(snapshot: Snapshot) -> str:
    rows = sum(snapshot.rows.values())
    return (
        f"{snapshot.path}, {snapshot.size / MEBIBYTE:.1f} MiB, {count(len(snapshot.rows), 'table')}, {count(rows, 'row')}, "
        f"{'verified' if snapshot.verified else 'not yet verified'}"
    )


class TakeSnapshot:
    """Take a snapshot, consistent while the application goes on writing."""

    kind: ClassVar[str] = "database.snapshot"
    params: ClassVar[type[Params]] = Labelled

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when a finished snapshot of that label is there."""
        snapshot = await _database(operation, context).find_snapshot(_label(Labelled.of(operation), context))
        return done(_describe(snapshot)) if snapshot else absent("no finished snapshot of that label")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Take it, or find it taken."""
        return _describe(
            await _database(operation, context).snapshot(_label(Labelled.of(operation), context))
        )


class VerifySnapshot:
    """Restore the snapshot into a scratch database and compare: a backup that was never restored is none."""

    kind: ClassVar[str] = "database.verify"
    params: ClassVar[type[Params]] = Labelled

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when the snapshot is marked as verified."""
        snapshot = await _database(operation, context).find_snapshot(_label(Labelled.of(operation), context))
        if snapshot is None:
            return absent("no finished snapshot of that label")
        return (done if snapshot.verified else absent)(_describe(snapshot))

    async def perform(self, operation: Operation, context: Context) -> str:
        """Restore, compare every table, and mark it."""
        return _describe(
            await _database(operation, context).verify_snapshot(_label(Labelled.of(operation), context))
        )


class DropSnapshot:
    """Remove a snapshot."""

    kind: ClassVar[str] = "database.drop-snapshot"
    params: ClassVar[type[Params]] = Labelled

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when there is none of that label."""
        snapshot = await _database(operation, context).find_snapshot(_label(Labelled.of(operation), context))
        return absent(_describe(snapshot)) if snapshot else done("no snapshot of that label")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Remove it."""
        await _database(operation, context).drop_snapshot(_label(Labelled.of(operation), context))
        return "removed"


class _Migration:
    applied: ClassVar[bool]

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Ask the ledger; an entry that was begun and not finished is in doubt."""
        migration = Migrating.of(operation).migration
        entries = [e for e in await _database(operation, context).ledger() if e.name == migration.name]
        there, not_there = (done, absent) if self.applied else (absent, done)
        if not entries:
            return not_there(f"{migration.name} is not in the ledger")
        if not entries[0].finished_at:
            return unknown(f"{migration.name} was begun and not finished: part of it may be in the database")
        if entries[0].checksum != migration.checksum:
            return unknown(
                f"{migration.name} is in the ledger with another text (checksum {entries[0].checksum[:12]})"
            )
        return there(f"{migration.name} is in the ledger")


class Migrate(_Migration):
    """Apply one SQL file, never queueing others behind a lock for longer than the declared time."""

    kind: ClassVar[str] = "database.migrate"
    params: ClassVar[type[Params]] = Migrating
    applied: ClassVar[bool] = True

    async def perform(self, operation: Operation, context: Context) -> str:
        """Apply it together with its entry in the ledger."""
        params = Migrating.of(operation)
        return await _database(operation, context).migrate(params.migration, lock_timeout=params.lock_timeout)


class Revert(_Migration):
    """Run the `down` text of one SQL file."""

    kind: ClassVar[str] = "database.revert"
    params: ClassVar[type[Params]] = Migrating
    applied: ClassVar[bool] = False

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run it and strike its entry from the ledger."""
        params = Migrating.of(operation)
        return await _database(operation, context).revert(params.migration, lock_timeout=params.lock_timeout)


class CommandMigrate:
    """A migration that the application performs itself, through the capabilities `run` and `observe`.

    It is done when `observe` answers `expect` (`yes` forwards, `no` for its undo). `partly` is neither: it is to be
    done in either direction. Both are given the new `release`, and the seconds that they may wait for a lock as
    `lock_timeout`.
    """

    kind: ClassVar[str] = "database.command"
    params: ClassVar[type[Params]] = Commanding

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Ask; any answer but yes, no and partly leaves it in doubt."""
        params = Commanding.of(operation)
        answer = await self._ask(operation, context)
        if answer.value not in ("yes", "no", "partly"):
            return unknown(f"{params.observe} answered {answer.value!r}: {answer.evidence}")
        return (done if answer.value == params.expect else absent)(answer.evidence)

    async def gone(self, operation: Operation, context: Context) -> Observation:
        """Done when nothing of the migration is in the database."""
        answer = await self._ask(operation, context)
        return (done if answer.value == "no" else absent)(answer.evidence)

    async def perform(self, operation: Operation, context: Context) -> str:
        """Run it on its node."""
        params = Commanding.of(operation)
        return await context.world.application.do(
            params.run, params.node, timeout=context.timeout, **self._values(params)
        )

    async def _ask(self, operation: Operation, context: Context) -> Answer:
        params = Commanding.of(operation)
        return await context.world.application.ask(params.observe, params.node, **self._values(params))

    @staticmethod
    def _values(params: Commanding) -> dict[str, str]:
        return {"release": params.release, "lock_timeout": f"{params.lock_timeout:g}"}


class Restore:
    """Put the database back to the snapshot, in place of taking back the migrations in `instead_of`.

    What was written since the snapshot is lost, so it is done once: when none of them is there, and no restore that
    was cut short, it is done.
    """

    kind: ClassVar[str] = "database.restore"
    params: ClassVar[type[Params]] = Restoring

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when none of the migrations is there any more, nor a part of one, and the restore was finished."""
        params = Restoring.of(operation)
        there: list[str] = []
        for migration in params.instead_of:
            command = migration.action == CommandMigrate.kind
            looking = CommandMigrate().gone if command else Revert().observe
            seen = await looking(migration, context)
            if seen.presence is not Presence.DONE:
                there.append(seen.evidence)
        if there:
            return absent("; ".join(there))
        entry = restoring(_label(params, context))
        if any(it.name == entry for it in await _database(operation, context).ledger()):
            return absent("the restore was begun and not finished: a part of it is there")
        return done("none of the migrations is there")

    async def perform(self, operation: Operation, context: Context) -> str:
        """Restore, and compare; a snapshot that is not verified is refused."""
        params = Restoring.of(operation)
        await _database(operation, context).restore(_label(params, context))
        return f"restored from {_label(params, context)}"
