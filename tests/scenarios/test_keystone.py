"""The Keystone example, run as its README says: an application that nobody here wrote."""

import json
import os
import re
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

EXAMPLE = Path(__file__).parents[2] / "examples" / "keystone"
CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
NODES = ("app1", "app2", "app3")
CLIENTS = ("users", "projects")
EXPAND = "main/expand/expand"
LOCK_TIMEOUT_MS = 1000


@dataclass(frozen=True)
class Upgraded:
    """The site after `run --long-transaction`, and what there is to read about it."""

    cluster: Cluster
    said: str

    def on(self, host: str, script: str) -> str:
        """What a shell script prints that runs as root on a host; an exit status other than 0 is an error."""
        return self.cluster.world.run_on(host, ["sh", "-ec", script]).strip()

    def ask(self, *arguments: str) -> Any:
        """What a command answers with `--json`."""
        return json.loads(self._asked(*arguments))

    def events(self, step: str) -> list[dict[str, Any]]:
        """What the journal says of a step."""
        said = self._asked("log", "--file", str(EXAMPLE / "changeover.yaml"), "--step", step)
        return [json.loads(line) for line in said.splitlines()]

    def _asked(self, *arguments: str) -> str:
        environment = os.environ | {"CHANGEOVER_LAB_DIRECTORY": str(self.cluster.directory.path)}
        line = [CHANGEOVER, *arguments, "--json"]
        return subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="module")
def upgraded() -> Iterator[Upgraded]:
    """The example has run, with a transaction held open on purpose; its lab is taken down at the end."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    name = f"keystone-{os.getpid()}"
    line = [str(EXAMPLE / "run"), "--long-transaction", "--keep"]
    try:
        done = subprocess.run(
            line,
            env=os.environ | {"CHANGEOVER_LAB": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        cluster = operations.find(name)
        assert isinstance(cluster, Cluster)
        yield Upgraded(cluster, done.stdout)
    finally:
        operations.down(name)


def test_nothing_was_lost(upgraded: Upgraded) -> None:
    """Clients made users and projects and fetched tokens all the time: no request, session or write was lost."""
    report = upgraded.ask("report", "--file", str(EXAMPLE / "changeover.yaml"))
    total = report["total"]
    assert report["state"] == "done"
    assert [total[what]["seen"] for what in ("requests", "sessions", "writes")] == [0, 0, 0]
    assert total["sent"] > 100
    assert total["acknowledged"] > 20
    for clients in CLIENTS:
        cost = upgraded.ask("probe", "show", str(_ledger(upgraded, clients)))
        assert (cost["requests"]["failed"], cost["writes"]["missing"], cost["writes"]["unverified"]) == (
            0,
            0,
            0,
        )


def test_every_node_runs_the_new_release_and_the_old_one_is_gone(upgraded: Upgraded) -> None:
    """What the processes were started from says so, and finalize has removed the rest."""
    for node in NODES:
        running = 'readlink "/proc/$(systemctl show --value --property=MainPID keystone)/cwd"'
        assert upgraded.on(node, running) == "/opt/keystone/releases/29.1.0"
        assert upgraded.on(node, "ls /opt/keystone/releases") == "29.1.0"


def test_the_schema_is_that_of_the_new_release(upgraded: Upgraded) -> None:
    """After finalize Keystone itself says that nothing is due: `db_sync --check` exits with 0."""
    upgraded.on("app1", "runuser -u keystone -- /opt/keystone/current/bin/keystone-manage db_sync --check")


def test_a_transaction_in_the_way_never_queues_the_site_behind_the_migration(upgraded: Upgraded) -> None:
    """Expand gave up waiting for its lock as often as it took, and nobody waited behind it for longer than that."""
    events = upgraded.events(EXPAND)
    gave_up = [event for event in events if "LockNotAvailable" in event.get("evidence", "")]
    assert len(gave_up) >= 2
    assert events[-1]["state"] == "done"
    waited = re.search(r"nobody waited for a lock longer than (\d+) ms", upgraded.said)
    assert waited
    assert int(waited[1]) < 2 * LOCK_TIMEOUT_MS
    begun, ended = _held(upgraded)
    for clients in CLIENTS:
        ledger = str(_ledger(upgraded, clients))
        cost = upgraded.ask("probe", "show", ledger, "--from", str(begun), "--to", str(ended))
        assert cost["requests"]["ok"] == cost["requests"]["sent"] > 0
        assert cost["latency"]["max"] < (ended - begun) / 2


def _ledger(upgraded: Upgraded, clients: str) -> Path:
    return upgraded.cluster.directory.path / "probes" / f"{clients}.jsonl"


def _held(upgraded: Upgraded) -> tuple[float, float]:
    begun, ended = (upgraded.cluster.directory.path / "long-transaction.log").read_text().split()
    return float(begun), float(ended)
