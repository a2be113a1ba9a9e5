"""Labs come up, exclude each other by name, and leave nothing behind, however they end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from changeover.lab import DatabaseKind, LabError, Layout, down, find, up
from changeover.lab.cgroup import wait_until
from changeover.lab.cluster import Cluster
from tests.labkit import traces

pytestmark = pytest.mark.lab
CLI = [sys.executable, "-m", "changeover.lab"]


@pytest.fixture
def name() -> Iterator[str]:
    """A name for one lab of one test, which is taken down at the end in any case."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    name = f"life-{os.getpid()}"
    yield name
    down(name)


def small(name: str, **others: object) -> Layout:
    """Return the layout of a lab of three hosts."""
    return Layout(name=name, nodes=1, startup_seconds=0.1, **others)  # type: ignore[arg-type]


def test_a_lab_leaves_nothing(name: str) -> None:
    """Traces are found while it is up, and none when it is down."""
    up(small(name))
    assert len(traces(name)) > 3
    assert down(name)
    assert traces(name) == []


def test_bringing_up_what_is_up_changes_nothing(name: str) -> None:
    """The same processes run afterwards; another layout is refused."""
    first = up(small(name))
    assert isinstance(first, Cluster)
    before = [first.world.host_pid(host) for host in ("lb1", "db1", "app1")]
    up(small(name))
    assert [first.world.host_pid(host) for host in ("lb1", "db1", "app1")] == before
    with pytest.raises(LabError, match="another layout"):
        up(small(name, release="v2", database=DatabaseKind.NONE))


def test_a_half_lab_is_completed(name: str) -> None:
    """A lab whose balancer was cut off is whole after another `up`."""
    lab = up(small(name))
    assert isinstance(lab, Cluster)
    lab.world.cut_power("lb1")
    up(small(name))
    assert lab.world.host_pid("lb1") is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_cleans_up(name: str, number: signal.Signals) -> None:
    """Ctrl-C while the hosts boot, and again while that is cleaned up, ends with 130 and leaves nothing."""
    # Where the tests run in the background of a script, SIGINT is ignored, and children inherit that.
    command = ["env", "--default-signal=INT", *CLI, "up", "--name", name, "--nodes", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as conductor:
        lab = Cluster(name)
        wait_until(lambda: lab.world.host_pid("app1") is not None, 60, "the hosts to boot")
        until_it_ends(conductor, number)
        assert conductor.stderr
        said = conductor.stderr.read()
    assert conductor.returncode == 130
    assert b"Traceback" not in said
    assert traces(name) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_taking_down_goes_on_when_it_is_interrupted(name: str, number: signal.Signals) -> None:
    """Once it has the lab, Ctrl-C again and again does not keep `down` from its end."""
    up(small(name))
    lock = Cluster(name).directory.path.with_name(f"{name}.lock")
    with subprocess.Popen(["env", "--default-signal=INT", *CLI, "down", "--name", name]) as conductor:
        wait_until(lambda: "taking it down" in lock.read_text(), 60, "it to have the lab")
        until_it_ends(conductor, number)
    assert conductor.returncode == 0
    assert traces(name) == []


def until_it_ends(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a process a signal again and again."""
    while process.poll() is None:
        process.send_signal(number)
        time.sleep(0.02)


def test_a_killed_start_can_be_taken_down(name: str) -> None:
    """Whoever brought the lab up may vanish: what is there is found and ended."""
    with subprocess.Popen(
        [*CLI, "up", "--name", name, "--nodes", "1"], stderr=subprocess.DEVNULL
    ) as conductor:
        lab = Cluster(name)
        wait_until(lambda: lab.world.host_pid("app1") is not None, 60, "the hosts to boot")
        conductor.kill()
    assert traces(name) != []
    assert down(name)
    assert traces(name) == []


def test_a_second_start_is_told_of_the_first(name: str) -> None:
    """Two at once: one brings the lab up, the other is refused with who holds it."""
    with Cluster(name).directory.locked("bringing it up"):
        done = subprocess.run([*CLI, "up", "--name", name], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: lab {name} is held by process {os.getpid()}, bringing it up, since " in done.stderr


def test_the_application_keeps_its_notes_in_mariadb(name: str) -> None:
    """A lab on MariaDB stores a note, and a reset leaves none."""
    up(small(name, database=DatabaseKind.MARIADB))
    lab = find(name)
    assert isinstance(lab, Cluster)
    post = """curl -sS -o /dev/null -w '%{http_code}' -d '{"id": "n1", "body": "x"}' app1:8000/notes"""
    assert lab.world.run_on("app1", ["sh", "-c", post]) == "201"
    lab.reset()
    assert lab.world.run_on("app1", ["curl", "-sS", "app1:8000/notes/n1"]) == '{"error": "no such note"}'


def test_a_command_runs_in_the_labs_network(name: str) -> None:
    """`exec` gives a command the lab's network and name, and returns its exit status."""
    up(small(name))
    script = "curl -sf -o /dev/null http://10.77.0.11 && test $CHANGEOVER_LAB = $0 && exit 7"
    command = [*CLI, "exec", "--name", name, "--", "sh", "-c", script, name]
    assert subprocess.run(command, check=False).returncode == 7
