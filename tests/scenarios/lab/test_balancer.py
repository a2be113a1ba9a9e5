"""The balancer's admin states, over a reload."""

import pytest

from tests.labkit import LabUnderTest

pytestmark = pytest.mark.lab

RUNTIME = "socat - UNIX-CONNECT:/run/haproxy/admin.sock"


# Reloading returns before the new process has the socket: it is done when another process answers there.
RELOAD = f"""
pid() {{ echo 'show info' | {RUNTIME} | grep ^Pid: || :; }}
old=$(pid)
systemctl reload haproxy
until new=$(pid); [ -n "$new" ] && [ "$new" != "$old" ]; do :; done
"""


def state(lab: LabUnderTest, server: str) -> str:
    """Return the administrative state of a server; 1 is maint, 8 is drain, 0 neither."""
    rows = lab.run_on("lb1", f"echo 'show servers state app' | {RUNTIME}").splitlines()[2:]
    return next(row.split()[6] for row in rows if row and row.split()[3] == server)


def test_drain_and_maint_outlive_a_reload(fresh_lab: LabUnderTest) -> None:
    """The unit saves the states before it reloads HAProxy, which reads them back."""
    commands = "set server app/app1 state drain; set server app/app2 state maint"
    fresh_lab.run_on("lb1", f"echo '{commands}' | {RUNTIME}\n{RELOAD}")
    assert [state(fresh_lab, name) for name in ("app1", "app2", "app3")] == ["8", "1", "0"]


def test_without_a_state_file_a_reload_forgets(fresh_lab: LabUnderTest) -> None:
    """With nothing loaded at start a drained server is in rotation again after a reload: the trap is real."""
    fresh_lab.run_on(
        "lb1", "sed -i /load-server-state-from-file/d /etc/haproxy/haproxy.cfg; systemctl restart haproxy"
    )
    fresh_lab.run_on("lb1", f"echo 'set server app/app1 state drain' | {RUNTIME}")
    assert state(fresh_lab, "app1") == "8"
    fresh_lab.run_on("lb1", RELOAD)
    assert state(fresh_lab, "app1") == "0"
