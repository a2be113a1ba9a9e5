"""The contract of the Database port, held against a real PostgreSQL and a real MariaDB.

What is marked `everywhere` is held against the simulation too. The rest means nothing to it: it reads no SQL, and
has neither files nor tools nor sessions that could be lost.
"""

import asyncio
import os
import pwd
import re
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from signal import SIGCONT, SIGKILL
from threading import Event, Thread
from typing import Any, ClassVar

import msgspec
import pytest

from changeover.actions import Context
from changeover.actions.database import Restore
from changeover.checks.databases import unfinished_migrations
from changeover.drivers.local import create as local_host
from changeover.drivers.mariadb import programs
from changeover.drivers.mariadb.programs import Program
from changeover.drivers.secrets import Secrets
from changeover.drivers.sql.session import Session
from changeover.errors import DatabaseError, LockTimeoutError
from changeover.model.plan import Facts, Operation, snapshot_label
from changeover.model.release import SqlMigration
from changeover.model.site import DatabaseConfig, HostConfig
from changeover.model.values import Outcome, Presence, Secret
from changeover.ports import Database, restoring
from changeover.simulation import SimulatedSite
from changeover.strategies.rolling import rolling
from tests.databasekit import CANARY, MariaDB, Postgres, frozen, running_mariadb, running_postgres
from tests.sites import a_release, a_site

Server = Postgres | MariaDB
PATIENCE = 60.0
"""Seconds; only a broken test waits so long."""


@dataclass
class Place:
    """One database with a table `notes`, and the means to open drivers for it."""

    server: Server
    name: str
    directory: Path
    opened: list[Database]

    executes: ClassVar[int] = 1
    """How often the text of a migration is executed."""

    def open(self, user: str = "conductor", **changes: Any) -> Database:
        """The driver, as a conductor opens it."""
        secrets = Secrets()
        host = local_host(HostConfig("db1", "127.0.0.1", driver="local"), secrets=secrets, hosts={})
        config = DatabaseConfig(
            name="main",
            driver=self.server.driver,
            database=self.name,
            user=user,
            host="db1",
            address="127.0.0.1",
            port=self.server.port,
            password=Secret(env="CANARY"),
            snapshot_dir=str(self.directory),
        )
        module = import_module(f"changeover.drivers.{self.server.driver}")
        config = msgspec.structs.replace(config, **changes)
        self.opened.append(module.open_database(config, secrets=secrets, hosts={"db1": host}))
        return self.opened[-1]

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """As the application."""
        return self.server.run(self.name, *statements)

    def notes(self) -> list[int]:
        """The ids of the rows."""
        return [number for (number,) in self.run("SELECT id FROM notes ORDER BY id")]

    @contextmanager
    def open_transaction(self) -> Iterator[int]:
        """A session that has read `notes` and does not end its transaction; its id."""
        session = self.server.connect(self.name, "app")
        with session.cursor() as cursor:
            for statement in ("BEGIN", "SELECT count(*) FROM notes"):
                cursor.execute(statement.encode())
            try:
                yield self.server.number(session)
            finally:
                session.close()

    def stopping_tools(self) -> dict[str, str]:
        """Options with which the dump stops itself before it begins, until somebody continues or kills it."""
        directory = self.directory.parent / "tools"
        directory.mkdir(exist_ok=True)
        for name in ("pg_dump", "mariadb-dump"):
            tool = directory / name
            tool.write_text(f'#!/bin/sh\necho $$ > {directory}/pid.new\nmv {directory}/pid.new {directory}/pid\n'
                            f'kill -STOP $$\nexec {name} "$@"\n')  # fmt: skip
            tool.chmod(0o755)
        return {"bin": str(directory)}

    async def stopped_tool(self) -> int:
        """The process id of the dump, once it has stopped itself."""
        noted = self.directory.parent / "tools" / "pid"
        await until(
            lambda: noted.exists() and ") T " in Path(f"/proc/{noted.read_text().strip()}/stat").read_text()
        )
        return int(noted.read_text())

    @property
    def manifest(self) -> Path:
        return self.directory / "main" / "before" / "manifest.json"

    @property
    def dump(self) -> Path:
        return self.directory / "main" / "before" / "dump"


