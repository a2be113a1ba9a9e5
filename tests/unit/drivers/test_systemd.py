"""What systemd is told, to the exact string, and what it prints."""

import pytest

from changeover.drivers import systemd
from changeover.drivers.systemd import UnitState

SHOW = "systemctl show --property=LoadState,ActiveState,SubState,MainPID,NRestarts,Result,ExecMainStatus -- app.service"


def test_the_lines() -> None:
    """When it fails, the end of the log goes with the status of the failure."""
    assert systemd.show("app.service") == SHOW
    assert systemd.tell("stop", "app.service") == (
        "systemctl stop -- app.service || { status=$?; journalctl --unit=app.service --lines=5 --no-pager "
        f"--output=cat >&2; exit $status; }}; {SHOW}"
    )
    assert systemd.tell("start", "app.service").startswith(
        "systemctl reset-failed -- app.service 2>/dev/null; systemctl start -- app.service || "
    )
    assert "-- 'x; id'" in systemd.tell("stop", "x; id")


@pytest.mark.parametrize(
    ("active", "sub", "running"),
    [
        ("active", "running", True),
        ("active", "exited", True),
        ("reloading", "reload", True),
        ("activating", "start", True),
        ("deactivating", "stop-sigterm", True),
        ("activating", "auto-restart", False),
        ("inactive", "dead", False),
        ("failed", "failed", False),
        ("", "", False),
    ],
)
def test_running_is_whatever_has_processes(active: str, sub: str, running: bool) -> None:
    """One that is still stopping runs; one between two restarts does not."""
    assert UnitState({"ActiveState": active, "SubState": sub}).running is running


def test_the_state_in_words() -> None:
    """With the process, how it ended, and how often systemd started it again."""
    text = "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=411\nNRestarts=2\nResult=success\nExecMainStatus=0\n"
    state = UnitState.parse(text)
    assert state.loaded
    assert str(state) == "active (running), process 411, restarted by systemd 2 times"
