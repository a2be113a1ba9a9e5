"""What a host of the lab is, and what it is kept from."""

import subprocess

import httpx
import pytest

from changeover.lab import LabError
from tests.labkit import LabUnderTest

pytestmark = pytest.mark.lab


def ssh(lab: LabUnderTest, host: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a command over SSH as an operator does."""
    words = lab.cluster.host_command(host, [command])
    place = words.index("ssh") + 1
    return subprocess.run(
        [*words[:place], *options, *words[place:]], capture_output=True, text=True, check=False, timeout=30
    )


def test_a_host_runs_systemd(lab: LabUnderTest) -> None:
    """PID 1 is systemd, no unit has failed, and the host has its own name."""
    assert (
        lab.run_on("app1", "cat /proc/1/comm; uname -n; systemctl --failed --plain --no-legend")
        == "systemd\napp1\n"
    )


def test_hosts_have_identities_of_their_own(lab: LabUnderTest) -> None:
    """No two hosts share machine id or SSH host key."""
    identities = [
        lab.run_on(host, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub") for host in lab.addresses
    ]
    assert len(set(identities)) == len(identities)


def test_an_operator_logs_in_and_becomes_root(lab: LabUnderTest) -> None:
    """The key opens every host, whose key is known, and sudo asks nothing."""
    assert {host: ssh(lab, host, "sudo id -un").stdout for host in lab.addresses} == dict.fromkeys(
        lab.addresses, "root\n"
    )


def test_the_guarded_user_needs_a_password(lab: LabUnderTest) -> None:
    """Without the password the user *guarded* is refused by sudo, which takes it on stdin."""
    password = lab.cluster.directory.sudo_password.read_text()
    assert ssh(lab, "app1", "sudo -n id -un", "-l", "guarded").returncode != 0
    words = ["runuser", "-u", "guarded", "--", "sudo", "-S", "-k", "-p", "", "id", "-un"]
    assert lab.world.run_on("app1", words, stdin=f"{password}\n".encode()) == "root\n"


def test_a_host_behind_another_is_reached_by_jumping(lab: LabUnderTest) -> None:
    """With the operator's address refused at a host, SSH through the balancer's host still gets there."""
    lab.run_on("app2", "nft add table ip t; nft add chain ip t c '{ type filter hook input priority 0; }'")
    lab.run_on("app2", "nft add rule ip t c ip saddr 10.77.0.1 tcp dport 22 reject with tcp reset")
    try:
        assert ssh(lab, "app2", "uname -n").returncode == 255
        direct = lab.cluster.host_command("lb1", ["-W", "10.77.0.22:22"])
        direct = direct[direct.index("ssh") :]
        target, options = direct[-3], direct[1:-3]
        proxy = " ".join(["ssh", *options, "-W", "%h:%p", target])
        assert ssh(lab, "app2", "uname -n", "-o", f"ProxyCommand={proxy}").stdout == "app2\n"
    finally:
        lab.run_on("app2", "nft flush ruleset")


@pytest.mark.parametrize(
    "command",
    [
        "date -s 2001-01-01",
        "dmesg",
        "modprobe dummy",
        "sh -c 'echo 1 >/proc/sys/kernel/panic'",
        "touch /srv/releases/x",
    ],
)
def test_a_host_cannot_reach_the_machine(lab: LabUnderTest, command: str) -> None:
    """Clock, kernel log, modules and settings of the machine are out of reach of a host's root."""
    assert ssh(lab, "app1", f"sudo {command}").returncode != 0


def test_a_host_may_set_up_its_own_network(lab: LabUnderTest) -> None:
    """Settings below /proc/sys/net are the host's own."""
    assert ssh(lab, "app1", "sudo sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'").returncode == 0


def test_releases_lie_ready_on_every_host(lab: LabUnderTest) -> None:
    """Both archives are there to be unpacked."""
    assert ssh(lab, "app1", "tar -tf /srv/releases/v2.tar VERSION").stdout == "VERSION\n"


def test_a_client_reaches_the_application(fresh_lab: LabUnderTest) -> None:
    """A session sticks to its node through the balancer, and a note is stored."""
    with httpx.Client(base_url=fresh_lab.url) as client:
        node = client.get("/login").json()["node"]
        assert {client.get("/session").json()["node"] for _ in range(8)} == {node}
        assert client.post("/notes", json={"id": "n1", "body": "x"}).status_code == 201
        assert client.get("/notes/n1").json() == {"id": "n1", "body": "x"}


def test_a_failing_command_is_an_error(lab: LabUnderTest) -> None:
    """What a command said is in the error."""
    with pytest.raises(LabError, match="no such thing"):
        lab.run_on("app1", "echo no such thing >&2; exit 3")


@pytest.mark.parametrize(("fault", "state"), [("fail-start", "failed"), (None, "active")])
def test_systemd_gives_up_on_a_node_that_fails_to_start(
    fresh_lab: LabUnderTest, fault: str | None, state: str
) -> None:
    """The unit is tried three times and is then failed; without the fault it is active."""
    if fault:
        fresh_lab.set_fault("app1", fault)
    script = (
        "systemctl restart lab-app\n"
        "until systemctl show -p ActiveState --value lab-app | grep -qxE 'failed|active' &&"
        " { test ! -e /etc/app/faults/fail-start || systemctl is-failed -q lab-app; }; do :; done\n"
        "systemctl show -p ActiveState --value lab-app"
    )
    assert fresh_lab.run_on("app1", script) == f"{state}\n"