class SimulatedPlace(Place):
    """The same in memory. Rows are their ids there."""

    executes = 0

    def __init__(self) -> None:
        self.site = SimulatedSite(a_site(1), "v1")
        self.opened = []
        self.store = self.site.stores["main"]
        self.store.tables = {"notes": frozenset(range(1, 101)), "marks": frozenset(range(1, 11))}

    def open(self, user: str = "conductor", **changes: Any) -> Database:
        """The one port that there is."""
        return self.site.databases["main"]

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Of SQL, only to look at all rows of a table, and to delete them."""
        for statement in statements:
            verb, table = re.fullmatch(r"(SELECT \*|DELETE) FROM (\w+)", statement).groups()  # type: ignore[union-attr]
            rows = [(number,) for number in sorted(self.store.tables[table])]
            if verb == "DELETE":
                self.store.tables[table] = frozenset()
        return rows

    def notes(self) -> list[int]:
        """The ids of the rows."""
        return sorted(self.store.tables["notes"])

    @contextmanager
    def open_transaction(self) -> Iterator[int]:
        """A lock that is held until the end of the block."""
        self.store.locked_until = float("inf")
        yield 1
        self.store.locked_until = 0.0


@contextmanager
def simulated() -> Iterator[None]:
    """There is no server."""
    yield None


@pytest.fixture(scope="module", params=[running_postgres, running_mariadb], ids=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server | None]:
    """A real server for all tests of the module, or none: the simulation."""
    with request.param() as running:
        yield running


only_postgres = pytest.mark.parametrize(
    "server", [running_postgres], ids=["postgresql"], indirect=True, scope="module"
)
only_mariadb = pytest.mark.parametrize(
    "server", [running_mariadb], ids=["mariadb"], indirect=True, scope="module"
)


everywhere = pytest.mark.parametrize(
    "server",
    [running_postgres, running_mariadb, simulated],
    ids=["postgresql", "mariadb", "simulated"],
    indirect=True,
    scope="module",
)


@pytest.fixture
async def place(
    server: Server | None, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    """A database of its own for the test, with a hundred rows."""
    if server is None:
        yield SimulatedPlace()
        return
    monkeypatch.setenv("CANARY", CANARY)
    name = f"site_{abs(hash(request.node.name)) % 10**9}"
    server.create(name)
    found = Place(server, name, tmp_path / "snapshots", [])
    found.run(
        "CREATE TABLE notes (id integer PRIMARY KEY, word varchar(100) NOT NULL, more text)",
        "CREATE TABLE marks (id integer PRIMARY KEY, note integer NOT NULL REFERENCES notes (id))",
        "CREATE SEQUENCE tickets",
        "CREATE VIEW words AS SELECT id, word FROM notes",
        *(f"INSERT INTO notes VALUES ({number}, 'ångström {number}', NULL)" for number in range(1, 101)),
        "INSERT INTO marks SELECT id, id FROM notes WHERE id <= 10",
    )
    yield found
    for database in found.opened:
        await database.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def writing(place: Place) -> AsyncIterator[list[int]]:
    """Two sessions insert, update and delete all the time; the list holds the acknowledged inserts."""
    acknowledged: list[int] = []
    stop = Event()

    def write(first: int) -> None:
        session = place.server.connect(place.name, "app")
        try:
            with session.cursor() as cursor:
                number = first
                while not stop.is_set():
                    cursor.execute(f"INSERT INTO notes VALUES ({number}, 'new', '{'x' * 200}')".encode())
                    cursor.execute(
                        f"UPDATE notes SET more = 'changed {number}' WHERE id % 7 = {number % 7}".encode()
                    )
                    cursor.execute(f"DELETE FROM notes WHERE id = {number - 50} AND id > 1000".encode())
                    acknowledged.append(number)
                    number += 1
        finally:
            session.close()

    threads = [Thread(target=write, args=(first,)) for first in (10_000, 20_000)]
    for thread in threads:
        thread.start()
    try:
        await until(lambda: len(acknowledged) > 20)
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)


# Snapshots


async def test_a_snapshot_taken_while_others_write_is_verified(place: Place) -> None:
    """What the manifest says is what is in the dump, row for row, however much is written meanwhile."""
    database = place.open()
    async with writing(place) as acknowledged:
        before = len(acknowledged)
        taken = await database.snapshot("before")
        await until(lambda: len(acknowledged) > before)
    assert taken.rows
    assert not taken.verified
    verified = await database.verify_snapshot("before")
    assert verified == msgspec.structs.replace(taken, verified=True)
    assert await database.find_snapshot("before") == verified


@everywhere
async def test_a_snapshot_says_what_is_in_it(place: Place) -> None:
    """Rows by table; and the same data has the same fingerprint, other data another."""
    database = place.open()
    taken = await database.snapshot("before")
    rows = {name.removeprefix("public."): count for name, count in taken.rows.items()}
    assert rows == {"notes": 100, "marks": 10}
    assert not taken.verified
    again = await database.snapshot("again")
    assert again.fingerprint == taken.fingerprint
    place.run("DELETE FROM marks")
    changed = await database.snapshot("changed")
    assert changed.fingerprint != taken.fingerprint


async def test_a_snapshot_is_a_dump_of_that_size(place: Place) -> None:
    """Where it says that it is; a row that has changed and not gone shows in the fingerprint alone."""
    database = place.open()
    taken = await database.snapshot("before")
    assert taken.path == str(place.dump)
    assert taken.size == place.dump.stat().st_size
    place.run("UPDATE notes SET word = 'other' WHERE id = 7")
    changed = await database.snapshot("changed")
    assert changed.rows == taken.rows
    assert changed.fingerprint != taken.fingerprint


@everywhere
async def test_a_snapshot_is_found_until_it_is_dropped(place: Place) -> None:
    """As it is, verified or not; dropped it is gone, and dropping it again is no error."""
    database = place.open()
    assert await database.find_snapshot("before") is None
    taken = await database.snapshot("before")
    assert await database.find_snapshot("before") == taken
    verified = await database.verify_snapshot("before")
    assert verified == msgspec.structs.replace(taken, verified=True)
    assert await place.open().find_snapshot("before") == verified
    for _ in range(2):
        await database.drop_snapshot("before")
        assert await database.find_snapshot("before") is None
    for missing in (database.verify_snapshot, database.restore):
        with pytest.raises(DatabaseError, match="no finished snapshot"):
            await missing("before")


@everywhere
async def test_a_finished_snapshot_is_not_taken_again(place: Place) -> None:
    """A resumed run gets the snapshot that is there, not one of the changed database."""
    database = place.open()
    taken = await database.snapshot("before")
    place.run("DELETE FROM marks")
    assert await database.snapshot("before") == taken


async def test_verifying_leaves_no_scratch_database(place: Place) -> None:
    """Not after success, and one that a crash has left does not stand in the way."""
    databases = place.server.databases()
    if isinstance(place.server, Postgres):
        place.server.run("postgres", f"CREATE DATABASE changeover_verify_{place.name}", user="conductor")
    else:
        place.server.run("", f"CREATE DATABASE changeover_verify_{place.name}", user="conductor")
    database = place.open()
    await database.snapshot("before")
    await database.verify_snapshot("before")
    assert place.server.databases() == databases


async def test_a_row_that_differs_is_found(place: Place) -> None:
    """A manifest of other contents than the dump's is refused with the table's name, and nothing is marked."""
    database = place.open()
    await database.snapshot("before")
    place.run("UPDATE notes SET word = 'other' WHERE id = 7")
    await database.snapshot("after")
    other = place.directory / "main" / "after"
    manifest = msgspec.json.decode(place.manifest.read_bytes())
    fresh = msgspec.json.decode((other / "manifest.json").read_bytes())
    manifest["snapshot"]["sha256"], manifest["snapshot"]["size"] = (
        fresh["snapshot"]["sha256"],
        fresh["snapshot"]["size"],
    )
    place.manifest.write_bytes(msgspec.json.encode(manifest))
    place.dump.write_bytes((other / "dump").read_bytes())
    with pytest.raises(DatabaseError, match=r"table \S*notes has other rows"):
        await database.verify_snapshot("before")
    found = await database.find_snapshot("before")
    assert found
    assert not found.verified
    assert not {name for name in place.server.databases() if name.startswith("changeover_")}


@pytest.mark.parametrize("damage", ["flipped", "shorter", "manifest", "edited"])
async def test_a_damaged_snapshot_is_refused(place: Place, damage: str) -> None:
    """A dump or a manifest that is not what was written is never verified and never restored."""
    database = place.open()
    await database.snapshot("before")
    await database.verify_snapshot("before")
    content = place.dump.read_bytes()
    if damage == "flipped":
        place.dump.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "shorter":
        place.dump.write_bytes(content[:-1])
    elif damage == "manifest":
        place.manifest.write_bytes(place.manifest.read_bytes()[:-20])
    else:
        place.manifest.write_bytes(place.manifest.read_bytes().replace(b'"rows": 100', b'"rows": 99'))
    with pytest.raises(DatabaseError, match="damaged"):
        await database.verify_snapshot("before")
    with pytest.raises(DatabaseError, match="damaged"):
        await database.restore("before")
    assert len(place.notes()) == 100


async def test_a_snapshot_cut_short_does_not_count(place: Place) -> None:
    """The dump's process is killed: an error, no snapshot, nothing left, and the next try succeeds."""
    taking = asyncio.create_task(place.open(options=place.stopping_tools()).snapshot("before"))
    os.kill(await place.stopped_tool(), SIGKILL)
    with pytest.raises(DatabaseError, match="dump failed on db1 with status 137"):
        await taking
    database = place.open()
    assert await database.find_snapshot("before") is None
    assert list((place.directory / "main").iterdir()) == []
    await database.snapshot("before")
    await database.verify_snapshot("before")


