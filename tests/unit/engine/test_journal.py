"""The journal: runs, plans, events and commands, on SQLite and on PostgreSQL."""

import re
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from changeover.engine import tables
from changeover.engine.commands import Command
from changeover.engine.events import StepChanged, Verb
from changeover.engine.journal import Journal
from changeover.engine.owner import Owner
from changeover.engine.records import Records, stem
from changeover.errors import JournalError, LockedError, RefusedError, SpecError
from changeover.model.states import RunState, StepState
from tests.enginekit import PATIENCE, Scripted, a_gate, a_plan, a_step, answer, begin, conduct, tell
from tests.pg import PostgresServer

PLAN = a_plan([a_step("x")])


async def test_a_run_is_named_after_its_time_and_site(journal: Records) -> None:
    """The second of a second has a number; the list has the latest first."""
    runs = []
    for _ in range(3):
        runs.append(await begin(journal, PLAN))
        await conduct(journal, runs[-1], Scripted())
    assert all(re.fullmatch(r"\d{8}-\d{6}-identity(-[23])?", run) for run in runs)
    assert len(set(runs)) == 3
    assert [record.run for record in await journal.runs("identity")] == runs[::-1]
    assert await journal.runs("another") == []


def test_runs_of_different_seconds_have_different_names() -> None:
    """Whatever their journals know of each other: snapshots are called by the run."""
    assert stem(1_795_270_000, "identity") == "20261121-140640-identity"
    assert stem(1_795_270_001, "identity") == "20261121-140641-identity"


async def test_the_plan_is_kept_as_it_was(journal: Records) -> None:
    """What runs is what was reviewed."""
    run = await begin(journal, PLAN)
    assert await journal.plan(run) == PLAN
    assert (await journal.plan(run)).digest() == PLAN.digest()


async def test_one_run_at_a_time_holds_a_site(journal: Records) -> None:
    """The second is told who, why, since when, and what can be done."""
    run = await begin(journal, PLAN)
    with pytest.raises(LockedError) as locked:
        await begin(journal, PLAN)
    said = locked.value.message
    assert re.match(
        rf"site identity is held by run {run} of ops since \d{{4}}-\d\d-\d\d \d\d:\d\d UTC \(upgrade\)", said
    )
    assert f"has no conductor now (the last was {Owner.current()})" in said
    assert locked.value.hint == f"`changeover resume {run}`, or abort it"


async def test_a_run_at_its_gate_still_holds_the_site(journal: Records) -> None:
    """It has not ended, although nobody conducts it."""
    run = await begin(journal, a_plan([a_step("x")], finalize=[a_gate("go")]))
    assert (await conduct(journal, run, Scripted())).state is RunState.WAITING
    record = await journal.run(run)
    assert (record.state, record.conducted, record.ended_at) == (RunState.WAITING, False, None)
    with pytest.raises(LockedError, match="it is waiting and has no conductor now"):
        await begin(journal, PLAN)


