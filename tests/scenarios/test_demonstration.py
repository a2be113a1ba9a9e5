"""The demonstration leaves nothing behind, whenever and however often it is interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from changeover.lab import down
from changeover.lab.cgroup import wait_until
from changeover.lab.cluster import Cluster
from tests.labkit import traces

pytestmark = [pytest.mark.lab, pytest.mark.slow]

DEMO = Path(__file__).parents[2] / "examples" / "rolling" / "demo.py"


@pytest.fixture
def name() -> Iterator[str]:
    """A name for the demonstration's lab, which is taken down at the end in any case."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    name = f"demo-{os.getpid()}"
    yield name
    down(name)


def booting(cluster: Cluster) -> bool:
    """The first host has power."""
    return cluster.world.host_pid("lb1") is not None


def under_load(cluster: Cluster) -> bool:
    """The probe sends."""
    ledger = cluster.directory.path / "probes" / "undisturbed.jsonl"
    return ledger.exists() and ledger.stat().st_size > 0


def upgrading(cluster: Cluster) -> bool:
    """The first node has the new release."""
    if cluster.world.host_pid("app1") is None:
        return False
    # A host that has not booted has no such link.
    return cluster.world.run_on("app1", ["sh", "-c", "readlink /opt/app/current || :"]) == "releases/v2\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", [booting, under_load, upgrading])
def test_an_interrupted_demonstration_leaves_nothing(
    name: str, moment: Callable[[Cluster], bool], number: signal.Signals
) -> None:
    """Interrupted at that moment, and again and again until it has ended: no process, mount, cgroup or file is left."""
    command = ["env", "--default-signal=INT", sys.executable, str(DEMO), "--name", name, "--nodes", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: moment(Cluster(name)), 120, "the moment")
        while process.poll() is None:
            process.send_signal(number)
            time.sleep(0.1)
        assert process.stderr
        complaint = process.stderr.read()
    assert process.returncode == 130, complaint
    assert "Traceback" not in complaint
    assert traces(name) == []