async def test_a_conductor_that_dies_leaves_nothing_that_counts(place: Place) -> None:
    """A snapshot cancelled half-way is none for the next conductor, whose own one replaces it."""
    taking = asyncio.create_task(place.open(options=place.stopping_tools()).snapshot("before"))
    await place.stopped_tool()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert list((place.directory / "main").iterdir()) != []
    successor = place.open()
    assert await successor.find_snapshot("before") is None
    await successor.drop_snapshot("before")
    assert list((place.directory / "main").iterdir()) == []
    assert (await successor.snapshot("before")).rows


async def test_the_session_lost_during_a_snapshot_is_an_error(place: Place) -> None:
    """Whoever ends our session, no half snapshot counts."""
    taking = asyncio.create_task(place.open(options=place.stopping_tools()).snapshot("before"))
    tool = await place.stopped_tool()
    for session in await asyncio.to_thread(place.server.sessions, place.name):
        await asyncio.to_thread(place.server.end, session)
    os.kill(tool, SIGCONT)
    with pytest.raises(DatabaseError):
        await taking
    assert await place.open().find_snapshot("before") is None


async def test_a_full_disk_is_said_and_leaves_nothing(place: Place, small_disk: Path) -> None:
    """The tool's own words, no snapshot, and the room it took is free again."""
    place.directory = small_disk
    place.run("UPDATE notes SET more = repeat(md5(random()::text), 3000)" if isinstance(place.server, Postgres)
              else "UPDATE notes SET more = repeat(md5(rand()), 1500)")  # fmt: skip
    database = place.open(options={"compress": 0} if isinstance(place.server, Postgres) else {})
    with pytest.raises(DatabaseError, match="dump failed on db1 with status") as refused:
        await database.snapshot("before")
    assert "make room" in refused.value.hint
    assert await database.find_snapshot("before") is None
    assert list((small_disk / "main").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(directory)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


@everywhere
@pytest.mark.parametrize("label", ["../up", "", "a b", "a;b", ".hidden", "x.draft,1"])
async def test_a_label_that_is_no_plain_name_is_refused(place: Place, label: str) -> None:
    """A label becomes a directory's name, so it is letters, digits and little else."""
    with pytest.raises(DatabaseError, match="label"):
        await place.open().snapshot(label)


# Restoring


async def test_a_restore_brings_back_the_old_rows_and_drops_later_ones(place: Place) -> None:
    """With other clients connected and writing: exactly the snapshot's rows, tables and ledger are there after."""
    database = place.open()
    await database.migrate(SqlMigration("001", "CREATE TABLE early (id integer)", "c1"), lock_timeout=5)
    await database.snapshot("before")
    await database.verify_snapshot("before")
    await database.migrate(SqlMigration("002", "CREATE TABLE late (id integer)", "c2"), lock_timeout=5)
    place.run(
        "DELETE FROM notes WHERE id > 50", "INSERT INTO notes VALUES (500, 'later', NULL)", "DROP VIEW words"
    )
    with place.open_transaction():
        await database.restore("before")
    assert place.notes() == list(range(1, 101))
    assert [entry.name for entry in await database.ledger()] == ["001"]
    assert len(place.run("SELECT * FROM words")) == 100
    with pytest.raises(Exception, match="late"):
        place.run("SELECT * FROM late")
    assert not {name for name in place.server.databases() if name.startswith("changeover_")}
    place.run("INSERT INTO notes VALUES (501, 'after', NULL)", "INSERT INTO marks VALUES (501, 501)")
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        place.run("INSERT INTO marks VALUES (502, 502)")


@everywhere
async def test_a_restore_takes_rows_and_ledger_back(place: Place) -> None:
    """To what they were when the snapshot was taken."""
    database = place.open()
    await database.migrate(SqlMigration("001", "CREATE TABLE early (id integer)", "c1"), lock_timeout=5)
    await database.snapshot("before")
    await database.verify_snapshot("before")
    await database.migrate(SqlMigration("002", "CREATE TABLE late (id integer)", "c2"), lock_timeout=5)
    place.run("DELETE FROM marks", "DELETE FROM notes")
    await database.restore("before")
    assert place.notes() == list(range(1, 101))
    assert len(place.run("SELECT * FROM marks")) == 10
    assert [entry.name for entry in await database.ledger()] == ["001"]


@everywhere
async def test_a_restore_can_be_repeated(place: Place) -> None:
    """A resumed run restores again and comes to the same."""
    database = place.open()
    await database.snapshot("before")
    await database.verify_snapshot("before")
    await database.restore("before")
    place.run("DELETE FROM marks")
    await database.restore("before")
    assert len(place.run("SELECT * FROM marks")) == 10


@everywhere
async def test_a_snapshot_that_is_not_verified_is_not_restored(place: Place) -> None:
    """The database is not touched."""
    database = place.open()
    await database.snapshot("before")
    place.run("DELETE FROM marks")
    with pytest.raises(DatabaseError, match="not verified"):
        await database.restore("before")
    assert place.run("SELECT * FROM marks") == []


async def test_a_restore_that_fails_leaves_the_old_database_open(place: Place) -> None:
    """The tool fails before the exchange: what was there is there, and can be written."""
    database = place.open()
    await database.snapshot("before")
    await database.verify_snapshot("before")
    place.run("DELETE FROM marks")
    broken = place.open(options={"bin": "/nonexistent"})
    with pytest.raises(DatabaseError, match="not found"):
        await broken.restore("before")
    assert place.run("SELECT * FROM marks") == []
    place.run("INSERT INTO marks VALUES (1, 1)")
    assert not {name for name in place.server.databases() if name.startswith("changeover_")}


# Migrations

ADD = SqlMigration(
    "003_kind",
    "-- adds two columns\nALTER TABLE notes ADD kind text;\n\nALTER TABLE notes ADD rank integer;\n",
    "c3",
    down="ALTER TABLE notes DROP rank; ALTER TABLE notes DROP kind",
)


def columns(place: Place) -> set[str]:
    """Those of the table `notes`."""
    schema = "current_schema()" if isinstance(place.server, Postgres) else "database()"
    query = f"SELECT column_name FROM information_schema.columns WHERE table_name = 'notes' AND table_schema = {schema}"
    return {name for (name,) in place.run(query)}


@everywhere
async def test_a_migration_goes_in_once_and_out_again(place: Place) -> None:
    """Applied with its entry, not applied twice, reverted with its entry, not reverted twice."""
    database = place.open()
    assert await database.ledger() == ()
    assert "applied" in await database.migrate(ADD, lock_timeout=5)
    (entry,) = await database.ledger()
    assert (entry.name, entry.checksum) == ("003_kind", "c3")
    assert 0 < entry.started_at <= entry.finished_at
    assert "already applied" in await database.migrate(ADD, lock_timeout=5)
    await database.revert(ADD, lock_timeout=5)
    assert await database.ledger() == ()
    assert "not in the ledger" in await database.revert(ADD, lock_timeout=5)


async def test_the_text_of_a_migration_is_executed(place: Place) -> None:
    """Every statement of it, and of its way back."""
    database = place.open()
    assert "2 statements applied" in await database.migrate(ADD, lock_timeout=5)
    assert {"kind", "rank"} <= columns(place)
    await database.revert(ADD, lock_timeout=5)
    assert not {"kind", "rank"} & columns(place)


@everywhere
async def test_another_text_under_the_same_name_is_refused(place: Place) -> None:
    """What is in the database is not what the file says now."""
    database = place.open()
    await database.migrate(ADD, lock_timeout=5)
    with pytest.raises(DatabaseError, match="another text"):
        await database.migrate(msgspec.structs.replace(ADD, checksum="c4"), lock_timeout=5)


@everywhere
@pytest.mark.parametrize("sql", ["", "  \n", "-- nothing\n/* at\n all */ ;;\n"])
async def test_an_empty_file_is_refused(place: Place, sql: str) -> None:
    """It is a mistake, and no entry is written for it."""
    database = place.open()
    with pytest.raises(DatabaseError, match="no statement"):
        await database.migrate(SqlMigration("004", sql, "c"), lock_timeout=5)
    assert await database.ledger() == ()


@everywhere
async def test_a_migration_without_down_is_not_reverted(place: Place) -> None:
    """The way back is the snapshot then."""
    database = place.open()
    migration = SqlMigration("005", "CREATE TABLE t (id integer)", "c")
    await database.migrate(migration, lock_timeout=5)
    with pytest.raises(DatabaseError, match=r"no `down`"):
        await database.revert(migration, lock_timeout=5)
    assert len(await database.ledger()) == 1


async def test_a_failing_statement_is_named_by_its_line(place: Place) -> None:
    """File, line and the server's words; on PostgreSQL nothing is changed, on MariaDB the entry stays begun."""
    database = place.open()
    migration = SqlMigration(
        "006_bad", "CREATE TABLE one (id integer);\n\n-- next\nINSERT INTO one\nVALUES ('x', 2);\n", "c"
    )
    with pytest.raises(DatabaseError, match=r"006_bad, line [45]: ") as failed:
        await database.migrate(migration, lock_timeout=5)
    assert not isinstance(failed.value, LockTimeoutError)
    ledger = await database.ledger()
    if isinstance(place.server, Postgres):
        assert ledger == ()
        with pytest.raises(Exception, match="one"):
            place.run("SELECT * FROM one")
        return
    assert [(entry.name, entry.finished_at) for entry in ledger] == [("006_bad", 0)]
    with pytest.raises(DatabaseError, match=r"begun at .* has not been finished"):
        await database.migrate(migration, lock_timeout=5)
    await database.forget("006_bad")
    assert await database.ledger() == ()


@everywhere
async def test_only_an_unfinished_migration_can_be_forgotten(place: Place) -> None:
    """One that is finished, or was never there, is no matter of forgetting."""
    database = place.open()
    await database.migrate(ADD, lock_timeout=5)
    for name in (ADD.name, "nobody"):
        with pytest.raises(DatabaseError, match="no unfinished migration"):
            await database.forget(name)
    assert len(await database.ledger()) == 1


@everywhere
async def test_a_lock_that_is_not_to_be_had_changes_nothing(place: Place) -> None:
    """The error says so and who is in the way; once the way is free it goes in."""
    database = place.open()
    alter = SqlMigration("007", "ALTER TABLE notes ADD kind text", "c")
    with place.open_transaction() as session:
        with pytest.raises(LockTimeoutError, match=rf"no lock within 1 s.* {session} \("):
            await database.migrate(alter, lock_timeout=1)
        assert await database.ledger() == ()
    assert "applied" in await database.migrate(alter, lock_timeout=5)


async def test_a_long_transaction_makes_the_migration_give_up(place: Place) -> None:
    """It names who blocks, changes nothing, lets the others through, and goes in once the way is free."""
    database = place.open()
    alter = SqlMigration("007", "ALTER TABLE notes ADD kind text", "c")
    with place.open_transaction() as session:
        migrating = asyncio.create_task(database.migrate(alter, lock_timeout=1))
        await until(
            lambda: any("ALTER TABLE notes" in text for text in place.server.sessions(place.name).values())
        )
        # Queued behind the waiting ALTER; it returns because that one gives up, for the transaction stays open.
        queued = asyncio.create_task(
            asyncio.to_thread(place.run, "INSERT INTO notes VALUES (600, 'queued', NULL)")
        )
        with pytest.raises(LockTimeoutError, match=rf"no lock within 1 s.* {session} \(") as refused:
            await migrating
        await queued
        assert "count(*)" not in str(refused.value)
        assert "kind" not in columns(place)
        assert await database.ledger() == ()
    await database.migrate(alter, lock_timeout=5)
    assert "kind" in columns(place)


async def test_the_server_process_lost_in_a_migration(place: Place) -> None:
    """On PostgreSQL nothing of it is there; on MariaDB the entry says that it was begun."""
    database = place.open()
    migration = SqlMigration("008", _sleeping(place), "c")
    migrating = asyncio.create_task(database.migrate(migration, lock_timeout=5))
    sleeping: list[int] = []

    def found() -> bool:
        sleeping[:] = [n for n, text in place.server.sessions(place.name).items() if "sleep(600)" in text]
        return bool(sleeping)

    await until(found)
    place.server.end(sleeping[0])
    with pytest.raises(DatabaseError, match="008, line 2"):
        await migrating
    ledger = await database.ledger()
    if isinstance(place.server, Postgres):
        assert ledger == ()
    else:
        assert [(entry.name, entry.finished_at) for entry in ledger] == [("008", 0)]


@everywhere
async def test_two_conductors_apply_a_migration_once(place: Place) -> None:
    """The entry's name is unique: at most one of them runs the file."""
    migration = SqlMigration("009", "INSERT INTO notes VALUES (700, 'once', NULL)", "c")
    outcomes = await asyncio.gather(
        *(place.open().migrate(migration, lock_timeout=5) for _ in range(2)), return_exceptions=True
    )
    assert any(isinstance(outcome, str) for outcome in outcomes)
    assert all(isinstance(outcome, str | DatabaseError) for outcome in outcomes)
    assert [entry.name for entry in await place.open().ledger()] == ["009"]
    assert place.notes().count(700) == place.executes


# A server that falls silent

SILENCE = 3.0
BOUND = 4 * SILENCE
"""What docs/databases.md states for a whole call, with all that it has to clean up."""


async def test_every_call_comes_back_from_a_server_that_is_frozen(place: Place) -> None:
    """With an error that says so, within the stated time; thawed, the server is asked anew and all is as it was."""

    def opened() -> Database:
        return place.open(options={"silence": SILENCE})

    database, kept = opened(), opened()
    await database.migrate(ADD, lock_timeout=5)
    await database.snapshot("before")
    await database.verify_snapshot("before")
    assert await kept.query("SELECT 1") == [(1,)]
    calls: list[Callable[[], Awaitable[object]]] = [
        opened().facts,
        opened().ledger,
        kept.ledger,
        lambda: kept.query("SELECT 1"),
        lambda: opened().snapshot("frozen"),
        lambda: opened().verify_snapshot("before"),
        lambda: opened().drop_snapshot("other"),
        lambda: opened().restore("before"),
        lambda: opened().migrate(SqlMigration("015", "CREATE TABLE t (id integer)", "c"), lock_timeout=5),
        lambda: opened().revert(ADD, lock_timeout=5),
        lambda: opened().forget("nobody"),
    ]
    with frozen(place.server):
        async with asyncio.timeout(BOUND):
            outcomes = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DatabaseError] * len(calls)
    assert all("no answer within 1 s" in str(outcome) for outcome in outcomes)
    assert [entry.name for entry in await kept.ledger()] == [ADD.name]
    assert len(place.notes()) == 100
    assert await database.find_snapshot("frozen") is None