async def test_two_sessions_cannot_both_begin(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when neither saw the other: the database has the last word."""
    async with Journal.open(where) as one, Journal.open(where) as two:
        run = await begin(one, PLAN)
        look = two._refuse_second
        looks = iter([lambda *_: None, look])

        def blind_at_first(connection: Connection, site: str) -> None:
            next(looks)(connection, site)

        monkeypatch.setattr(two, "_refuse_second", blind_at_first)
        with pytest.raises(LockedError, match=run):
            await begin(two, PLAN)


async def test_a_plan_that_cannot_be_executed_is_not_begun(journal: Records) -> None:
    """And leaves no trace."""
    with pytest.raises(RefusedError, match="x is there twice"):
        await begin(journal, a_plan([a_step("x"), a_step("x")]))
    assert await journal.runs() == []


async def test_another_process_reads_along(where: str) -> None:
    """Events, status and the end, through a journal of its own."""
    async with Journal.open(where) as writing, Journal.open(where) as reading:
        run = await begin(writing, PLAN)
        await conduct(writing, run, Scripted())
        followed = [event async for event in reading.follow(run)]
        assert followed == await writing.events(run)
        assert (await reading.status(run)).state is RunState.DONE
        assert await reading.events(run, after=followed[-2].seq) == followed[-1:]


async def test_commands_wait_for_a_conductor(journal: Records) -> None:
    """In the order they were sent, unanswered until one takes them."""
    run = await begin(journal, a_plan([a_gate("go")]))
    numbers = [
        await tell(journal, run, Verb.PAUSE),
        await tell(journal, run, Verb.SKIP, "go", "no", accept_skipped=True),
    ]
    assert await journal.pending_commands(run) == [
        Command(numbers[0], Verb.PAUSE, "kim"),
        Command(numbers[1], Verb.SKIP, "kim", "go", "no", accept_skipped=True),
    ]
    assert await answer(journal, numbers[0]) == ("", "")


async def test_a_run_that_has_ended_takes_no_commands(journal: Records) -> None:
    """Whoever sends one hears of it at once."""
    run = await begin(journal, PLAN)
    await conduct(journal, run, Scripted())
    with pytest.raises(RefusedError, match="has ended: done"):
        await tell(journal, run, Verb.PAUSE)


@pytest.mark.parametrize("ask", ["run", "plan", "status"])
async def test_a_run_that_is_not_there_is_refused(journal: Records, ask: str) -> None:
    """With where to look."""
    with pytest.raises(RefusedError) as refused:
        await getattr(journal, ask)("nonsense")
    assert refused.value.hint == "`changeover runs` lists them"


async def test_there_is_nothing_to_tell_a_run_that_is_not_there(journal: Records) -> None:
    """Nor an outcome of a command that was not sent."""
    with pytest.raises(RefusedError, match="no run nonsense"):
        await tell(journal, "nonsense", Verb.PAUSE)
    with pytest.raises(RefusedError, match="no command 99"):
        await journal.command_outcome(99)


async def test_how_long_steps_took_can_be_asked(journal: Records) -> None:
    """By action and target, the latest run first; a step that had trouble says nothing."""
    for _ in range(2):
        run = await begin(journal, a_plan([a_step("x"), a_step("y", attempts=2, retry_wait=7)]))
        await conduct(journal, run, Scripted(y="fail"))
    took = await journal.durations("identity")
    assert set(took) == {("scripted", "x"), ("scripted", "y")}
    assert len(took["scripted", "x"]) == 2
    assert all(0 <= seconds < 7 for of in took.values() for seconds in of)


async def test_undecodable_arguments_do_no_harm(journal: Records) -> None:
    """They are replaced where they come in."""
    run = await journal.create_run(PLAN, actor="o\udce9", reason="r\udce9", owner=Owner.current())
    await tell(journal, run, Verb.ABORT, reason="caf\udce9")
    status = await conduct(journal, run, Scripted())
    assert (status.actor, status.aborting) == ("o?", "caf?")


# What can go wrong with the database


async def test_a_journal_whose_disk_is_full_stops_the_run_resumably(tmp_path: Path) -> None:
    """What is in flight finishes, nothing is launched; with room again it goes on and repeats nothing."""
    where = tmp_path / "journal.db"
    plan = a_plan([a_step(f"s{number}", limits=("one",)) for number in range(20)], limits={"one": 1})
    action = Scripted()
    async with Journal.open(where) as journal:
        run = await begin(journal, plan)
        pages = await journal.store.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
        await journal.store.read(
            lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages + 8}").scalar_one()
        )
        with pytest.raises(JournalError, match="database or disk is full") as failed:
            await conduct(journal, run, action, redact=lambda text: text + "." * 3000)
        assert failed.value.hint == "make room on its disk, then `changeover resume`"
    assert 0 < len(action.performed) < 20
    async with Journal.open(where) as journal:
        assert (await conduct(journal, run, action)).state is RunState.DONE
    assert len(action.performed) == len(set(action.performed)) == 20


async def test_a_database_server_that_dies_stops_the_run_resumably(postgres_server: PostgresServer) -> None:
    """The same with PostgreSQL restarted under it."""
    action = Scripted()
    async with Journal.open(postgres_server.schema()) as journal:
        run = await begin(journal, a_plan([a_step("x")], [a_step("y")]))

        def restart(event: object) -> None:
            if isinstance(event, StepChanged) and event.step == "x" and event.state is StepState.RUNNING:
                postgres_server.control("-m", "immediate", "restart")

        with pytest.raises(JournalError) as failed:
            await conduct(journal, run, action, observer=restart, poll=PATIENCE)
        assert "look at the PostgreSQL server" in failed.value.hint
        assert action.performed == ["x"]
        assert (await conduct(journal, run, action)).state is RunState.DONE
    assert action.performed == ["x", "y"]


@pytest.mark.parametrize(
    ("where", "says"), [("mysql://host/db", "cannot be kept in mysql"), ("://", "URL cannot be read")]
)
def test_a_place_that_is_none_for_a_journal_is_bad_input(where: str, says: str) -> None:
    """It is no journal that failed."""
    with pytest.raises(SpecError, match=says) as failed:
        Journal.open(where)
    assert failed.value.hint


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("/proc/nowhere/journal.db", "the journal at /proc/nowhere/journal.db"),
        ("postgresql://kim:swordfish@/x?host=/nowhere", "/nowhere"),
    ],
)
async def test_a_journal_that_cannot_be_opened_says_why(where: str, says: str) -> None:
    """And never the password."""
    with pytest.raises(JournalError) as failed:
        async with Journal.open(where) as journal:
            await begin(journal, PLAN)
    assert says in failed.value.message
    assert failed.value.hint
    assert "swordfish" not in failed.value.message


async def test_a_journal_of_another_format_is_refused(tmp_path: Path) -> None:
    """Not guessed at."""
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    async with Journal.open(tmp_path / "journal.db") as journal:
        with pytest.raises(JournalError, match="has format 7"):
            await journal.runs()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (msgspec.structs.replace(PLAN, format=7).to_json().decode(), "its plan has format 7, .* reads 1"),
        ('{"sight": 1}', "its plan cannot be read: Object contains unknown field `sight`"),
        ("{", "its plan cannot be read: Input data was truncated"),
    ],
)
async def test_a_plan_that_this_version_cannot_read_is_refused(stored: Journal, body: str, says: str) -> None:
    """With the run, and which version can."""
    run = await begin(stored, PLAN)
    query = sa.update(tables.plan).where(tables.plan.c.run == run).values(body=body)
    await stored.store.write(lambda connection: connection.execute(query))
    with pytest.raises(JournalError, match=f"run {run}: {says}") as failed:
        await stored.status(run)
    assert "version of Changeover that began the run" in failed.value.hint


async def settings(journal: Journal, ask: str, *names: str) -> list[object]:
    """What the database says of itself."""
    return [await journal.store.read(partial(_one, f"{ask} {name}")) for name in names]


def _one(statement: str, connection: Connection) -> object:
    return connection.exec_driver_sql(statement).scalar_one()


async def test_sqlite_waits_for_the_disk(tmp_path: Path) -> None:
    """Write-ahead log, and a commit is on the disk when it returns."""
    async with Journal.open(tmp_path / "deep" / "journal.db") as journal:
        await begin(journal, PLAN)
        found = await settings(journal, "PRAGMA", "journal_mode", "synchronous", "foreign_keys")
    assert found == ["wal", 2, 1]


async def test_postgresql_waits_for_the_disk(postgres_server: PostgresServer) -> None:
    """Whatever the role's default is; and a frozen conductor cannot hold its locks for long."""
    where = postgres_server.schema()
    role = "ALTER ROLE CURRENT_USER"
    async with Journal.open(where) as journal:
        await journal.store.write(lambda c: c.exec_driver_sql(f"{role} SET synchronous_commit = off"))
    async with Journal.open(where) as journal:
        found = await settings(journal, "SHOW", "synchronous_commit", "idle_in_transaction_session_timeout")
        await journal.store.write(lambda c: c.exec_driver_sql(f"{role} RESET synchronous_commit"))
    assert found == ["on", "5s"]


async def test_reading_makes_no_journal(tmp_path: Path) -> None:
    """Where there is no file, or an empty one, there is no run, and there is nothing more afterwards."""
    (tmp_path / "empty.db").touch()
    for name in ("none.db", "empty.db"):
        async with Journal.open(tmp_path / name) as journal:
            assert await journal.runs() == []
            assert await journal.runs() == []
    assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("empty.db", 0)]


