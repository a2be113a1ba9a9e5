"""The database under the journal: one connection in one thread, SQLite or PostgreSQL."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

from changeover.engine import tables
from changeover.errors import JournalError, SpecError

T = TypeVar("T")

BUSY_SECONDS = 10
"""How long a statement may wait: for SQLite's write lock, or for PostgreSQL to answer."""

IDLE_SECONDS = 5
"""PostgreSQL ends a transaction that stands idle so long: a conductor frozen inside one must not hold its
locks against the conductor that takes over."""

MODE = 0o600
"""Of a journal's file: who may read it knows the site, and who may write it can steer a run."""

SQLITE_NOW = "((julianday('now') - 2440587.5) * 86400.0)"
POSTGRESQL_NOW = "CAST(extract(epoch from clock_timestamp()) AS float8)"
"""The time by the database's own clock, in seconds since the epoch."""

FORMAT = 2
"""Of the tables, kept in `user_version` where the journal is an SQLite file."""

_CREATE_LOCK = 0x6368616E67656F76
"""An advisory lock: `CREATE TABLE IF NOT EXISTS` by two sessions at once fails on PostgreSQL."""


class Store:
    """Runs transactions, one after another, in a thread of its own, so that none blocks the event loop.

    `where` is a path (or `:memory:`) for SQLite, or a `postgresql://` URL. The connection is made at first
    use. The first writing makes what is missing: the file, for its owner alone, and the tables; until then a
    reading finds nothing, and leaves nothing behind. Every failure of the database is a `JournalError`.
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        self.url = _url(os.fspath(where))
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._connection: Connection | None = None
        self._made = False
        self._file: tuple[int, int] | None = None
        self._writing = False

    def __str__(self) -> str:
        """Where it is, without the password."""
        return self.url.database or "" if self.sqlite else self.url.render_as_string(hide_password=True)

    @property
    def absent(self) -> bool:
        """Whether it is to be a file, and there is none."""
        path = self._path
        return path is not None and not (path.exists() and path.stat().st_size)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns from within one transaction that changes nothing."""
        return await self._submit(work, writing=False)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; all it did is durable then, or nothing of it if anything was raised."""
        return await self._submit(work, writing=True)

    async def close(self) -> None:
        """Let go of the database; closing twice is fine."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, _close, connection)
        self._thread.shutdown(wait=False)

    def now(self) -> sa.ColumnElement[float]:
        """The time by the database's own clock."""
        return sa.literal_column(SQLITE_NOW if self.sqlite else POSTGRESQL_NOW, sa.Double())

    async def _submit(self, work: Callable[[Connection], T], *, writing: bool) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._transaction, work, writing
        )

    def _transaction(self, work: Callable[[Connection], T], writing: bool) -> T:
        try:
            if self._connection is None:
                if self.absent and not writing:
                    return _of_nothing(work)
                self._connection = self._connect()
                self._file = self._identity()
            elif writing and self._identity() != self._file:
                raise JournalError(
                    f"the journal at {self} is no longer the file that it was: it was moved, deleted or replaced",
                    hint="put it back where it was, then `changeover resume`",
                )
            self._made = self._made or self._has_tables(self._connection)
            self._writing = writing
            if not self._made and not writing:
                return _of_nothing(work) if self.sqlite else self._rolled_back(work, self._connection)
            if not self._made:
                self._make(self._connection)
            with self._connection.begin():
                return work(self._connection)
        except sa.exc.SQLAlchemyError as error:
            raise self._explained(error) from error
        except OSError as error:
            raise JournalError(
                f"the journal at {self}: {error}", hint="choose another place with --journal"
            ) from error

    def _identity(self) -> tuple[int, int] | None:
        """Tells the file from every other; None where there is none, as for PostgreSQL and `:memory:`."""
        try:
            found = self._path.stat() if self._path else None
        except FileNotFoundError:
            return None
        return (found.st_dev, found.st_ino) if found else None

    @property
    def _path(self) -> Path | None:
        """The file; None where there is none, as for PostgreSQL and `:memory:`."""
        name = self.url.database
        return Path(name) if self.sqlite and name and name != ":memory:" else None

    def _connect(self) -> Connection:
        return (self._sqlite() if self.sqlite else self._postgresql()).connect()

    def _has_tables(self, connection: Connection) -> bool:
        if self.sqlite:  # to look for each table whenever a journal is opened would cost start-up time
            return _format(connection) == FORMAT
        with connection.begin():
            found = sa.inspect(connection)
            if found.has_table(tables.run.name) and not found.has_table(tables.note.name):
                raise JournalError(
                    f"the journal has format 1, this version of Changeover writes {FORMAT}",
                    hint="use the version of Changeover that wrote it",
                )
            return found.has_table(tables.run.name)

    def _make(self, connection: Connection) -> None:
        if self.sqlite:  # it stays so, for whoever opens the file; no transaction may be open
            connection.connection.cursor().execute("PRAGMA journal_mode = WAL")
        with connection.begin():
            self._create(connection)
        self._made = True

    def _create(self, connection: Connection) -> None:
        if not self.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATE_LOCK)))
        tables.metadata.create_all(connection)
        if self.sqlite:
            connection.exec_driver_sql(f"PRAGMA user_version = {FORMAT}")

    def _rolled_back(self, work: Callable[[Connection], T], connection: Connection) -> T:
        """What is read from tables that are gone again afterwards."""
        with connection.begin() as transaction:
            self._create(connection)
            found = work(connection)
            transaction.rollback()
        return found

    def _sqlite(self) -> Engine:
        if self.absent and self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, MODE))
        engine = sa.create_engine(
            self._untouchable() or self.url,
            connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        )

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # the driver must not begin transactions of its own accord
            for pragma in ("synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that reads first and writes later may be refused in the middle; IMMEDIATE waits.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self._writing else "BEGIN")

        return engine

    def _untouchable(self) -> URL | None:
        """Where nobody can write, not even what a reader needs beside the file: it is read as it is."""
        path = self._path
        if not path or not path.exists() or os.access(path.parent, os.W_OK):
            return None
        if path.with_name(f"{path.name}-wal").exists():  # then a reader finds what it needs
            return None
        return URL.create(
            "sqlite", database=f"file:{quote(str(path.absolute()))}", query={"immutable": "1", "uri": "true"}
        )

    def _postgresql(self) -> Engine:
        engine = sa.create_engine(
            self.url.set(drivername="postgresql+psycopg"),
            connect_args={"connect_timeout": BUSY_SECONDS, "tcp_user_timeout": BUSY_SECONDS * 1000},
        )

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute(f"SET statement_timeout = '{BUSY_SECONDS}s'")
                cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
                cursor.execute("SHOW synchronous_commit")
                if cursor.fetchone()[0] == "off":
                    cursor.execute("SET synchronous_commit = on")
            connection.commit()

        return engine

    def _explained(self, error: sa.exc.SQLAlchemyError) -> JournalError:
        said = str(error.orig if isinstance(error, sa.exc.DBAPIError) else error).strip()
        if "disk is full" in said or "No space left" in said:
            hint = "make room on its disk, then `changeover resume`"
        elif "database is locked" in said:
            hint = "another process holds the journal for writing; let it finish, then `changeover resume`"
        elif self.sqlite:
            hint = "look at the file, its directory and its disk, then `changeover resume`"
        else:
            hint = "look at the PostgreSQL server of the journal, then `changeover resume`"
        return JournalError(f"the journal at {self} failed: {said}", hint=hint)


def _url(where: str) -> URL:
    if "://" in where:
        try:
            url = sa.make_url(where)
        except sa.exc.ArgumentError as error:
            raise SpecError(
                "the journal's URL cannot be read", hint="postgresql://user@host/database"
            ) from error
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise SpecError(
                f"a journal cannot be kept in {url.get_backend_name()}",
                hint="give a file, or a postgresql:// URL",
            )
        return url
    return URL.create("sqlite", database=where)


def _format(connection: Connection) -> int:
    """The format of an SQLite journal, 0 if it is new; `JournalError` if we do not know it, or it is none."""
    with connection.begin():
        found = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        strangers = (
            found == 0 and connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one()
        )
    if strangers:
        raise JournalError(
            "the file is a database of something else, not a journal", hint="give another path with --journal"
        )
    if found not in (0, FORMAT):
        raise JournalError(
            f"the journal has format {found}, this version of Changeover writes {FORMAT}",
            hint="use the version of Changeover that wrote it",
        )
    return found


def _of_nothing(work: Callable[[Connection], T]) -> T:
    """What is read from a journal in which nothing was ever written."""
    engine = sa.create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            tables.metadata.create_all(connection)
            return work(connection)
    finally:
        engine.dispose()


def _close(connection: Connection) -> None:
    connection.close()
    connection.engine.dispose()