async def test_a_server_that_freezes_under_a_statement(place: Place) -> None:
    """The migration ends with what is known of it, within the stated time."""
    database = place.open(options={"silence": SILENCE})
    sleeping = asyncio.create_task(
        database.migrate(SqlMigration("016", _sleeping(place), "c"), lock_timeout=5)
    )
    await until(lambda: any("sleep(600)" in text for text in place.server.sessions(place.name).values()))
    with frozen(place.server), pytest.raises(DatabaseError, match=r"016, line 2: .* not answered for 3 s"):
        async with asyncio.timeout(BOUND):
            await sleeping
    entries = [(entry.name, entry.finished_at) for entry in await place.open().ledger()]
    assert entries == ([] if isinstance(place.server, Postgres) else [("016", 0)])


async def test_a_server_that_thaws_in_time_goes_on(place: Place) -> None:
    """A silence shorter than declared is waited out, and the statement comes to its end."""
    database = place.open(options={"silence": PATIENCE})
    pause = "pg_sleep(1)" if isinstance(place.server, Postgres) else "sleep(1)"
    asking = asyncio.create_task(database.query(f"SELECT 7 FROM (SELECT {pause}) t"))
    await until(lambda: any("sleep(1)" in text for text in place.server.sessions(place.name).values()))
    with frozen(place.server):
        asleep = asyncio.create_task(database.facts())
        await asyncio.wait({asleep}, timeout=2)
        assert not asleep.done()
    assert await asking == [(7,)]
    assert (await asleep).size > 0


