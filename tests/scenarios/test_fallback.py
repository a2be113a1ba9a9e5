"""The way back, on real hosts: from everywhere, killed, and when it fails itself."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from changeover.engine.events import FallbackBegun, Verb
from changeover.engine.journal import Journal
from changeover.lab.faults import Fault
from changeover.model.plan import BACK
from changeover.model.release import Cause, Fallback, SqlMigration
from changeover.model.states import RunState, StepState
from changeover.probe import ledger
from tests.labkit import LabUnderTest
from tests.scenarios.operator import Operator, stopped_at, upgraded

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
DONE = StepState.DONE
MOST_KILLS = 40
ALL_BACK = {"app1": "v1", "app2": "v1", "app3": "v1", "app4": "v1"}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the run's journal is."""
    return tmp_path / "journal.db"


async def test_an_abort_at_the_last_moment_takes_everything_back_under_load(
    fresh_lab: LabUnderTest, journal: Path, tmp_path: Path
) -> None:
    """Given everything upgraded, when it is aborted, then no request, session or write is lost on the way back."""
    operator = Operator(fresh_lab, journal)
    before = await _state(operator)
    async with _load(fresh_lab, tmp_path) as book:
        assert upgraded(await operator.run())
        await operator.conductor.send(Verb.ABORT, actor="test", reason="the tester says no")
        status = await operator.resume()
        assert (status.state, status.left_behind) == (RunState.FELL_BACK, [])
    assert await _state(operator) == before
    cost = ledger.read(book).summary()
    assert (cost.requests.failed, cost.sessions.cut, cost.writes.missing) == (0, 0, 0)
    assert cost.writes.acknowledged > 0
    assert upgraded(await operator.run())


@pytest.mark.parametrize(
    ("step", "fault", "stops_at"),
    [
        ("app1/stop", ("app1", "fail-start", ""), ("app1/start", "app1/health")),
        ("app2/stop", ("app2", "wrong-version", "v0"), ("app2/version",)),
        ("app3/stop", ("app3", "fail-health-after", "0"), ("app3/health",)),
    ],
)
async def test_a_failed_node_begins_the_way_back_by_itself(
    fresh_lab: LabUnderTest,
    journal: Path,
    step: str,
    fault: tuple[str, str, str],
    stops_at: tuple[str, ...],
) -> None:
    """Given the policy, when a node of the new version fails, then all is back and nobody waited for its health."""
    node, name, value = fault
    operator = Operator(
        fresh_lab,
        journal,
        limits={"timeouts": {"health": 8.0, "start": 10.0}},
        fallback=Fallback(when=frozenset({Cause.FAILURE})),
    )
    before = await _state(operator)
    operator.when(step, DONE, lambda: fresh_lab.set_fault(node, name, value))
    # The fault is one of the release, not of the machine: it is gone with it.
    operator.when(f"{BACK}{node}/switch", DONE, lambda: fresh_lab.set_fault(node, name, None))
    status = await operator.run()
    assert status.state is RunState.FELL_BACK, (status.reason, status.steps_in(StepState.FAILED))
    [begun] = [event for event in operator.events if isinstance(event, FallbackBegun)]
    assert begun.actor == "policy"
    assert any(stop in begun.reason for stop in stops_at)
    assert await _state(operator) == before


async def test_the_way_back_survives_a_conductor_killed_again_and_again(
    fresh_lab: LabUnderTest, journal: Path, tmp_path: Path
) -> None:
    """Given SIGKILL at random moments of the way back, then it ends where the run began, and no write is lost."""
    operator = Operator(fresh_lab, journal)
    before = await _state(operator)
    chance = random.Random(20261121)
    async with _load(fresh_lab, tmp_path) as book:
        operator.when("app3/drain", DONE, lambda: fresh_lab.set_fault("app3", "wrong-version", "v0"))
        assert stopped_at(await operator.run()) == ["app3/version"]
        fresh_lab.set_fault("app3", "wrong-version", None)
        await operator.conductor.send(Verb.ABORT, actor="test", reason="enough")
        kills = 0
        async with Journal.open(journal) as seen:
            [record] = await seen.runs()
            while not (await seen.status(record.run)).ended and kills < MOST_KILLS:
                conductor = await asyncio.create_subprocess_exec(
                    CHANGEOVER, "resume", record.run, "--on-stop", "return", "--journal", str(journal),
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                )  # fmt: skip
                ended = asyncio.create_task(conductor.wait())
                limit = (await seen.status(record.run)).seq + chance.randint(5, 12)
                while not ended.done() and (await seen.status(record.run)).seq < limit:
                    await asyncio.sleep(0.01)
                if ended.done():
                    assert ended.result() == 5
                else:
                    os.kill(conductor.pid, signal.SIGKILL)
                    kills += 1
                await ended
            status = await seen.status(record.run)
    assert kills >= 3
    assert status.state is RunState.FELL_BACK
    assert await _state(operator) == before
    assert ledger.read(book).summary().writes.missing == 0