async def test_reading_makes_no_tables(postgres_server: PostgresServer) -> None:
    """In an empty schema of PostgreSQL there is no run, and no table afterwards; a run makes them."""
    where = postgres_server.schema()
    async with Journal.open(where) as journal:
        assert await journal.runs() == []
        engine = sa.create_engine(where.replace("postgresql://", "postgresql+psycopg://"))
        assert sa.inspect(engine).get_table_names() == []
        engine.dispose()
        await begin(journal, a_plan([a_step("a")]))
        assert len(await journal.runs()) == 1


async def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """It is refused for reading and for writing, and is the same file afterwards."""
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE run (mine text)")
    before = (tmp_path / "other.db").read_bytes()
    async with Journal.open(tmp_path / "other.db") as journal:
        with pytest.raises(JournalError, match="something else"):
            await journal.runs()
        with pytest.raises(JournalError, match="something else"):
            await begin(journal, a_plan([a_step("a")]))
    assert (tmp_path / "other.db").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["other.db"]


async def test_a_journal_where_nobody_can_write_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that has become read-only a run can still be looked at; to write is refused with a reason."""
    where = tmp_path / "what? 100%" / "journal.db"
    async with Journal.open(where) as journal:
        run = await begin(journal, PLAN)
    where.parent.chmod(0o500)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    async with Journal.open(where) as journal:
        assert [record.run for record in await journal.runs()] == [run]
        with pytest.raises(JournalError, match="readonly"):
            await tell(journal, run, Verb.PAUSE)
    assert [file.name for file in where.parent.iterdir()] == ["journal.db"]
    where.parent.chmod(0o700)


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """So are those that SQLite keeps beside it."""
    async with Journal.open(tmp_path / "journal.db") as journal:
        await begin(journal, a_plan([a_step("a")]))
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}


async def test_a_journal_that_was_moved_away_is_written_no_more(tmp_path: Path) -> None:
    """Deleted or replaced under a conductor: it stops, instead of writing where nobody will look."""
    where = tmp_path / "journal.db"
    async with Journal.open(where) as journal:
        run = await begin(journal, PLAN)
        where.rename(tmp_path / "elsewhere.db")
        with pytest.raises(JournalError, match="no longer the file that it was"):
            await tell(journal, run, Verb.PAUSE)
        (tmp_path / "elsewhere.db").rename(where)
        await tell(journal, run, Verb.PAUSE)
