"""Applies and reverts SQL files, together with the ledger."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from changeover.drivers.sql.blockers import watched
from changeover.drivers.sql.connections import Connections
from changeover.drivers.sql.errors import ServerError
from changeover.drivers.sql.ledger import Ledger, LedgerTable, applied, downwards, unfinished
from changeover.drivers.sql.script import Statement, parse
from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError, LockTimeoutError
from changeover.model.release import SqlMigration

BY_HAND = "complete it or take it back by hand, then strike it from the ledger: `changeover forget`"


class Dialect(Protocol):
    """What differs between servers when they run a file.

    `transactional`: whether a change of the schema can be part of a transaction. `refused`: the first words of
    statements that have no place within one. `blame` and `way_out`: how those in the way are introduced, and
    what can be done about them.
    """

    ledger: LedgerTable
    transactional: bool
    refused: frozenset[str]
    blame: str
    way_out: str

    def cut(self, sql: str) -> Iterator[Statement]:
        """The statements of a file, as the server's own client cuts it."""
        ...

    def lock_timeout(self, seconds: float) -> tuple[float, str]:
        """The nearest time that the server knows, and the statement that sets it for the session."""
        ...

    def blockers(self, session: int) -> str:
        """The query for who is in that session's way, a line each."""
        ...

    def all_or_nothing(self, statement: Statement) -> bool:
        """Whether the statement by itself can only happen wholly or not at all, leftovers aside."""
        ...

    async def leftovers(self, session: Session) -> frozenset[str]:
        """What a statement that failed may leave behind, each with how to remove it."""
        ...


class Migrations:
    """SQL files on one database. Each runs on a session of its own, so no setting outlives its file."""

    def __init__(self, connections: Connections, ledger: Ledger, dialect: Dialect) -> None:
        self._connections = connections
        self._ledger = ledger
        self._dialect = dialect

    async def apply(self, migration: SqlMigration, lock_timeout: float) -> str:
        """Apply it, unless it was applied before."""
        name, ledger = migration.name, self._ledger
        script = self._parse(migration)
        async with self._connections.open() as session:
            if applied(migration, await ledger.entries(session)):
                return f"{name}: already applied"
            async with self._running(session, migration, name, lock_timeout) as run:
                await run.all(
                    script,
                    first=lambda: ledger.begin(session, name, migration.checksum),
                    last=lambda: ledger.finish(session, name),
                    take_back=lambda: ledger.strike(session, name),
                )
        return run.summary

    async def revert(self, migration: SqlMigration, lock_timeout: float) -> str:
        """Run its way back, if it is in the ledger."""
        name, ledger = migration.name, self._ledger
        down = downwards(migration)
        script = self._parse(down)
        async with self._connections.open() as session:
            entries = {entry.name: entry for entry in await ledger.entries(session)}
            if name not in entries:
                return f"{name}: not in the ledger"
            if not entries[name].finished_at:
                raise unfinished(entries[name])
            async with self._running(session, migration, down.name, lock_timeout) as run:
                await run.all(
                    script,
                    first=lambda: ledger.reopen(session, name),
                    last=lambda: ledger.strike(session, name),
                    take_back=lambda: ledger.finish(session, name),
                )
        return run.summary

    async def forget(self, name: str) -> None:
        """Strike an unfinished entry."""
        async with self._connections.open() as session:
            if not await self._ledger.forget(session, name):
                raise DatabaseError(
                    f"there is no unfinished migration {name!r} in the ledger",
                    hint="see the ledger for its name",
                )

    def _whole(self, migration: SqlMigration) -> bool:
        return migration.transactional and self._dialect.transactional

    def _parse(self, migration: SqlMigration) -> tuple[Statement, ...]:
        refused = self._dialect.refused if self._whole(migration) else frozenset[str]()
        return parse(migration.name, migration.sql, self._dialect.cut, refused=refused)

    @asynccontextmanager
    async def _running(
        self, session: Session, migration: SqlMigration, name: str, lock_timeout: float
    ) -> AsyncIterator["_Run"]:
        seconds, setting = self._dialect.lock_timeout(lock_timeout)
        query = self._dialect.blockers(session.id)
        async with watched(self._connections, query, min(0.5, seconds / 4)) as blockers:
            await session.execute(setting)
            yield _Run(
                self._connections,
                session,
                self._dialect,
                name,
                lock_timeout=seconds,
                blockers=blockers,
                whole=self._whole(migration),
            )


