"""The Airflow example, run as its README says: an application that nobody here wrote."""

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
CLIENTS = ("variables", "pools")


@dataclass(frozen=True)
class Upgraded:
    """The site after `run`, and what there is to ask about it."""

    cluster: Cluster

    def on(self, host: str, script: str) -> str:
        """What a shell script prints that runs as root on a host; an exit status other than 0 is an error."""
        return self.cluster.world.run_on(host, ["sh", "-ec", script]).strip()

    def ask(self, *arguments: str) -> Any:
        """What a command answers with `--json`."""
        environment = os.environ | {"CHANGEOVER_LAB_DIRECTORY": str(self.cluster.directory.path)}
        line = [CHANGEOVER, *arguments, "--json"]
        answer = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        return json.loads(answer)


@pytest.fixture(scope="module")
def upgraded() -> Iterator[Upgraded]:
    """The example has run; its lab is taken down at the end."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    name = f"airflow-{os.getpid()}"
    try:
        done = subprocess.run(
            [str(EXAMPLE / "run"), "--keep"],
            env=os.environ | {"CHANGEOVER_LAB": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        cluster = operations.find(name)
        assert isinstance(cluster, Cluster)
        yield Upgraded(cluster)
    finally:
        operations.down(name)


def test_nothing_was_lost(upgraded: Upgraded) -> None:
    """Clients stored variables and pools and fetched tokens all the time: no request, session or write was lost."""
    report = upgraded.ask("report", "--file", str(EXAMPLE / "changeover.yaml"))
    total = report["total"]
    assert report["state"] == "done"
    assert [total[what]["seen"] for what in ("requests", "sessions", "writes")] == [0, 0, 0]
    assert total["sent"] > 100
    assert total["acknowledged"] > 20
    for clients in CLIENTS:
        ledger = upgraded.cluster.directory.path / "probes" / f"{clients}.jsonl"
        cost = upgraded.ask("probe", "show", str(ledger))
        lost = (cost["requests"]["failed"], cost["writes"]["missing"], cost["writes"]["unverified"])
        assert lost == (0, 0, 0)


def test_every_node_runs_the_new_release_and_the_old_one_is_gone(upgraded: Upgraded) -> None:
    """What the processes were started from says so, and finalize has removed the rest."""
    for node in NODES:
        running = 'readlink "/proc/$(systemctl show --value --property=MainPID airflow)/cwd"'
        assert upgraded.on(node, running) == "/opt/airflow/releases/3.3.2"
        assert upgraded.on(node, "ls /opt/airflow/releases") == "3.3.2"


def test_the_schema_is_that_of_the_new_release(upgraded: Upgraded) -> None:
    """Airflow itself says that no migration is due."""
    check = "/opt/airflow/current/bin/airflow db check-migrations --migration-wait-timeout 1"
    upgraded.on("app1", f"set -a; . /etc/airflow/airflow.env; runuser -u airflow -- {check}")