async def test_cancelling_comes_back_from_a_server_that_is_frozen(place: Place) -> None:
    """Nobody is left to be told, and that is not waited for."""
    database = place.open(options={"silence": SILENCE})
    sleeping = asyncio.create_task(
        database.migrate(SqlMigration("017", _sleeping(place), "c"), lock_timeout=5)
    )
    await until(lambda: any("sleep(600)" in text for text in place.server.sessions(place.name).values()))
    with frozen(place.server):
        sleeping.cancel()
        async with asyncio.timeout(BOUND):
            with pytest.raises(asyncio.CancelledError):
                await sleeping


async def test_a_dump_from_a_server_that_froze_is_ended(place: Place) -> None:
    """The tool would wait for ever; the snapshot is an error, and its process is gone."""
    taking = asyncio.create_task(
        place.open(options={**place.stopping_tools(), "silence": SILENCE}).snapshot("before")
    )
    tool = await place.stopped_tool()
    with frozen(place.server), pytest.raises(DatabaseError, match=r"not answered|no answer"):
        async with asyncio.timeout(BOUND):
            await taking
    await until(lambda: not Path(f"/proc/{tool}").exists())
    assert await place.open().find_snapshot("before") is None


def _sleeping(place: Place) -> str:
    pause = "SELECT pg_sleep(600)" if isinstance(place.server, Postgres) else "DO sleep(600)"
    return f"CREATE TABLE half (id integer);\n{pause};\n"