Note = Callable[[], Awaitable[object]]
"""Writes something into the ledger."""


class _Run:
    """One file on one session, and what a failure in it leaves behind."""

    def __init__(
        self,
        connections: Connections,
        session: Session,
        dialect: Dialect,
        name: str,
        *,
        lock_timeout: float,
        blockers: Sequence[str],
        whole: bool,
    ) -> None:
        self._whole = whole
        self._connections = connections
        self._session = session
        self._dialect = dialect
        self._name = name
        self._lock_timeout = lock_timeout
        self._blockers = blockers
        self._done = 0
        self._current: Statement | None = None

    @property
    def summary(self) -> str:
        """What was done, and what the server had to say about it."""
        count = f"{self._done} statement{'s' if self._done > 1 else ''}"
        return "; ".join([f"{self._name}: {count} applied", *self._session.notices])

    async def all(self, script: Sequence[Statement], *, first: Note, last: Note, take_back: Note) -> None:
        """Run the script between two notes: with them in one transaction if the file is run as a whole, else each by itself.

        `take_back` undoes the first note when nothing was changed.
        """
        if self._whole:
            async with self._in_one():
                await first()
                await self._execute(script)
                await last()
            return
        await first()
        async with self._one_by_one(take_back):
            await self._execute(script)
        await last()

    async def _execute(self, script: Sequence[Statement]) -> None:
        for self._current in script:
            await self._session.execute(self._current.text)
            self._done += 1
        self._current = None

    @asynccontextmanager
    async def _in_one(self) -> AsyncIterator[None]:
        try:
            async with self._session.transaction():
                yield
        except ServerError as error:
            if error.lost:
                hint = "the ledger tells whether it was applied"
                raise self._failed(error, "the connection was lost", hint=hint) from None
            raise self._nothing_changed(error) from None

    @asynccontextmanager
    async def _one_by_one(self, take_back: Note) -> AsyncIterator[None]:
        before = await self._dialect.leftovers(self._session)
        try:
            yield
        except ServerError as error:
            if error.lost:
                state = (
                    f"the connection was lost after {self._done} statements; "
                    "whether this one is in effect is not known"
                )
                raise self._failed(error, state, hint=BY_HAND) from None
            left = sorted(await self._dialect.leftovers(self._session) - before)
            if self._done or left or not self._current or not self._dialect.all_or_nothing(self._current):
                facts = [f"statements before it that were executed: {self._done}", *left]
                raise self._failed(
                    error, "; ".join([*facts, "the ledger has it as begun"]), hint=BY_HAND
                ) from None
            await take_back()
            raise self._nothing_changed(error) from None

    def _nothing_changed(self, error: ServerError) -> DatabaseError:
        if not error.no_lock:
            return self._failed(error, "nothing was changed", hint="correct the file, and plan again")
        who = (
            f"{self._dialect.blame} {', '.join(self._blockers)}"
            if self._blockers
            else "who held it was not seen"
        )
        return LockTimeoutError(
            f"{self._place(error)}: no lock within {self._lock_timeout:g} s: {error.words}; {who}; nothing was changed",
            hint=f"try again, or {self._dialect.way_out}",
        )

    def _failed(self, error: ServerError, state: str, *, hint: str) -> DatabaseError:
        return self._connections.explained(self._place(error), error, state=state, hint=hint)

    def _place(self, error: ServerError) -> str:
        if self._current is None:
            return self._name
        return f"{self._name}, line {self._current.line + self._current.text.count(chr(10), 0, error.offset)}"
