"""The same rolling upgrade on either database, and what becomes of it when the database's host freezes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Timer

import pytest

from changeover.engine.events import StepChanged, Verb
from changeover.lab import DatabaseKind
from changeover.lab.faults import Fault
from changeover.model.states import RunState, StepState
from changeover.probe import ledger
from changeover.probe.summary import Summary
from tests.databasekit import lab_with
from tests.labkit import LabUnderTest
from tests.scenarios.operator import Operator, upgraded

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
EXPAND = "main/expand/001_notes_words"


@pytest.fixture(scope="module", params=[DatabaseKind.POSTGRESQL, DatabaseKind.MARIADB], ids=str)
def lab_session(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    """A lab of three nodes on that database."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    with lab_with(request.param, nodes=3) as running:
        yield running


def _acknowledged(book: Path) -> int:
    """How many writes so far; the ledger's first line may not be whole yet."""
    if not book.exists() or b"\n" not in book.read_bytes():
        return 0
    return ledger.read(book).summary().writes.acknowledged


class Clients:
    """What a probe has measured, once it has ended."""

    cost: Summary


@asynccontextmanager
async def clients(lab: LabUnderTest, book: Path) -> AsyncIterator[Clients]:
    """Fifty requests a second, some of them writes, while this is open."""
    quiet = asyncio.subprocess.DEVNULL
    probe = await asyncio.create_subprocess_exec(
        *(CHANGEOVER, "probe", lab.url, "--profile", "lab", "--rate", "50", "--ledger", str(book)),
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
    )
    measured = Clients()
    try:
        while not _acknowledged(book):
            assert probe.returncode is None
            await asyncio.sleep(0.1)
        yield measured
    finally:
        probe.send_signal(signal.SIGTERM)
        await asyncio.wait_for(probe.wait(), 60)
    measured.cost = ledger.read(book).summary()


async def test_a_rolling_upgrade_under_load_loses_nothing(fresh_lab: LabUnderTest, tmp_path: Path) -> None:
    """Given clients who read, write and keep sessions, then v2 serves everywhere, finalized, and nothing was lost."""
    operator = Operator(fresh_lab, tmp_path / "journal.db")
    async with clients(fresh_lab, tmp_path / "probe.jsonl") as measured:
        assert upgraded(await operator.run())
    assert measured.cost.losses == []
    assert measured.cost.writes.acknowledged > 100
    assert set((await operator.versions()).values()) == {"v2"}
    assert await operator.in_rotation() == set(fresh_lab.nodes)
    assert (await operator.finalize()).state is RunState.DONE


async def test_a_database_host_that_freezes_stops_the_run(fresh_lab: LabUnderTest, tmp_path: Path) -> None:
    """Given it freezes in expand, then the run stops there, says so, and touched no node; thawed, it goes on to the end."""
    operator = Operator(fresh_lab, tmp_path / "journal.db", attempts=2, silence=3.0)
    operator.when(EXPAND, StepState.RUNNING, lambda: fresh_lab.cluster.befall("db1", Fault.FREEZE))
    async with clients(fresh_lab, tmp_path / "probe.jsonl") as measured:
        try:
            status = await operator.run()
        finally:
            fresh_lab.cluster.mend("db1")
        # Its second attempt was not begun: whether the backup is there could not be seen either.
        assert status.state is RunState.STOPPED
        assert status.reason.startswith(f"the interlocks of {EXPAND} could not be asked: ")
        assert "db1: the SSH connection was lost" in status.reason
        assert status.steps[EXPAND].state is StepState.PENDING
        said = [event.evidence for event in operator.events if isinstance(event, StepChanged)]
        assert any("10.77.0.12" in words and "no answer within 1 s" in words for words in said)
        assert operator.started("app1/drain") == 0
        await operator.conductor.send(Verb.CONTINUE, actor="test")
        assert upgraded(await operator.resume())
    assert operator.started(EXPAND) == 2
    assert measured.cost.writes.acknowledged > 0
    assert (measured.cost.writes.missing, measured.cost.writes.unverified) == (0, 0)


async def test_a_database_host_that_thaws_in_time_delays_the_run(
    fresh_lab: LabUnderTest, tmp_path: Path
) -> None:
    """Given it freezes in expand for less than the declared silence, then the run goes on by itself, and no write is lost."""
    operator = Operator(fresh_lab, tmp_path / "journal.db", attempts=1, silence=30.0)
    thaw = Timer(3, lambda: fresh_lab.cluster.mend("db1"))

    def freeze() -> None:
        fresh_lab.cluster.befall("db1", Fault.FREEZE)
        thaw.start()

    operator.when(EXPAND, StepState.RUNNING, freeze)
    async with clients(fresh_lab, tmp_path / "probe.jsonl") as measured:
        try:
            assert upgraded(await operator.run())
        finally:
            thaw.join()
    assert operator.started(EXPAND) == 1
    assert measured.cost.writes.acknowledged > 0
    assert (measured.cost.writes.missing, measured.cost.writes.unverified) == (0, 0)