# What only PostgreSQL has


@only_postgres
async def test_a_transaction_of_its_own_is_refused(place: Place) -> None:
    """COMMIT in the file would part the migration from its entry."""
    database = place.open()
    with pytest.raises(DatabaseError, match="010, line 2: COMMIT is not allowed"):
        await database.migrate(SqlMigration("010", "CREATE TABLE t (id int);\nCOMMIT;", "c"), lock_timeout=5)


@only_postgres
async def test_an_index_built_without_a_transaction(place: Place) -> None:
    """CREATE INDEX CONCURRENTLY works, and its way back too."""
    database = place.open()
    migration = SqlMigration(
        "011",
        "-- changeover: no-transaction\nCREATE INDEX CONCURRENTLY by_word ON notes (word);",
        "c",
        transactional=False,
        down="DROP INDEX CONCURRENTLY by_word",
    )
    assert "1 statement applied" in await database.migrate(migration, lock_timeout=5)
    assert [bool(entry.finished_at) for entry in await database.ledger()] == [True]
    await database.revert(migration, lock_timeout=5)
    assert await database.ledger() == ()


@only_postgres
async def test_an_invalid_index_left_behind_is_described(place: Place) -> None:
    """The entry stays begun, the error names the index and what to do, and that works."""
    database = place.open()
    place.run("UPDATE notes SET word = 'same' WHERE id < 3")
    migration = SqlMigration(
        "012", "CREATE UNIQUE INDEX CONCURRENTLY one_word ON notes (word);", "c", transactional=False
    )
    with pytest.raises(DatabaseError, match="INVALID index one_word was left") as failed:
        await database.migrate(migration, lock_timeout=5)
    assert not isinstance(failed.value, LockTimeoutError)
    assert [entry.finished_at for entry in await database.ledger()] == [0]
    place.run("DROP INDEX CONCURRENTLY one_word", "UPDATE notes SET word = 'first' WHERE id = 1")
    await database.forget("012")
    await database.migrate(migration, lock_timeout=5)


@only_postgres
async def test_a_statement_alone_that_changes_nothing_leaves_no_entry(place: Place) -> None:
    """A single statement happens or not; a wrong one needs no person to set things right."""
    database = place.open()
    migration = SqlMigration(
        "013", "CREATE INDEX CONCURRENTLY i ON nothing_there (x)", "c", transactional=False
    )
    with pytest.raises(DatabaseError, match="nothing was changed"):
        await database.migrate(migration, lock_timeout=5)
    assert await database.ledger() == ()


@only_postgres
async def test_a_restore_keeps_what_belongs_to_the_database_itself(place: Place) -> None:
    """Owner, rights, settings, connection limit and comment, and the owners of what is in it."""
    name = place.name
    place.run(
        f"ALTER DATABASE {name} SET search_path = \"$user\", public, 'odd name'",
        f"ALTER DATABASE {name} SET work_mem = '7MB'",
        f"ALTER DATABASE {name} CONNECTION LIMIT 33",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO powerless",
        f"COMMENT ON DATABASE {name} IS 'ours'",
        "GRANT SELECT ON notes TO powerless",
    )
    query = f"""
        SELECT pg_get_userbyid(datdba), (SELECT array_agg(a::text ORDER BY 1) FROM unnest(datacl) a), datconnlimit,
            datallowconn, datcollate, shobj_description(oid, 'pg_database'),
            (SELECT array_agg(c ORDER BY c) FROM pg_db_role_setting, unnest(setconfig) c WHERE setdatabase = d.oid),
            (SELECT array_agg(relname || relowner::text || relacl::text ORDER BY 1) FROM pg_class WHERE relname = 'notes')
        FROM pg_database d WHERE datname = '{name}'
    """
    before = place.run(query)
    database = place.open()
    await database.snapshot("before")
    await database.verify_snapshot("before")
    await database.restore("before")
    assert place.run(query) == before


@only_postgres
@pytest.mark.parametrize("granted", [False, True])
async def test_a_setting_that_only_a_superuser_may_set(place: Place, granted: bool) -> None:
    """The snapshot is verified and restored in any case; the setting comes back if we may set it, and else is asked for."""
    name = place.name
    place.server.run(
        "postgres",
        f"ALTER DATABASE {name} SET log_lock_waits = on",
        f"ALTER DATABASE {name} SET work_mem = '7MB'",
        f"{'GRANT' if granted else 'REVOKE'} SET ON PARAMETER log_lock_waits {'TO' if granted else 'FROM'} conductor",
        user="postgres",
    )
    database = place.open()
    missing = (await database.facts()).missing_privileges
    wanted = "to restore the setting log_lock_waits of the database: GRANT SET ON PARAMETER log_lock_waits TO conductor"
    assert missing == (() if granted else (wanted,))
    await database.snapshot("before")
    await database.verify_snapshot("before")
    await database.restore("before")
    settings = place.run(
        "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
        f"WHERE datname = '{name}' ORDER BY 1"
    )
    assert settings == [("log_lock_waits=on",), ("work_mem=7MB",)][0 if granted else 1 :]


