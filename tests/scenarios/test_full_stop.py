"""A full stop with a flush, of Courier: three nodes that send numbered messages all the time, and one lab for all of it.

What every scenario ends with is the account: no message lost, none doubled.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from changeover.engine.events import StepChanged, Verb
from changeover.engine.fold import RunStatus
from changeover.engine.journal import Journal
from changeover.errors import RefusedError
from changeover.lab import operations
from changeover.lab.cgroup import wait_until
from changeover.lab.cluster import Cluster
from changeover.model.release import Flush
from changeover.model.states import RunState, StepState
from tests.labkit import LabUnderTest, inside
from tests.scenarios.operator import Operator, stopped_at, upgraded

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "courier"
HOME = "/opt/courier/current"
EX_CONFIG = 78
SECONDS = 20.0
DONE = StepState.DONE
AGREE, CLEAN, RESUME = "full-stop/approve", "clean/approve", "resume/approve"
STALE = """
INSERT INTO storage_history (deployment, node, file, records, status_code) VALUES ('alerts', 'app9', '1-alerts', 7, 10)
"""
"""A log of a node that is no more: its flush makes no progress."""
NO_CAMPAIGN = "INSERT INTO message (deployment, number, node) VALUES ('winback', 0, 'app9')"
"""The second script of the migration fails at that; the first one is there by then."""


@dataclass(frozen=True)
class Courier:
    """The site, past every driver of ours."""

    lab: LabUnderTest

    def sql(self, statement: str) -> str:
        """What the database answers."""
        psql = (
            "su postgres -c 'psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 courier'"
        )
        return self.lab.run_on("db1", f"{psql} <<'SQL'\n{statement}\nSQL").strip()

    def account(self) -> dict[str, Any]:
        """What came of all messages so far."""
        account: dict[str, Any] = json.loads(self.lab.run_on("app1", f"python3 {HOME}/courier.py account"))
        return account

    def nothing_is_lost(self) -> None:
        """Messages go on being sent, every one has arrived, and none twice."""
        before = self.account()["messages"]
        wait_until(lambda: self.account()["messages"] > before, SECONDS, "new messages")
        account = self.account()
        assert (account["lost"], account["doubled"]) == ([], [])

    def running(self) -> set[str]:
        """The nodes that run."""
        state = "systemctl is-active courier.service || :"
        return {node for node in self.lab.nodes if self.lab.run_on(node, state).strip() == "active"}

    def configuration(self) -> dict[str, str]:
        """The digests of what an installation was told, on each node."""
        files = "sha256sum *.properties keys/*; stat --format '%n %a %U' *.properties keys keys/*"
        return {node: self.lab.run_on(node, f"cd {HOME}; {files}") for node in self.lab.nodes}


@dataclass(frozen=True)
class Example:
    """What the example has left: its lab, what it has printed, and its report."""

    lab: LabUnderTest
    said: str
    report: dict[str, Any]


@pytest.fixture(scope="module")
def example() -> Iterator[Example]:
    """The example with a stalled flush, run as its README says; its lab is the one of this module."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    name = f"courier-{os.getpid()}"
    try:
        line = [str(EXAMPLE / "run"), "--keep", "--stalled"]
        environment = os.environ | {"CHANGEOVER_LAB": name}
        done = subprocess.run(
            line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
        cluster = operations.find(name)
        assert isinstance(cluster, Cluster)
        environment["CHANGEOVER_LAB_DIRECTORY"] = str(cluster.directory.path)
        line = [CHANGEOVER, "report", "--file", str(EXAMPLE / "changeover.yaml"), "--json"]
        report = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        yield Example(LabUnderTest(cluster), done.stdout, json.loads(report))
    finally:
        operations.down(name)


@pytest.fixture
def courier(example: Example) -> Iterator[Courier]:
    """The site as at first: v1 on all nodes, sending; the sink empty."""
    example.lab.cluster.reset()
    with inside(example.lab):
        yield Courier(example.lab)


def test_the_example_loses_and_doubles_nothing(example: Example) -> None:
    """A flush that stalled is answered by ignoring exactly what was shown, every decision is on record, and v2 sends."""
    assert example.report["state"] == "done"
    accounts = [line for line in example.said.splitlines() if line.startswith('{"messages"')]
    assert [line.partition(', "unrecorded"')[0].partition(", ")[2] for line in accounts] == [
        '"lost": [], "doubled": []'
    ]
    told = [(it["command"], it["step"], it["reason"]) for it in example.report["decisions"]]
    assert ("retry with ignore", "alerts/flushed", "app9 was given up last year, its disk with it") in told
    gates = [AGREE, CLEAN, RESUME, "finalize/approve"]
    assert [step for command, step, _ in told if command == "approve"] == gates
    steps = {step["id"]: step for stage in example.report["stages"] for step in stage["steps"]}
    assert "ignored 1 row" in steps["alerts/flushed"]["evidence"]


def test_the_site_is_as_the_procedure_describes_it(courier: Courier) -> None:
    """A node that is killed is started by its watchdog, which only root may stop; a release starts on its own schema only."""
    lab = courier.lab
    process = "systemctl show --value --property=MainPID courier.service"
    killed = lab.run_on("app1", process)
    lab.run_on("app1", "systemctl kill --signal=KILL courier.service")
    wait_until(
        lambda: lab.run_on("app1", process) not in (killed, "0\n"), SECONDS, "the watchdog to start app1"
    )
    refused = lab.run_on("app1", "runuser -u app -- /etc/init.d/S80courier stop 2>&1 || echo $?")
    assert refused.split() == ["S80courier:", "must", "be", "run", "as", "root", "4"]
    lab.run_on("app1", "/etc/init.d/S80courier stop; systemctl stop courier.service")
    said = lab.run_on(
        "app1",
        f"""
        mkdir /opt/courier/releases/v2
        tar -xf /srv/releases/v2.tar -C /opt/courier/releases/v2
        cp --archive {HOME}/*.properties {HOME}/keys /opt/courier/releases/v2
        runuser -u app -- python3 /opt/courier/releases/v2/courier.py run 2>&1 || echo $?
        """,
    )
    assert said.splitlines() == ["ERROR release v2 needs schema 2, and the database has 1", str(EX_CONFIG)]
    lab.run_on("app1", "/etc/init.d/S80courier start")
    wait_until(lambda: courier.running() == set(lab.nodes), SECONDS, "app1 to run again")


def test_storage_that_is_cleaned_before_it_is_flushed_doubles_messages(courier: Courier) -> None:
    """The account tells it: that is what every scenario below is held against."""
    lab = courier.lab
    lab.run_on("app1", "/etc/init.d/S80courier stop; systemctl stop courier.service")
    assert int(lab.run_on("app1", f"python3 {HOME}/courier.py unflushed")) > 0
    lab.run_on("app1", f"python3 {HOME}/courier.py clean; /etc/init.d/S80courier start")
    wait_until(lambda: courier.account()["doubled"] != [], SECONDS, "doubled messages")


def conductor(courier: Courier, directory: Path) -> Operator:
    """An operator with little patience."""
    return Operator(courier.lab, directory / "journal.db", flush=Flush(stall=1.5, poll=0.2), attempts=2)


async def through(operator: Operator, *gates: str) -> RunStatus:
    """Run it through these gates, each of which it must wait at, to where it stops or waits next."""
    status = await operator.run()
    return await on_through(operator, status, *gates)


async def on_through(operator: Operator, status: RunStatus, *gates: str) -> RunStatus:
    """The same from where it waits now."""
    for gate in gates:
        waits(status, gate)
        await operator.conductor.send(Verb.APPROVE, actor="test", step=gate)
        status = await operator.resume()
    return status


def waits(status: RunStatus, gate: str) -> None:
    """It waits there, and nowhere else."""
    assert status.state is RunState.WAITING, (status.state, status.reason, status.steps_in(StepState.FAILED))
    assert status.steps_in(StepState.WAITING) == [gate]


async def test_happy(courier: Courier, tmp_path: Path) -> None:
    """Given agreement, then active deployments are flushed, nothing is lost or doubled, and every node has its own files."""
    operator, configuration = conductor(courier, tmp_path), courier.configuration()
    status = await through(operator, AGREE)
    waits(status, CLEAN)
    assert courier.running() == set()
    account = courier.account()
    assert account["messages"] > 0
    assert (account["lost"], account["doubled"], account["unrecorded"]) == ([], [], 0)
    flush = next(stage for stage in status.plan.stages if stage.name == "flush")
    assert flush.title == "Flush alerts, newsletter; inactive, and skipped: winback"
    assert operator.started("winback/flush") == 0
    assert upgraded(await on_through(operator, status, CLEAN, RESUME))
    assert set((await operator.versions()).values()) == {"v2"}
    assert courier.configuration() == configuration
    assert courier.sql("SELECT count(*) FROM deployment WHERE flush") == "0"
    courier.nothing_is_lost()
    assert (await operator.finalize()).state is RunState.DONE
    for node in courier.lab.nodes:
        assert courier.lab.run_on(node, "ls /opt/courier/releases; ls -A /var/lib/changeover/kept") == "v2\n"


def stale(courier: Courier) -> str:
    """What has become of the stale row."""
    return courier.sql("SELECT status_code FROM storage_history WHERE node = 'app9'")


async def stalled(courier: Courier, operator: Operator) -> RunStatus:
    """The run has stopped at a flush that makes no progress, with the row as evidence, and has ignored nothing."""
    courier.sql(STALE)
    status = await through(operator, AGREE)
    assert stopped_at(status) == ["alerts/flushed"]
    row = courier.sql("SELECT id FROM storage_history WHERE node = 'app9'")
    evidence = status.steps["alerts/flushed"].evidence
    assert f"row {row} alerts on app9: 1-alerts, status 10, 7 records" in evidence
    assert stale(courier) == "10"
    assert courier.running() == set(courier.lab.nodes)
    return status


async def test_a_stalled_flush_is_waited_for(courier: Courier, tmp_path: Path) -> None:
    """Given that somebody sees to the stale row, then a plain retry goes on, and ignores nothing."""
    operator = conductor(courier, tmp_path)
    await stalled(courier, operator)
    courier.sql("UPDATE storage_history SET status_code = 30 WHERE node = 'app9'")
    waits(await operator.retry("alerts/flushed"), CLEAN)
    assert stale(courier) == "30"


async def test_the_rows_of_a_stalled_flush_are_ignored(courier: Courier, tmp_path: Path) -> None:
    """Given that answer with a reason, then the rows that were shown are set to 40, and it is recorded who said so."""
    operator = conductor(courier, tmp_path)
    await stalled(courier, operator)
    send = operator.conductor.send
    with pytest.raises(RefusedError, match="needs a reason"):
        await send(Verb.RETRY, actor="kim", step="alerts/flushed", answer="ignore")
    await send(Verb.RETRY, actor="kim", step="alerts/flushed", answer="ignore", reason="app9 is no more")
    waits(await operator.resume(), CLEAN)
    assert stale(courier) == "40"
    assert courier.sql("SELECT count(*) FROM storage_history WHERE status_code = 40") == "1"
    [told] = [it for it in operator.events if isinstance(it, StepChanged) and it.answer]
    assert (told.step, told.answer, told.actor, told.reason) == (
        "alerts/flushed",
        "ignore",
        "kim",
        "app9 is no more",
    )


async def test_a_stalled_flush_is_fallen_back_from(courier: Courier, tmp_path: Path) -> None:
    """Given abort, then everything sends again, no node was stopped, the row is untouched, and nothing is lost."""
    operator = conductor(courier, tmp_path)
    await stalled(courier, operator)
    await operator.conductor.send(Verb.ABORT, actor="test", reason="not today")
    status = await operator.resume()
    assert status.state is RunState.FELL_BACK, (status.state, status.reason)
    assert [
        step for step in status.first_plan.steps() if operator.started(step.id) and step.id.endswith("/stop")
    ] == []
    assert stale(courier) == "10"
    assert courier.sql("SELECT count(*) FROM deployment WHERE flush") == "0"
    courier.nothing_is_lost()


async def test_qa_diagnostics_switched_on_between_check_and_stop(courier: Courier, tmp_path: Path) -> None:
    """Given that, then no node is stopped until somebody has switched them off."""
    operator = conductor(courier, tmp_path)
    setting = "UPDATE setting SET value = '{}' WHERE name = 'qa_diagnostic'"
    operator.when("alerts/flushed", DONE, lambda: courier.sql(setting.format("ON")))
    status = await through(operator, AGREE)
    assert stopped_at(status) == ["courier/expect-again"]
    assert "qa_diagnostic is ON, expected OFF" in status.steps["courier/expect-again"].evidence
    assert courier.running() == set(courier.lab.nodes)
    courier.sql(setting.format("OFF"))
    waits(await operator.retry("courier/expect-again"), CLEAN)
    assert courier.running() == set()


async def test_a_watchdog_that_is_alive_holds_everything(courier: Courier, tmp_path: Path) -> None:
    """Given one that cannot be stopped, and one that revives its node, then nothing goes on until both are dead."""
    operator, lab = conductor(courier, tmp_path), courier.lab
    lab.set_fault("app3", "monitor-survives")
    status = await through(operator, AGREE)
    assert stopped_at(status) == ["app3/watchdog-stop"]
    assert "app3" in courier.running()
    lab.set_fault("app3", "monitor-survives", None)
    operator.when("app3/stop", DONE, lambda: lab.run_on("app2", "/etc/init.d/S80courier start"))
    status = await operator.retry("app3/watchdog-stop")
    assert stopped_at(status) == ["app2/stopped"]
    assert "its watchdog runs and would start it again" in status.steps["app2/stopped"].evidence
    assert operator.started("main/snapshot") == 0
    lab.run_on("app2", "/etc/init.d/S80courier stop; systemctl stop courier.service")
    waits(await operator.retry("app2/stopped"), CLEAN)


async def test_storage_is_not_cleaned_while_a_node_runs(courier: Courier, tmp_path: Path) -> None:
    """Given a node that somebody has started at the gate, then nothing is removed anywhere until it is stopped."""
    operator, lab = conductor(courier, tmp_path), courier.lab

    def storage() -> list[str]:
        return [lab.run_on(node, "ls /var/lib/courier/storage") for node in lab.nodes]

    status = await through(operator, AGREE)
    before = storage()
    assert all(before)
    lab.run_on("app3", "systemctl start courier.service")
    status = await on_through(operator, status, CLEAN)
    assert status.state is RunState.STOPPED
    assert "app3" in status.reason
    assert storage() == before
    lab.run_on("app3", "systemctl stop courier.service")
    assert stopped_at(status) == ["app3/still-stopped"]
    waits(await operator.retry("app3/still-stopped"), RESUME)
    assert storage() == [""] * len(lab.nodes)


async def test_the_conductor_killed_in_mid_flush(courier: Courier, tmp_path: Path) -> None:
    """Given SIGKILL while records are outstanding, then the next conductor waits for the rest, and switches nothing on twice."""
    operator = conductor(courier, tmp_path)
    waits(await operator.run(), AGREE)
    await operator.conductor.send(Verb.APPROVE, actor="test", step=AGREE)
    for node in courier.lab.nodes:
        courier.lab.set_fault(node, "slow-storage", "400")
    async with Journal.open(tmp_path / "journal.db") as journal:
        [record] = await journal.runs()
        line = (CHANGEOVER, "resume", record.run, "--journal", str(tmp_path / "journal.db"))
        quiet = asyncio.subprocess.DEVNULL
        killed = await asyncio.create_subprocess_exec(*line, stdin=quiet, stdout=quiet, stderr=quiet)
        while set((await journal.status(record.run)).steps_in(StepState.RUNNING)) != {
            "alerts/flushed",
            "newsletter/flushed",
        }:
            assert killed.returncode is None
            await asyncio.sleep(0.05)
        os.kill(killed.pid, signal.SIGKILL)
        await killed.wait()
    assert int(courier.sql("SELECT sum(records) FROM storage_history WHERE status_code < 30")) > 0
    for node in courier.lab.nodes:
        courier.lab.set_fault(node, "slow-storage", None)
    status = await operator.resume()
    waits(status, CLEAN)
    assert [status.steps[f"{name}/flush"].attempt for name in ("alerts", "newsletter")] == [1, 1]
    assert [status.steps[f"{name}/flushed"].attempt for name in ("alerts", "newsletter")] == [2, 2]
    account = courier.account()
    assert (account["lost"], account["doubled"], account["unrecorded"]) == ([], [], 0)


async def test_a_migration_that_fails_is_fallen_back_from(courier: Courier, tmp_path: Path) -> None:
    """Given half a migration, then the snapshot is restored without a question, v1 sends on: none is lost, none doubled."""
    operator, lab = conductor(courier, tmp_path), courier.lab
    schema = "su postgres -c 'pg_dump --schema-only --exclude-table=changeover_migration courier' | grep -v '^.restrict\\|^.unrestrict'"
    before = courier.configuration(), lab.run_on("db1", schema)
    courier.sql(NO_CAMPAIGN)
    status = await through(operator, AGREE, CLEAN)
    assert stopped_at(status) == ["main/expand/002_message_campaign"]
    await operator.conductor.send(Verb.ABORT, actor="test", reason="the schema cannot be changed")
    status = await operator.resume()
    assert status.state is RunState.FELL_BACK, (
        status.state,
        status.reason,
        status.steps_in(StepState.FAILED),
    )
    assert operator.started("back/main/restore") == 1
    assert set((await operator.versions()).values()) == {"v1"}
    assert (courier.configuration(), lab.run_on("db1", schema)) == before
    for node in lab.nodes:
        assert lab.run_on(node, "ls /opt/courier/releases; /etc/init.d/S80courier status") == "v1\n"
    assert courier.sql("SELECT count(*) FROM deployment WHERE flush") == "0"
    courier.nothing_is_lost()
