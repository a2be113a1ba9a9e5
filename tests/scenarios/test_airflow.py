"""The Airflow example, run as its README says: an application that nobody here wrote, there, and back from there.

One lab serves all: back from the canary, back from the end, then there to stay. The tests stand in that order.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from changeover.lab import operations
from changeover.lab.cluster import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "airflow"
CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
NODES = ("app1", "app2", "app3")
OUTAGE = "back/outage/approve"
SERVED_BY_NOBODY = ("back-leave", "back-expand", "back-return")
REFUSED = 2


@dataclass(frozen=True)
class Airflow:
    """The site of the example, and what can be done with it and asked about it."""

    cluster: Cluster

    def on(self, host: str, script: str) -> str:
        """What a shell script prints that runs as root on a host; an exit status other than 0 is an error."""
        return self.cluster.world.run_on(host, ["sh", "-ec", script]).strip()

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """What becomes of a command in the lab's network."""
        line = [CHANGEOVER, "lab", "exec", "--name", self.cluster.layout.name, "--", *command]
        path = os.pathsep.join((str(Path(CHANGEOVER).parent), os.environ["PATH"]))
        return subprocess.run(
            line,
            env=os.environ | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def upgrade(self, *arguments: str) -> "Receipt":
        """The operator's script, and the receipt of what it did. It ends with an error where more was lost than may be."""
        done = self.inside(str(EXAMPLE / "upgrade"), *arguments)
        assert done.returncode == 0, done.stdout
        return self.receipt()

    def receipt(self) -> "Receipt":
        """Of the latest run."""
        environment = os.environ | {"CHANGEOVER_LAB_DIRECTORY": str(self.cluster.directory.path)}
        line = [CHANGEOVER, "report", "--file", str(EXAMPLE / "changeover.yaml"), "--json"]
        answer = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        return Receipt(json.loads(answer))


@dataclass(frozen=True)
class Receipt:
    """A run's report, as `changeover report --json` gives it."""

    report: dict[str, Any]

    def lost(self) -> list[int]:
        """Requests failed, sessions cut, writes lost, by clients that were at work from before it until after it."""
        total = self.report["total"]
        assert total["sent"] > 100
        assert total["acknowledged"] > 20
        return [total[what]["seen"] for what in ("requests", "sessions", "writes")]

    def began(self) -> list[str]:
        """The steps that began, in the order in which they did."""
        steps = [step for stage in self.report["stages"] for step in stage["steps"] if step.get("attempts")]
        return [step["id"] for step in sorted(steps, key=lambda step: step["attempts"][0]["started"])]

    def approved(self) -> list[str]:
        """The gates that a person has opened."""
        return [taken["step"] for taken in self.report["decisions"] if taken["command"] == "approve"]


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    """The example has fallen back from its canary; its lab is taken down at the end."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    name = f"airflow-{os.getpid()}"
    try:
        done = subprocess.run(
            [str(EXAMPLE / "run"), "--keep", "--fall-back-at", "canary"],
            env=os.environ | {"CHANGEOVER_LAB": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        cluster = operations.find(name)
        assert isinstance(cluster, Cluster)
        yield Airflow(cluster)
    finally:
        operations.down(name)


def test_the_way_back_from_the_canary_costs_nothing(airflow: Airflow) -> None:
    """While old nodes that were never restarted carry the load, nobody is asked, and nothing is lost there and back."""
    receipt = airflow.receipt()
    assert receipt.report["state"] == "fell back"
    assert receipt.lost() == [0, 0, 0]
    assert not receipt.approved()


def test_the_schema_goes_back_before_an_old_node_starts_and_by_the_new_release(airflow: Airflow) -> None:
    """The canary has stopped, the new release takes the schema back, the canary starts, and the release is removed."""
    began = [step for step in airflow.receipt().began() if step.startswith("back/")]
    ordered = ["back/app1/stop", "back/main/expand/migrate", "back/app1/start", "back/app1/uninstall"]
    assert [step for step in began if step in ordered] == ordered
    assert not [step for step in began if step.startswith("back/app2/") and not step.endswith("uninstall")]


def test_a_way_back_that_would_start_old_nodes_on_the_new_schema_is_refused(
    airflow: Airflow, tmp_path: Path
) -> None:
    """Where the schema is to stay while the nodes go back, there is no plan: the old release cannot start on it."""
    text = (EXAMPLE / "changeover.yaml").read_text()
    file = tmp_path / "changeover.yaml"
    file.write_text(text.replace("  migrations:\n", "  fallback: {stages: {expand: keep}}\n  migrations:\n"))
    done = airflow.inside(CHANGEOVER, "plan", "--file", str(file))
    assert done.returncode == REFUSED, done.stdout
    assert "3.0.6 cannot be started on the new schema" in done.stdout


def test_the_way_back_from_the_end_is_an_outage_that_a_person_agrees_to(airflow: Airflow) -> None:
    """All nodes are new: requests fail while it lasts and only then, and no acknowledged write is lost."""
    receipt = airflow.upgrade("--fall-back-at", "verify")
    assert receipt.report["state"] == "fell back"
    assert receipt.approved() == [OUTAGE]
    requests, _, writes = receipt.lost()
    assert requests > 0
    assert writes == 0
    free = [stage for stage in receipt.report["stages"] if stage["name"] not in SERVED_BY_NOBODY]
    assert sum(stage["cost"]["requests"]["seen"] for stage in free if stage.get("cost")) == 0


@pytest.fixture(scope="module")
def upgraded(airflow: Airflow) -> Receipt:
    """The receipt of an upgrade that stays."""
    return airflow.upgrade()


def test_nothing_was_lost(upgraded: Receipt) -> None:
    """Clients stored variables and pools and fetched tokens all the time: no request, session or write was lost."""
    assert upgraded.report["state"] == "done"
    assert upgraded.lost() == [0, 0, 0]


@pytest.mark.usefixtures("upgraded")
def test_every_node_runs_the_new_release_and_the_old_one_is_gone(airflow: Airflow) -> None:
    """What the processes were started from says so, and finalize has removed the rest."""
    for node in NODES:
        running = 'readlink "/proc/$(systemctl show --value --property=MainPID airflow)/cwd"'
        assert airflow.on(node, running) == "/opt/airflow/releases/3.3.2"
        assert airflow.on(node, "ls /opt/airflow/releases") == "3.3.2"


@pytest.mark.usefixtures("upgraded")
def test_the_schema_is_that_of_the_new_release(airflow: Airflow) -> None:
    """Airflow itself says that no migration is due."""
    check = "/opt/airflow/current/bin/airflow db check-migrations --migration-wait-timeout 1"
    airflow.on("app1", f"set -a; . /etc/airflow/airflow.env; runuser -u airflow -- {check}")


@pytest.mark.usefixtures("upgraded")
def test_an_old_node_started_by_hand_on_the_new_schema_refuses(airflow: Airflow) -> None:
    """That is why the plan never does it: Airflow's own check is on, and ends it."""
    said = airflow.on(
        "app3",
        """
        mkdir /tmp/old
        tar -xzf /srv/releases/airflow-3.0.6.tar.gz -C /tmp/old
        set -a
        . /etc/airflow/airflow.env
        cd /tmp/old
        timeout 120 runuser -u airflow -- bin/airflow api-server --port 8099 --workers 1 2>&1 || echo "status $?"
        """,
    )
    assert said.endswith("status 1")
    assert "You need to migrate the database" in said