@only_postgres
async def test_a_restore_that_died_is_completed_by_the_next(place: Place) -> None:
    """The database was left closed, which is said; restoring again opens it with the snapshot's rows."""
    database = place.open()
    await database.snapshot("before")
    await database.verify_snapshot("before")
    place.run("DELETE FROM marks")
    await database.close()
    name = place.name
    place.server.run(
        "postgres",
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"CREATE DATABASE changeover_restore_{name}",
        f"CREATE DATABASE changeover_old_{name}",
        user="conductor",
    )
    with pytest.raises(DatabaseError, match="not currently accepting connections") as closed:
        await database.ledger()
    assert "run the restore again" in closed.value.hint
    await database.restore("before")
    assert len(place.run("SELECT * FROM marks")) == 10
    assert not {found for found in place.server.databases() if found.startswith("changeover_")}


# What only MariaDB has


PROGRAMS = """
DELIMITER //
CREATE TRIGGER {name}.counted AFTER INSERT ON notes FOR EACH ROW BEGIN
    INSERT INTO counts (note) VALUES (new.id);
END//
CREATE PROCEDURE twice(IN n int) BEGIN SELECT n; SELECT 2 * n; END//
DELIMITER ;
CREATE VIEW of_words AS SELECT word FROM words;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' DO DELETE FROM counts;
"""


@only_mariadb
async def test_triggers_routines_views_and_events_come_back(place: Place) -> None:
    """As they were, a trigger created with its database's name too, which never reaches the live database's."""
    database = place.open()
    place.run("CREATE TABLE counts (id integer AUTO_INCREMENT PRIMARY KEY, note integer)")
    await place.open(user="app").migrate(
        SqlMigration("programs", PROGRAMS.format(name=place.name), "c"), lock_timeout=5
    )
    shown = ("SHOW CREATE TRIGGER counted", "SHOW CREATE PROCEDURE twice", "SHOW CREATE EVENT nightly")
    before = [place.run(show)[0][:4] for show in shown]
    await database.snapshot("before")
    await database.verify_snapshot("before")
    place.run("DROP TRIGGER counted", "DROP VIEW of_words", "DROP EVENT nightly", "DROP PROCEDURE twice")
    await database.verify_snapshot("before")
    assert place.run("SHOW TRIGGERS") == []
    await database.restore("before")
    after = [place.run(show)[0][:4] for show in shown]
    assert [row[0] for row in after] == [row[0] for row in before]
    assert after[1:] == before[1:]
    place.run("INSERT INTO notes VALUES (900, 'counted', NULL)")
    assert place.run("SELECT note FROM counts") == [(900,)]
    assert len(place.run("SELECT * FROM of_words")) == 101


