"""What befalls a host, what others see of it, and that it can be mended."""

import socket

import httpx
import pytest

from changeover.lab import Fault, LabError
from changeover.lab.cgroup import wait_until
from tests.labkit import LabUnderTest

pytestmark = pytest.mark.lab


def down(lab: LabUnderTest, server: str) -> bool:
    """Whether the balancer has noticed that a server does not answer."""
    rows = httpx.get(f"{lab.site['balancer']['stats']};csv").text.splitlines()
    return any(
        row.split(",")[1] == server and row.split(",")[17].startswith("DOWN") for row in rows[1:] if row
    )


def ask(address: str) -> None:
    """Send a request to a node; a frozen host's kernel still accepts it, and nobody answers."""
    with socket.create_connection((address, 8000), timeout=0.5) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        connection.recv(1)


@pytest.mark.parametrize("fault", [Fault.POWER, Fault.FREEZE, Fault.LINK])
def test_a_host_that_is_gone_is_noticed_and_comes_back(lab: LabUnderTest, fault: Fault) -> None:
    """The balancer sees the node down, clients are served by the others, and mending brings it back."""
    lab.run_on("app2", "echo kept >/root/kept; sync")
    lab.cluster.befall("app2", fault)
    try:
        wait_until(lambda: down(lab, "app2"), 30, "the balancer to notice")
        assert httpx.get(lab.url).status_code == 200
        with pytest.raises(OSError, match=r"timed out|No route"):
            ask(lab.addresses["app2"])
    finally:
        lab.cluster.mend("app2")
    lab.cluster.wait_ready()
    assert lab.run_on("app2", "cat /root/kept") == "kept\n"


def test_a_host_without_power_runs_nothing(lab: LabUnderTest) -> None:
    """After a power cut no process of the host is left, and nothing can be asked of it."""
    lab.cluster.befall("app2", Fault.POWER)
    try:
        assert not lab.world.host_cgroup("app2").exists()
        with pytest.raises(LabError, match="app2 has no power"):
            lab.run_on("app2", "true")
    finally:
        lab.cluster.mend("app2")


def test_a_full_disk_takes_nothing_more(lab: LabUnderTest) -> None:
    """Writing fails with ENOSPC on that host alone, until it is mended."""
    lab.cluster.befall("app2", Fault.DISK)
    try:
        with pytest.raises(LabError, match="No space left on device"):
            lab.run_on("app2", "dd if=/dev/zero of=/opt/app/x count=1")
        lab.run_on("app1", "echo x >/opt/app/x; rm /opt/app/x")
    finally:
        lab.cluster.mend("app2")
    lab.run_on("app2", "echo x >/opt/app/x; rm /opt/app/x")


def test_acknowledged_notes_survive_a_power_cut_of_the_database(fresh_lab: LabUnderTest) -> None:
    """What was answered 201 is there after the database's host has lost its power."""
    for number in range(20):
        assert httpx.post(f"{fresh_lab.url}/notes", json={"id": number, "body": "x"}).status_code == 201
    fresh_lab.cluster.befall("db1", Fault.POWER)
    fresh_lab.cluster.mend("db1")
    answer = httpx.post(f"{fresh_lab.url}/notes/exists", json={"ids": list(range(20))}, timeout=10)
    assert answer.json() == {"missing": []}


def test_an_unknown_host_cannot_be_broken(lab: LabUnderTest) -> None:
    """A mistyped host is refused."""
    with pytest.raises(LabError, match="no host 'app9'"):
        lab.cluster.befall("app9", Fault.POWER)
