"""A database whose whole host freezes: every call of the port comes back, through SSH too."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import msgspec
import pytest

from changeover.drivers.secrets import Secrets
from changeover.drivers.ssh import KEEPALIVE_COUNT, KEEPALIVE_INTERVAL
from changeover.errors import DatabaseError
from changeover.lab import DatabaseKind
from changeover.lab.faults import Fault
from changeover.model.release import SqlMigration
from changeover.ports import Database
from changeover.spec import load
from changeover.wiring import open_world
from tests.databasekit import lab_with
from tests.labkit import LabUnderTest

pytestmark = pytest.mark.lab

SILENCE = 3.0
CONNECT_TIMEOUT = 3.0
BOUND = 4 * SILENCE + KEEPALIVE_INTERVAL * (KEEPALIVE_COUNT + 1) + CONNECT_TIMEOUT
"""Seconds, as docs/databases.md states them for a database whose host is reached by SSH."""

ONE = SqlMigration("001", "ALTER TABLE notes ADD one integer", "c1", down="ALTER TABLE notes DROP one")
TWO = SqlMigration("002", "ALTER TABLE notes ADD two integer", "c2")


@pytest.fixture(scope="module", params=[DatabaseKind.POSTGRESQL, DatabaseKind.MARIADB], ids=str)
def lab_session(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    """A lab of one node on that database."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    with lab_with(request.param, nodes=1) as running:
        yield running


@pytest.fixture
async def database(fresh_lab: LabUnderTest) -> AsyncIterator[Database]:
    """The lab's database, as its operator reaches it."""
    spec = load(fresh_lab.cluster.directory.path / "changeover.yaml")
    replace = msgspec.structs.replace
    hosts = (
        replace(host, ssh=replace(host.ssh, connect_timeout=CONNECT_TIMEOUT)) for host in spec.site.hosts
    )
    (config,) = spec.site.databases
    silent = replace(config, options={**config.options, "silence": SILENCE})
    site = replace(spec.site, hosts=tuple(hosts), databases=(silent,))
    async with open_world(site, spec.release, Secrets()) as world:
        yield world.databases[config.name]


async def test_every_call_comes_back_from_a_frozen_host(fresh_lab: LabUnderTest, database: Database) -> None:
    """Within the stated time, with an error; thawed, the same port works, and nothing has changed."""
    await database.migrate(ONE, lock_timeout=5)
    await database.snapshot("before")
    await database.verify_snapshot("before")
    calls: list[Callable[[], Awaitable[object]]] = [
        database.facts,
        database.ledger,
        lambda: database.query("SELECT 1"),
        lambda: database.snapshot("frozen"),
        lambda: database.find_snapshot("before"),
        lambda: database.verify_snapshot("before"),
        lambda: database.drop_snapshot("frozen"),
        lambda: database.restore("before"),
        lambda: database.migrate(TWO, lock_timeout=5),
        lambda: database.revert(ONE, lock_timeout=5),
        lambda: database.forget("nobody"),
    ]
    await asyncio.to_thread(fresh_lab.cluster.befall, "db1", Fault.FREEZE)
    try:
        async with asyncio.timeout(BOUND):
            outcomes = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    finally:
        await asyncio.to_thread(fresh_lab.cluster.mend, "db1")
    assert [type(outcome) for outcome in outcomes] == [DatabaseError] * len(calls), outcomes
    assert [entry.name for entry in await database.ledger()] == ["001"]
    assert (await database.verify_snapshot("before")).verified
    await database.revert(ONE, lock_timeout=5)


async def test_a_host_that_freezes_under_a_statement(fresh_lab: LabUnderTest, database: Database) -> None:
    """A cancelled statement is left as soon as the bound is over; one that is not ends with an error that says why."""
    pause = "pg_sleep(600)" if fresh_lab.layout.database is DatabaseKind.POSTGRESQL else "sleep(600)"
    sleeping = SqlMigration("003", f"CREATE TABLE t (id integer);\nSELECT {pause};", "c3")
    asking = f"SELECT count(*) FROM {_SESSIONS[fresh_lab.layout.database]} LIKE '%sleep(600)%'"
    migrating = asyncio.create_task(database.migrate(sleeping, lock_timeout=5))
    # The question is a session with these words as well.
    while (await database.query(asking))[0][0] < 2:
        assert not migrating.done()
    await asyncio.to_thread(fresh_lab.cluster.befall, "db1", Fault.FREEZE)
    try:
        asked = asyncio.create_task(database.query("SELECT 1"))
        await asyncio.sleep(0)
        asked.cancel()
        async with asyncio.timeout(BOUND):
            with pytest.raises(asyncio.CancelledError):
                await asked
            with pytest.raises(
                DatabaseError, match=r"003, line 2: .*not answered for 3 s; the connection was lost"
            ):
                await migrating
    finally:
        await asyncio.to_thread(fresh_lab.cluster.mend, "db1")
    begun = [(entry.name, entry.finished_at) for entry in await database.ledger()]
    assert begun == ([] if fresh_lab.layout.database is DatabaseKind.POSTGRESQL else [("003", 0)])


_SESSIONS = {
    DatabaseKind.POSTGRESQL: "pg_stat_activity WHERE query",
    DatabaseKind.MARIADB: "information_schema.processlist WHERE info",
}
