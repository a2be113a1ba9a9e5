"""A process is told apart from every other."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from changeover.engine.owner import Owner


def test_this_process_is_here() -> None:
    """And says so in the words an operator would look for."""
    owner = Owner.current()
    assert owner.pid == os.getpid()
    assert not owner.gone()
    assert str(owner) == f"{owner.user}@{owner.host}, process {owner.pid}"


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"started": 1}, True),
        ({"boot": "another boot"}, False),
        ({"namespace": "pid:[1]"}, False),
        ({"boot": "", "namespace": ""}, False),
    ],
)
def test_gone_must_be_proved(change: dict[str, object], gone: bool) -> None:
    """Another start means another process; what runs elsewhere cannot be seen from here."""
    assert msgspec.structs.replace(Owner.current(), **change).gone() is gone


def test_a_process_that_ended_is_gone() -> None:
    """Even while its parent has not noticed."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
    owner = msgspec.structs.replace(Owner.current(), pid=child.pid, started=started)
    assert not owner.gone()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.gone()
    child.communicate()
    assert owner.gone()


@pytest.mark.parametrize("error", [None, PermissionError])
@pytest.mark.parametrize(("stat", "gone"), [(None, False), (("S", 1), False), (("S", 2), True)])
def test_a_process_that_may_not_be_seen_is_there(
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception] | None,
    stat: tuple[str, int] | None,
    gone: bool,
) -> None:
    """That it may not be signalled, or not even looked at, proves nothing; another start does."""

    def signal(pid: int, number: int) -> None:
        if error:
            raise error

    owner = msgspec.structs.replace(Owner.current(), started=1)
    monkeypatch.setattr("os.kill", signal)
    monkeypatch.setattr("changeover.engine.owner._stat", lambda pid: stat)
    assert owner.gone() is gone


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in many containers."""

    def no_name() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", no_name)
    assert Owner.current().user == str(os.getuid())
