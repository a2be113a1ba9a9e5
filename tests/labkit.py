"""The lab for tests: booted once per session, entered by each test that asks for it.

Use: `pytest_plugins = ["tests.labkit"]`, or import the fixtures, and mark the test `lab`.

    lab_session   the booted lab; the test stays in its own network
    lab           the same, with the test inside the lab's network: 10.77.0.11 is reachable by plain sockets
    fresh_lab     the same, put back to v1, an empty database and a full pool before the test

`booted(layout)` and `inside(lab)` are what they are made of, for the lab of another application.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from changeover.lab import operations
from changeover.lab.cgroup import unified_root
from changeover.lab.cluster import Cluster
from changeover.lab.inside import enter_network
from changeover.lab.layout import Layout
from changeover.lab.world import World


class LabUnderTest:
    """What a test wants to know of a running lab."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world: World = cluster.world
        self.layout = cluster.layout
        self.site = cluster.site()
        self.addresses = {member.name: member.address for member in self.layout.members()}
        self.nodes = [member.name for member in self.layout.apps()]
        self.key: Path = cluster.directory.key
        self.known_hosts: Path = cluster.directory.known_hosts
        self.url: str = self.site.get("balancer", {}).get("url", "")

    @property
    def credentials(self) -> dict[str, str | int]:
        """How the application reaches its database, password included."""
        values: dict[str, str | int] = json.loads(self.cluster.directory.credentials.read_text())
        return values

    def run_on(self, host: str, script: str) -> str:
        """Run a shell script as root on a host, past its SSH, and return what it printed."""
        return self.world.run_on(host, ["sh", "-ec", script])

    def set_fault(self, node: str, fault: str, value: str | None = "") -> None:
        """Switch a fault of the application on with `value`, or off with None."""
        path = f"{self.site['application']['faults']}/{fault}"
        self.run_on(node, f"rm -f {path}" if value is None else f"printf %s '{value}' >{path}")


@contextmanager
def booted(layout: Layout) -> Iterator[LabUnderTest]:
    """A lab of hosts, down at the end; without root the test is skipped."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    cluster = operations.up(layout)
    assert isinstance(cluster, Cluster)
    try:
        yield LabUnderTest(cluster)
    finally:
        operations.down(layout.name)


@contextmanager
def inside(lab: LabUnderTest) -> Iterator[LabUnderTest]:
    """This thread, and those it starts, are in the lab's network until the end of the block."""
    own = Path("/proc/thread-self/ns/net")
    with own.open("rb") as outside:
        enter_network(lab.world.network())
        try:
            yield lab
        finally:
            enter_network(Path(f"/proc/self/fd/{outside.fileno()}"))


@pytest.fixture(scope="session")
def lab_session() -> Iterator[LabUnderTest]:
    """A lab of four nodes that start in 0.3 s, of a name no other test run has; down at the end."""
    with booted(Layout(name=f"test-{os.getpid()}", startup_seconds=0.3, session_idle_seconds=5)) as lab:
        yield lab


@pytest.fixture
def lab(lab_session: LabUnderTest) -> Iterator[LabUnderTest]:
    """The session's lab, with this thread and those it starts inside its network until the test ends."""
    with inside(lab_session):
        yield lab_session


@pytest.fixture
def fresh_lab(lab: LabUnderTest) -> LabUnderTest:
    """The session's lab as it was at first: release v1, no faults, empty database, every node in rotation."""
    lab.cluster.reset()
    return lab


def traces(name: str) -> list[str]:
    """Return what there is of a lab on this machine: cgroups, processes, mounts, loop devices, files."""
    root = unified_root()
    assert root is not None
    mark = f"labs/{name}/"
    found = [str(path) for path in root.glob(f"changeover-lab-{name}-*")]
    for pid in (entry for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            if mark in (pid / "cmdline").read_text() or mark in (pid / "mountinfo").read_text():
                found.append(str(pid))
        except OSError:
            continue
    loops = subprocess.run(
        ["losetup", "--list", "--noheadings"], capture_output=True, text=True, check=True
    ).stdout
    found += [line for line in loops.splitlines() if mark in line]
    return found + [str(path) for path in Cluster(name).directory.path.parent.glob(name)]
