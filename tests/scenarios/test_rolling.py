"""A real cluster upgraded node by node, and everything that goes wrong on the way stops at the right place."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from changeover.engine.events import Verb
from changeover.engine.owner import Owner
from changeover.errors import JournalError, LockedError, StaleError
from changeover.lab.faults import Fault
from changeover.model.release import Budgets
from changeover.model.states import RunState, StepState
from tests.labkit import LabUnderTest
from tests.scenarios.operator import OUT, Operator, stopped_at, upgraded

pytestmark = [pytest.mark.lab, pytest.mark.slow]

RUNNING, DONE = StepState.RUNNING, StepState.DONE


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the run's journal is."""
    return tmp_path / "journal.db"


async def test_every_node_is_upgraded_and_finalize_waits(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given a well site, when it is run, then all nodes serve v2; approved, the old release and column go."""
    operator = Operator(fresh_lab, journal)
    status = await operator.run()
    assert upgraded(status)
    assert set((await operator.versions()).values()) == {"v2"}
    assert await operator.in_rotation() == set(fresh_lab.nodes)
    assert "v1" in fresh_lab.run_on("app1", "ls /opt/app/releases")
    assert (await operator.finalize()).state is RunState.DONE
    assert fresh_lab.run_on("app1", "ls /opt/app/releases").split() == ["v2"]
    with psycopg.connect(**_conninfo(fresh_lab)) as database:
        columns = {
            name
            for (name,) in database.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'notes'"
            )
        }
    assert columns == {"id", "body", "words"}


async def test_a_plan_of_a_site_that_has_changed_is_refused(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given a plan, when a server is drained behind its back, then running it is refused with what differs."""
    operator = Operator(fresh_lab, journal)
    plan = await operator.plan()
    _haproxy(fresh_lab, "set server app/app3 state drain")
    with pytest.raises(StaleError, match="app3 in public is drain, the plan says ready"):
        await operator.conductor.run(plan, actor="test", reason="", on_stop="return")


async def test_a_second_run_of_the_site_is_told_who_holds_it(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given a run that was stopped, when another is begun, then it is refused with who, why and since when."""
    operator = Operator(fresh_lab, journal)
    operator.when("app1/stop", DONE, lambda: fresh_lab.set_fault("app1", "wrong-version", "v1"))
    assert stopped_at(await operator.run()) == ["app1/version"]
    held = operator.conductor.journal
    plan = await held.plan(await operator.conductor.active())
    with pytest.raises(LockedError, match="test") as refused:
        await held.create_run(plan, actor="other", reason="me too", owner=Owner.current())
    assert "resume" in refused.value.hint


async def test_a_node_that_does_not_start_stops_the_run(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given app2 cannot start, then the run stops there, app1 serves v2, the rest v1, and app2 nobody."""
    operator = Operator(fresh_lab, journal, limits={"timeouts": {"health": 10.0, "start": 10.0}})
    operator.when("app2/stop", DONE, lambda: fresh_lab.set_fault("app2", "fail-start"))
    status = await operator.run()
    assert stopped_at(status)[0] in ("app2/start", "app2/health")
    assert await operator.in_rotation() == {"app1", "app3", "app4"}
    assert (await operator.pool())["app2"].admin in OUT
    versions = await operator.versions()
    assert (versions["app1"], versions["app3"], versions["app4"]) == ("v2", "v1", "v1")
    fresh_lab.set_fault("app2", "fail-start", None)
    fresh_lab.run_on("app2", "systemctl reset-failed lab-app.service; systemctl start lab-app.service")
    assert upgraded(await operator.retry(stopped_at(status)[0]))


async def test_an_unhealthy_node_never_comes_back_into_rotation(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given app1 starts but is ill, then the run stops at its health and the balancer keeps it out."""
    operator = Operator(fresh_lab, journal, limits={"timeouts": {"health": 3.0}})
    operator.when("app1/stop", DONE, lambda: fresh_lab.set_fault("app1", "fail-health-after", "0"))
    status = await operator.run()
    assert stopped_at(status) == ["app1/health"]
    assert await operator.in_rotation() == {"app2", "app3", "app4"}
    fresh_lab.set_fault("app1", "fail-health-after", None)
    assert upgraded(await operator.retry("app1/health"))


async def test_a_wrong_version_stops_the_run(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given app1 says v1 after the switch, then the run stops before it comes back into rotation."""
    operator = Operator(fresh_lab, journal)
    operator.when("app1/stop", DONE, lambda: fresh_lab.set_fault("app1", "wrong-version", "v1"))
    status = await operator.run()
    assert stopped_at(status) == ["app1/version"]
    assert "it runs v1, expected v2" in status.steps["app1/version"].evidence
    assert await operator.in_rotation() == {"app2", "app3", "app4"}


async def test_a_session_that_never_ends_is_not_cut(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given a session that goes on, then the run stops at the deadline, and the session still works."""
    operator = Operator(fresh_lab, journal, limits={"drain": 2.0})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
        async with visitor.post(f"{fresh_lab.url}/login") as answer:
            node = (await answer.json())["node"]
        keeping = asyncio.create_task(_keep(visitor, f"{fresh_lab.url}/session"))
        status = await operator.run()
        assert stopped_at(status) == [f"{node}/out"]
        assert not keeping.done()
        async with visitor.get(f"{fresh_lab.url}/session") as answer:
            assert answer.status == 200
        keeping.cancel()
        async with visitor.post(f"{fresh_lab.url}/logout") as answer:
            assert answer.status == 200
    assert upgraded(await operator.retry(f"{node}/out"))


async def test_a_declared_cut_ends_the_session_and_says_so(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given the operator declared *cut*, then the run goes on after the deadline, and the evidence names it."""
    operator = Operator(fresh_lab, journal, limits={"drain": 1.0, "drain_escalation": "cut"})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
        async with visitor.post(f"{fresh_lab.url}/login") as answer:
            node = (await answer.json())["node"]
        keeping = asyncio.create_task(_keep(visitor, f"{fresh_lab.url}/session"))
        status = await operator.run()
        keeping.cancel()
    assert upgraded(status)
    assert "cut after the deadline, as declared" in status.steps[f"{node}/out"].evidence


async def test_a_host_that_dies_stops_the_run_and_can_be_taken_up(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given app3 loses power in its turn, then the run stops there; mended and retried, it goes on to the end."""
    operator = Operator(
        fresh_lab, journal, limits={"timeouts": {"health": 5.0, "start": 10.0, "switch": 5.0}}
    )
    operator.when("app3/stop", DONE, lambda: fresh_lab.cluster.befall("app3", Fault.POWER))
    status = await operator.run()
    step = stopped_at(status)[0]
    assert step.startswith("app3/")
    assert await operator.in_rotation() == {"app1", "app2", "app4"}
    fresh_lab.cluster.mend("app3")
    assert upgraded(await operator.retry(step))


async def test_a_frozen_host_stops_the_run(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given app2 freezes in its turn, then the step ends by its timeout, and the others serve on."""
    operator = Operator(fresh_lab, journal, limits={"timeouts": {"stop": 4.0, "switch": 4.0, "start": 4.0}})
    operator.when("app2/stop", RUNNING, lambda: fresh_lab.cluster.befall("app2", Fault.FREEZE))
    status = await operator.run()
    assert stopped_at(status)[0].startswith("app2/")
    assert await operator.in_rotation() == {"app1", "app3", "app4"}
    fresh_lab.cluster.mend("app2")
    assert upgraded(await operator.retry(stopped_at(status)[0]))


async def test_an_unreachable_balancer_stops_the_run_with_everything_serving(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given the balancer answers its clients but no longer us, then nothing is drained and every node still serves."""
    operator = Operator(fresh_lab, journal)
    deaf = "nft add table inet deaf; nft add chain inet deaf in '{ type filter hook input priority 0; }'"
    operator.when(
        "app1/enter",
        DONE,
        lambda: fresh_lab.run_on("lb1", f"{deaf}; nft add rule inet deaf in tcp dport 22 drop"),
    )
    status = await operator.run()
    fresh_lab.run_on("lb1", "nft delete table inet deaf")
    assert status.state is RunState.STOPPED
    assert await operator.in_rotation() == set(fresh_lab.nodes)
    assert (await operator.versions()) == {"app1": "v2", "app2": "v1", "app3": "v1", "app4": "v1"}


async def test_a_database_that_refuses_the_migration_stops_before_any_node(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given the table is another's, then expand fails, no node was touched, and the ledger holds nothing."""
    operator = Operator(fresh_lab, journal, attempts=2)
    theirs = "ALTER TABLE notes OWNER TO postgres; GRANT ALL ON notes TO app"
    operator.when("main/verify-snapshot", DONE, lambda: _psql(fresh_lab, theirs))
    status = await operator.run()
    assert stopped_at(status) == ["main/expand/001_notes_words"]
    assert operator.started("app1/drain") == 0
    _psql(fresh_lab, "ALTER TABLE notes OWNER TO app")
    assert upgraded(await operator.retry("main/expand/001_notes_words"))


async def test_a_long_transaction_holds_the_migration_and_nobody_else(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given a transaction held open on the table, then expand gives up in time, again and again, until it ends."""
    operator = Operator(fresh_lab, journal)
    with psycopg.connect(**_conninfo(fresh_lab)) as holder:
        holder.execute("SELECT count(*) FROM notes")
        operator.when("main/expand/001_notes_words", StepState.PENDING, holder.rollback)
        status = await operator.run()
    assert upgraded(status)
    assert operator.started("main/expand/001_notes_words") >= 2


async def test_a_full_disk_on_a_node_stops_the_staging(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given app4's disk fills up while the release is staged, then no node has been touched, nor is half a release there."""
    operator = Operator(fresh_lab, journal)
    operator.when("app4/check", DONE, lambda: fresh_lab.cluster.befall("app4", Fault.DISK))
    status = await operator.run()
    assert status.state is RunState.STOPPED
    assert {step.partition("/")[0] for step in stopped_at(status)} == {"app4"}
    assert operator.started("app1/drain") == 0
    assert fresh_lab.run_on("app4", "ls /opt/app/releases | grep -v partial").split() == ["v1"]
    fresh_lab.cluster.mend("app4")


async def test_a_full_disk_under_the_snapshots_stops_before_the_migration(
    fresh_lab: LabUnderTest, journal: Path
) -> None:
    """Given the database host's disk is full, then the run stops before any node is touched; with room it goes on."""
    operator = Operator(fresh_lab, journal)
    operator.when("app1/install", RUNNING, lambda: fresh_lab.cluster.befall("db1", Fault.DISK))
    status = await operator.run()
    fresh_lab.cluster.mend("db1")
    assert all(step.startswith("main/") for step in stopped_at(status))
    assert operator.started("app1/drain") == 0
    assert upgraded(await operator.retry(stopped_at(status)[0]))


async def test_a_full_disk_under_the_journal_loses_nothing(fresh_lab: LabUnderTest, small_disk: Path) -> None:
    """Given the journal cannot be written any more, then nothing more is launched; with room it is taken up."""
    operator = Operator(fresh_lab, small_disk / "journal.db")
    ballast = small_disk / "ballast"

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()

    operator.when("app2/drain", DONE, fill)
    with pytest.raises(JournalError):
        await operator.run()
    assert len(await operator.in_rotation()) >= 3
    ballast.unlink()
    # The lease could not be given up on a full disk, and its owner, this process, still lives.
    while (await operator.conductor.journal.runs())[0].conducted:
        await asyncio.sleep(0.1)
    assert upgraded(await operator.resume())
    assert operator.started("app1/switch") == 1


async def test_a_lost_admin_state_is_noticed(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given the balancer forgets the drain while sessions go on, then the node is drained again before it is stopped."""
    operator = Operator(fresh_lab, journal, limits={"drain": 30.0})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
        async with visitor.post(f"{fresh_lab.url}/login") as answer:
            node = (await answer.json())["node"]
        keeping = asyncio.create_task(_keep(visitor, f"{fresh_lab.url}/session"))
        running = asyncio.create_task(operator.run())
        while operator.started(f"{node}/out") == 0:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(_haproxy, fresh_lab, f"set server app/{node} state ready")
        while (await operator.pool())[node].admin not in OUT:
            await asyncio.sleep(0.05)
        assert not keeping.done()
        keeping.cancel()
        async with visitor.post(f"{fresh_lab.url}/logout") as answer:
            assert answer.status == 200
        assert upgraded(await running)


async def test_within_the_failure_budget_a_node_is_set_aside(fresh_lab: LabUnderTest, journal: Path) -> None:
    """Given one node may fail, then the others are upgraded, it stays out, and finalize is refused until it is addressed."""
    operator = Operator(
        fresh_lab,
        journal,
        limits={"timeouts": {"health": 3.0}},
        budgets=Budgets(batch=1, total=1, consecutive=1),
        keep_serving=2,
    )
    operator.when("app2/stop", DONE, lambda: fresh_lab.set_fault("app2", "fail-health-after", "0"))
    status = await operator.run()
    assert upgraded(status)
    assert await operator.in_rotation() == {"app1", "app3", "app4"}
    assert status.steps["app2/enter"].set_aside
    assert (await operator.finalize()).state is RunState.WAITING
    refused = await operator.conductor.send(Verb.APPROVE, actor="test", step="finalize/approve")
    assert "app2/health" in refused.answer or refused.outcome == ""
    fresh_lab.set_fault("app2", "fail-health-after", None)
    assert upgraded(await operator.retry("app2/health"))
    assert await operator.in_rotation() == set(fresh_lab.nodes)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one and a half MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


async def _keep(visitor: aiohttp.ClientSession, url: str) -> None:
    """Go on with the session until it is refused."""
    while True:
        async with visitor.get(url) as answer:
            if answer.status != 200:
                return
        await asyncio.sleep(0.05)


def _conninfo(lab: LabUnderTest) -> dict[str, Any]:
    access: dict[str, Any] = dict(lab.credentials)
    access.pop("kind", None)
    access["dbname"] = access.pop("name")
    return access


def _haproxy(lab: LabUnderTest, command: str) -> str:
    return lab.run_on("lb1", f"echo '{command}' | socat - /run/haproxy/admin.sock")


def _psql(lab: LabUnderTest, statement: str) -> str:
    return lab.run_on(
        "db1", f"runuser -u postgres -- psql --quiet -v ON_ERROR_STOP=1 -d app -c {json.dumps(statement)}"
    )