@only_mariadb
async def test_a_restore_that_died_after_the_exchange_is_not_done(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables and the ledger are the snapshot's, programs are missing: that is seen, and the next one brings them."""
    world = replace(SimulatedSite(a_site(1), "v1").world, databases={"main": place.open()})
    context = Context(
        world, rolling(a_site(1), a_release(keep_serving=0), Facts()), "run", "step", 1, 0.0, 60.0
    )
    ports = world.databases["main"]
    place.run("CREATE TRIGGER lower BEFORE INSERT ON notes FOR EACH ROW SET new.word = lower(new.word)")
    label = snapshot_label("before", context.run)
    await ports.snapshot(label)
    await ports.verify_snapshot(label)
    late = SqlMigration("002", "CREATE TABLE late (id integer)", "c2")
    await ports.migrate(late, lock_timeout=5)
    migrating = {"migration": msgspec.to_builtins(late), "lock_timeout": 5}
    replaced = {"action": "database.migrate", "target": "main", "params": migrating}
    operation = Operation("database.restore", "main", {"label": "before", "instead_of": [replaced]})
    create = programs.create

    async def die(session: Session, found: tuple[Program, ...], *, scratch: bool = False) -> None:
        if not scratch:
            raise DatabaseError("killed")
        await create(session, found, scratch=True)

    with monkeypatch.context() as dying:
        dying.setattr(programs, "create", die)
        with pytest.raises(DatabaseError, match="killed"):
            await Restore().perform(operation, context)
    assert [(entry.name, entry.finished_at) for entry in await ports.ledger()] == [(restoring(label), 0)]
    assert place.run("SHOW TRIGGERS") == []
    seen = await Restore().observe(operation, context)
    assert (seen.presence, seen.evidence) == (
        Presence.ABSENT,
        "the restore was begun and not finished: a part of it is there",
    )
    assert (await unfinished_migrations(ports)).outcome is Outcome.BAD
    await Restore().perform(operation, context)
    assert (await Restore().observe(operation, context)).presence is Presence.DONE
    assert [row[0] for row in place.run("SHOW TRIGGERS")] == ["lower"]
    assert len(place.run("SELECT * FROM words")) == 100
    assert {name for (name,) in place.run("SHOW TABLES")} == {"marks", "notes", "tickets", "words"}


@only_mariadb
async def test_a_table_that_no_transaction_covers_is_refused(place: Place) -> None:
    """A snapshot of it could not be consistent."""
    place.run("CREATE TABLE loose (id integer) ENGINE = MyISAM")
    with pytest.raises(DatabaseError, match=r"loose \(MyISAM\)"):
        await place.open().snapshot("before")


@only_mariadb
async def test_a_long_query_does_not_hold_up_a_snapshot(place: Place) -> None:
    """The lock that aligns dump and comparison waits for no query that is running."""
    session = place.server.connect(place.name, "app")
    cursor = session.cursor()
    running = asyncio.create_task(
        asyncio.to_thread(cursor.execute, "SELECT sleep(600) FROM notes WHERE id = 1")
    )
    await until(lambda: any("sleep(600)" in text for text in place.server.sessions(place.name).values()))
    await place.open().snapshot("before")
    assert not running.done()
    await asyncio.to_thread(place.server.end, place.server.number(session))
    with pytest.raises(Exception, match="(?i)lost connection|killed|gone away"):  # noqa: RUF043
        await running


@only_mariadb
async def test_the_statements_before_a_failure_are_counted(place: Place) -> None:
    """They are in effect, which the error says, with what to do."""
    database = place.open()
    migration = SqlMigration(
        "014", "CREATE TABLE one (id integer);\nALTER TABLE nothing_there ADD x integer;", "c"
    )
    with pytest.raises(DatabaseError, match="014, line 2: .*; statements before it that were executed: 1"):  # noqa: RUF043
        await database.migrate(migration, lock_timeout=5)
    assert place.run("SELECT * FROM one") == []


# Connections, facts


async def test_facts_name_version_size_clock_and_directory(place: Place) -> None:
    """A conductor that was granted what is asked for misses nothing; one who may not know the directory is not told."""
    facts = await place.open().facts()
    assert facts.version.split()[0] == {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}[place.server.driver]
    assert facts.size > 0
    assert abs(facts.now - time.time()) < 60
    assert facts.missing_privileges == ()
    server = place.server
    ours = server.server.directory if isinstance(server, Postgres) else server.directory
    assert Path(facts.directory) == ours / "data"
    if isinstance(server, Postgres):
        assert (await place.open(user="powerless").facts()).directory == ""


async def test_missing_rights_are_said_as_statements(place: Place) -> None:
    """Each is something a person can run."""
    if isinstance(place.server, MariaDB):
        place.server.run("", f"GRANT SELECT ON {place.name}.marks TO powerless@'%'", user="root")
    facts = await place.open(user="powerless").facts()
    wanted = (
        ["ALTER ROLE powerless CREATEDB", "GRANT app TO powerless", "GRANT pg_read_all_data TO powerless",
         "GRANT pg_signal_backend TO powerless", "GRANT CREATE ON SCHEMA public TO powerless"]
        if isinstance(place.server, Postgres)
        else ["GRANT RELOAD ON *.* TO 'powerless'@'%'", "GRANT CONNECTION ADMIN ON *.* TO 'powerless'@'%'",
              r"GRANT ALL ON `changeover\_%`.* TO 'powerless'@'%'"]
    )  # fmt: skip
    for statement in wanted:
        assert any(statement in line for line in facts.missing_privileges), (
            statement,
            facts.missing_privileges,
        )


async def test_a_lost_connection_is_opened_again(place: Place) -> None:
    """The next question after the session was ended is answered."""
    database = place.open()
    own = "SELECT pg_backend_pid()" if isinstance(place.server, Postgres) else "SELECT connection_id()"
    ((first,),) = await database.query(own)
    await asyncio.to_thread(place.server.end, first)
    ((second,),) = await database.query(own)
    assert second != first


@pytest.mark.parametrize("way", ["tunnel", "socket"])
async def test_other_ways_to_the_server(place: Place, way: str) -> None:
    """Through the host, to the database's own loopback, and through a unix socket; for us and for the tools."""
    if way == "tunnel":
        database = place.open(address="", tunnel=True)
    elif isinstance(place.server, Postgres):
        database = place.open(address=str(place.server.server.directory))
    else:
        database = place.open(address=f"{place.server.directory}/socket")
    assert await database.query("SELECT count(*) FROM notes") == [(100,)]
    await database.snapshot("before")
    assert (await database.verify_snapshot("before")).verified


async def test_a_database_without_an_address_is_refused(place: Place) -> None:
    """Our own loopback would be a guess, and maybe another database."""
    with pytest.raises(DatabaseError, match="has no address"):
        await place.open(address="").facts()


async def test_questions_asked_at_once_are_all_answered(place: Place) -> None:
    """They share the kept connection, one after the other."""
    database = place.open()
    answers = await asyncio.gather(*(database.query(f"SELECT {number}") for number in range(20)))
    assert answers == [[(number,)] for number in range(20)]


async def test_a_query_that_fails_is_an_error_and_the_next_one_works(place: Place) -> None:
    """A wrong statement does not cost the connection."""
    database = place.open()
    with pytest.raises(DatabaseError, match="nothing_there"):
        await database.query("SELECT * FROM nothing_there")
    assert await database.query("SELECT count(*) FROM notes") == [(100,)]
    assert await database.query("DELETE FROM marks") == []


@pytest.mark.parametrize("trouble", ["port", "user", "database"])
async def test_a_refused_connection_says_where_and_as_whom(place: Place, trouble: str) -> None:
    """Address, port, user, and what to do; never the password."""
    changes: dict[str, Any] = {
        "port": {"port": 1},
        "user": {"user": "stranger"},
        "database": {"database": "nowhere"},
    }
    database = place.open(**changes[trouble])
    with pytest.raises(DatabaseError) as refused:
        await database.facts()
    words = str(refused.value)
    assert f"127.0.0.1:{1 if trouble == 'port' else place.server.port}" in words
    assert ("stranger" if trouble == "user" else "conductor") in words
    assert refused.value.hint
    assert CANARY not in words + refused.value.hint


async def test_the_password_is_in_no_command_line(place: Place) -> None:
    """While dumps and restores run, no process of the machine shows it."""
    database = place.open()
    seen: list[str] = []
    tools: set[str] = set()
    stop = Event()

    def look() -> None:
        while not stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if CANARY in line:
                    seen.append(line)
                if place.name in line:
                    tools.add(Path(line.split("\0")[0]).name)

    thread = Thread(target=look)
    thread.start()
    try:
        await database.snapshot("before")
        await database.verify_snapshot("before")
        await database.restore("before")
    finally:
        stop.set()
        await asyncio.to_thread(thread.join)
    assert not seen
    assert tools & {"pg_dump", "pg_restore", "mariadb-dump", "mariadb", "sh"}
    for path in place.directory.rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes()
    assert pwd.getpwuid(place.dump.stat().st_uid).pw_name == pwd.getpwuid(os.geteuid()).pw_name
    assert place.dump.stat().st_mode & 0o077 == 0
