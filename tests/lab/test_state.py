"""What a lab keeps on disk, and who may touch it when."""

import subprocess
import sys
from pathlib import Path

import pytest

from changeover.lab import LabError, Layout, down, find
from changeover.lab.directory import Directory, make_key, names
from changeover.lab.layout import Form
from changeover.lab.lock import hold
from changeover.lab.paths import cache_dir, labs_dir
from changeover.lab.programs import missing


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Labs of these tests are in a directory of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CHANGEOVER_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_nothing_is_written_elsewhere(own_state: Path) -> None:
    """State and cache are where the environment says."""
    assert labs_dir() == own_state / "state" / "changeover" / "labs"
    assert cache_dir() == own_state / "cache"


def test_secrets_are_readable_by_their_owner_only() -> None:
    """Passwords and the operator's key are private files in a private directory."""
    directory = Directory("x")
    directory.create(Layout(name="x"))
    make_key(directory.key, "operator")
    secret = [directory.database_password, directory.sudo_password, directory.key]
    assert [path.stat().st_mode & 0o777 for path in secret] == [0o600] * 3
    assert directory.path.stat().st_mode & 0o777 == 0o700


def test_keys_and_passwords_stay_when_a_lab_is_completed() -> None:
    """Completing a half-made lab does not change what its hosts know already."""
    directory = Directory("x")
    directory.create(Layout(name="x"))
    make_key(directory.key, "operator")
    before = (directory.database_password.read_text(), directory.key.read_text())
    directory.create(Layout(name="x"))
    make_key(directory.key, "operator")
    assert (directory.database_password.read_text(), directory.key.read_text()) == before


def test_labs_are_listed_until_they_are_removed() -> None:
    """A lab exists from its first file to its last."""
    directory = Directory("x")
    directory.create(Layout(name="x"))
    assert names() == ["x"]
    directory.remove()
    assert names() == []


def test_labs_of_different_owners_have_different_cgroups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two labs of one name in two state directories do not meet."""
    first = Directory("x").cgroup_name()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    assert Directory("x").cgroup_name() != first


def test_a_lab_that_is_not_there_is_refused_with_the_way_to_get_it() -> None:
    """Asking for a lab that is down says how to bring it up."""
    with pytest.raises(LabError, match="no lab 'x' is up") as error:
        find("x")
    assert "lab up" in error.value.hint


def test_taking_down_what_is_not_up_is_fine() -> None:
    """Nothing to do is not an error."""
    assert down("x") is False


def test_a_held_lab_says_who_holds_it(tmp_path: Path) -> None:
    """A second holder learns the first one's process, purpose and time."""
    program = (
        "import sys; from pathlib import Path; from changeover.lab.lock import hold\n"
        "with hold(Path(sys.argv[1]), 'lab x', 'bringing it up'):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        expected = rf"lab x is held by process {other.pid}, bringing it up, since \d\d:\d\d:\d\d UTC"
        with pytest.raises(LabError, match=expected), hold(tmp_path / "lock", "lab x", "taking it down"):
            pass
        other.communicate()
    with hold(tmp_path / "lock", "lab x", "taking it down"):
        assert "taking it down" in (tmp_path / "lock").read_text()


def test_missing_programs_are_named_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without any of the programs every package is named once."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert missing(Form.EMBEDDED) == ["util-linux"]