async def test_a_dead_host_is_left_behind_and_taken_up_later(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given a host without power, then every other node goes back, a person is told which is left, and retries."""
    operator = Operator(
        fresh_lab, journal, limits={"timeouts": {"health": 20.0, "start": 10.0}}, keep_serving=2
    )
    operator.when("app2/stop", DONE, lambda: fresh_lab.cluster.befall("app2", Fault.POWER))
    await operator.run()
    await operator.conductor.send(Verb.ABORT, actor="test", reason="a host is gone")
    status = await operator.resume()
    assert status.state is RunState.STOPPED
    assert status.reason.startswith("back-expand waits for app2, which could not go back")
    assert await operator.in_rotation() == {"app1", "app3", "app4"}
    fresh_lab.cluster.mend("app2")
    left = next(step for step in status.steps_in(StepState.SKIPPED) if step.startswith(f"{BACK}app2/"))
    status = await operator.retry(left)
    assert status.state is RunState.FELL_BACK, status.reason
    assert await operator.versions() == ALL_BACK


async def test_the_way_back_keeps_the_floor(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given a host without power and no node to spare, then the way back stops before it takes another one out."""
    operator = Operator(fresh_lab, journal, limits={"timeouts": {"health": 20.0}}, keep_serving=3)
    operator.when("app2/stop", DONE, lambda: fresh_lab.cluster.befall("app2", Fault.POWER))
    await operator.run()
    await operator.conductor.send(Verb.ABORT, actor="test", reason="a host is gone")
    status = await operator.resume()
    assert status.state is RunState.STOPPED
    assert "capacity floor: public would be left with 2 of 3 servers" in status.reason
    assert await operator.in_rotation() == {"app1", "app3", "app4"}
    fresh_lab.cluster.mend("app2")
    status = await operator.retry(
        next(step for step in status.steps_in(StepState.SKIPPED) if step.startswith(f"{BACK}app2/"))
    )
    assert status.state is RunState.FELL_BACK, status.reason
    assert await operator.versions() == ALL_BACK


async def test_a_migration_without_a_way_back_is_restored_from_the_snapshot_once_a_person_agrees(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given no down script, then a gate says since when writes would be lost, and the snapshot is restored."""
    operator = Operator(fresh_lab, journal)
    release = operator.conductor.spec.release
    [change] = release.migrations
    expand = tuple(
        msgspec.structs.replace(it, down="") if isinstance(it, SqlMigration) else it for it in change.expand
    )
    release = msgspec.structs.replace(release, migrations=(msgspec.structs.replace(change, expand=expand),))
    operator.conductor.spec = msgspec.structs.replace(operator.conductor.spec, release=release)
    before = await _state(operator)
    operator.when("app1/stop", DONE, lambda: fresh_lab.set_fault("app1", "wrong-version", "v0"))
    assert stopped_at(await operator.run()) == ["app1/version"]
    fresh_lab.set_fault("app1", "wrong-version", None)
    await operator.conductor.send(Verb.ABORT, actor="test", reason="enough")
    status = await operator.resume()
    [gate] = status.steps_in(StepState.WAITING)
    asked = next(step.summary for step in status.plan.steps() if step.id == gate)
    assert "was written to" in asked
    assert "is lost" in asked
    assert await operator.in_rotation() == set(fresh_lab.nodes)
    await operator.conductor.send(Verb.APPROVE, actor="test", step=gate)
    status = await operator.resume()
    assert status.state is RunState.FELL_BACK, (status.reason, status.steps_in(StepState.FAILED))
    assert await _state(operator) == before


@contextlib.asynccontextmanager
async def _load(lab: LabUnderTest, directory: Path) -> AsyncIterator[Path]:
    """A probe at work until the end of the block; the path of its ledger."""
    book = directory / "probe.jsonl"
    quiet = asyncio.subprocess.DEVNULL
    probe = await asyncio.create_subprocess_exec(
        CHANGEOVER, "probe", lab.url, "--profile", "lab", "--rate", "50", "--ledger", str(book),
        stdin=quiet, stdout=quiet, stderr=quiet,
    )  # fmt: skip
    try:
        while not book.exists():
            await asyncio.sleep(0.05)
        yield book
    finally:
        probe.send_signal(signal.SIGTERM)
        await asyncio.wait_for(probe.wait(), 60)


async def _state(operator: Operator) -> dict[str, object]:
    """What a way back has to restore: versions, releases on disk, pool, schema."""
    lab = operator.lab
    releases = {
        node: lab.run_on(node, "ls /opt/app/releases; readlink /opt/app/current") for node in lab.nodes
    }
    database = lab.run_on(
        "db1", "su postgres -c 'pg_dump --schema-only --exclude-table=changeover_migration app'"
    )
    return {
        "versions": await operator.versions(),
        "releases": releases,
        "pool": {name: (server.admin, server.up) for name, server in (await operator.pool()).items()},
        "schema": [line for line in database.splitlines() if line and not line.startswith(("--", "\\"))],
    }


async def test_leaving_is_told_with_what_is_left(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given a stopped run, when it is ended where it is, then the site stays, and another run may finish it."""
    operator = Operator(fresh_lab, journal)
    operator.when("app2/stop", DONE, lambda: fresh_lab.set_fault("app2", "wrong-version", "v1"))
    assert stopped_at(await operator.run()) == ["app2/version"]
    before = await operator.in_rotation()
    await operator.conductor.send(Verb.LEAVE, actor="test", reason="tomorrow")
    assert (await operator.resume()).state is RunState.ABORTED
    assert await operator.in_rotation() == before
    fresh_lab.set_fault("app2", "wrong-version", None)
    assert upgraded(await operator.run())
    assert await operator.in_rotation() == set(fresh_lab.nodes)
