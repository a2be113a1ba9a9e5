"""Courier's program without a cluster: its installation, its storage logs, and the sink."""

import hashlib
import hmac
import http.client
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from changeover.lab import DatabaseKind, Form, LabError, Layout
from changeover.lab.apps.courier import contents
from changeover.lab.apps.courier.program import courier, sink

EX_CONFIG = 78
KEY = "a key"


@dataclass(frozen=True)
class Installed:
    """A node's installation, and its storage."""

    home: Path
    storage: Path

    def call(self, command: str) -> subprocess.CompletedProcess[str]:
        """What becomes of a command of the program."""
        line = [sys.executable, str(self.home / "courier.py"), command]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    def log(self, name: str, records: int) -> None:
        """Put a storage log there."""
        (self.storage / name).write_text("".join(f"{number} 0.0\n" for number in range(1, records + 1)))


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """One of v1, told everything."""
    home, storage = tmp_path / "home", tmp_path / "storage"
    for path, data in contents("v1").items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(data)
    storage.mkdir()
    told = {
        "node": "app1",
        "address": "127.0.0.1",
        "port": "0",
        "storage": storage,
        "faults": tmp_path / "faults",
        "sink": "127.0.0.1:1",
        "pace": "0.1",
        "startup": "0",
    }
    (home / "install.properties").write_text("".join(f"{key} = {value}\n" for key, value in told.items()))
    (home / "database.properties").write_text("host = 127.0.0.1\n")
    (home / "crypto.properties").write_text("algorithm = sha256\nkey = keys/courier.key\n")
    (home / "keys").mkdir()
    (home / "keys" / "courier.key").write_text(KEY)
    return Installed(home, storage)


def test_only_v2_has_migrations() -> None:
    """v2 brings the way from v1's schema; each release brings empty properties, to be put back by an upgrade."""
    properties = ["crypto.properties", "database.properties", "install.properties"]
    assert sorted(contents("v1")) == ["VERSION", "courier.py", *properties, "schema.sql"]
    assert sorted(set(contents("v2")) - set(contents("v1"))) == [
        "migrations/001_storage_history_written.sql",
        "migrations/002_message_campaign.sql",
    ]


def test_what_is_not_worked_off_is_unflushed(installed: Installed) -> None:
    """Open and closed logs count, by their records; those that were worked off do not."""
    installed.log("1-alerts.done", 20)
    installed.log("2-alerts.log", 20)
    installed.log("3-newsletter.open", 3)
    assert installed.call("unflushed").stdout == "23\n"


def test_cleaning_removes_whatever_is_there(installed: Installed) -> None:
    """Nothing holds it back: that is the conductor's part."""
    installed.log("1-alerts.done", 20)
    installed.log("2-alerts.log", 20)
    assert installed.call("clean").returncode == 0
    assert list(installed.storage.iterdir()) == []


@pytest.mark.parametrize(
    "lacking", ["install.properties", "database.properties", "crypto.properties", "keys/courier.key"]
)
def test_an_installation_that_lacks_a_file_does_not_start(installed: Installed, lacking: str) -> None:
    """It ends with 78, and says what is missing."""
    (installed.home / lacking).unlink()
    done = installed.call("run")
    assert done.returncode == EX_CONFIG
    assert Path(lacking).name in done.stderr


@pytest.mark.parametrize("empty", ["install.properties", "database.properties", "crypto.properties"])
def test_a_new_installation_does_not_start_before_it_is_told(installed: Installed, empty: str) -> None:
    """The properties that a release brings hold nothing."""
    (installed.home / empty).write_bytes(contents("v2")[empty])
    done = installed.call("run")
    assert done.returncode == EX_CONFIG
    assert f"{empty} is not filled in" in done.stderr


def test_logs_are_worked_off_in_the_order_in_which_they_were_opened(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their number, whichever deployment they belong to."""
    monkeypatch.setattr(courier, "HOME", installed.home)
    for name in ("10-alerts.log", "9-newsletter.log", "8-alerts.open"):
        installed.log(name, 1)
    assert [path.name for path in courier.Installation().logs("log")] == ["9-newsletter.log", "10-alerts.log"]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a sink that takes messages, in a process of its own."""
    (tmp_path / "key").write_text(KEY)
    arguments = ["127.0.0.1", "0", str(tmp_path / "key"), str(tmp_path / "messages")]
    line = [sys.executable, "-u", str(sink.__file__), *arguments]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with process.stdout as said:
            yield said.readline().strip()
    finally:
        process.terminate()
        process.wait()


def _signed(text: str, key: str) -> dict[str, str]:
    return {"X-Signature": hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()}


def test_the_sink_writes_down_what_comes_twice_twice(address: str) -> None:
    """It hides nothing: doubled messages are what it is there to show."""
    for _ in range(2):
        courier.exchange(address, "POST", "alerts 1 app1", _signed("alerts 1 app1", KEY))
    assert courier.exchange(address, "GET") == "alerts 1 app1\nalerts 1 app1\n"


def test_the_sink_takes_nothing_that_another_key_has_signed(address: str) -> None:
    """So an installation whose key was not kept can send nothing."""
    with pytest.raises(http.client.HTTPException, match="403"):
        courier.exchange(address, "POST", "alerts 1 app1", _signed("alerts 1 app1", "another"))
    assert courier.exchange(address, "GET") == ""


@pytest.mark.parametrize(
    "change", [{"database": DatabaseKind.MARIADB}, {"form": Form.EMBEDDED}, {"release": "v3"}]
)
def test_a_lab_that_courier_cannot_live_in_is_refused(change: dict[str, object]) -> None:
    """It needs PostgreSQL, and hosts with systemd."""
    with pytest.raises(LabError):
        Layout(app="courier", **change)  # type: ignore[arg-type]


def test_courier_has_no_balancer() -> None:
    """Nobody comes in; messages go out, to the sink."""
    assert [member.name for member in Layout(app="courier", nodes=2).members()] == [
        "sink",
        "db1",
        "app1",
        "app2",
    ]
