"""Nothing secret is anywhere but where it was put."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.labkit import LabUnderTest

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHANGEOVER = str(Path(sys.executable).with_name("changeover"))


class Arguments:
    """Reads the arguments and environment of every process of this machine, the lab's hosts included, over and over."""

    def __init__(self, *secrets: str) -> None:
        self.looks = 0
        self.found: set[str] = set()
        self._secrets = [secret.encode() for secret in secrets]
        self._over = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look until the block ends."""
        watcher = threading.Thread(target=self._watch)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if any(secret in line for secret in self._secrets):
                    self.found.add(line.replace(b"\0", b" ").decode(errors="replace"))


async def test_the_passwords_are_in_no_plan_log_journal_report_or_argument(
    fresh_lab: LabUnderTest, tmp_path: Path
) -> None:
    """Given sudo and database want passwords, when it is run, then these are found nowhere that anybody looks."""
    directory = fresh_lab.cluster.directory
    secrets = (directory.database_password.read_text().strip(), directory.sudo_password.read_text().strip())
    assert all(len(secret) >= 8 for secret in secrets)
    file = directory.path / "guarded.yaml"
    text = (directory.path / "changeover.yaml").read_text()
    text = text.replace("user: deploy", "user: guarded").replace(
        "become: sudo", f"become: {{method: sudo, password: {{file: {directory.sudo_password}}}}}"
    )
    text = text.replace(
        "password: {file: " + str(directory.database_password) + "}", "password: {env: LAB_SECRET}"
    )
    file.write_text(
        text.replace("      name: app\n", "      name: app\n      snapshot_dir: /home/guarded/snapshots\n")
    )
    common = ["--file", str(file), "--journal", str(tmp_path / "journal.db")]
    output = b""
    arguments = Arguments(*secrets)
    with arguments.watched():
        for command in (
            ["check"],
            ["plan", "-o", str(tmp_path / "plan.json")],
            ["run", str(tmp_path / "plan.json"), "--on-stop", "return", "--debug"],
            ["finalize", "--reason", "done"],
            ["log", "--json"],
            ["status", "--json"],
            ["report", "--format", "html", "-o", str(tmp_path / "report.html")],
            ["report", "--format", "json", "-o", str(tmp_path / "report.json")],
        ):
            done = await asyncio.to_thread(_run, [CHANGEOVER, *command, *common], secrets[0])
            assert done.returncode == 0, (command, done.stdout.decode(), done.stderr.decode())
            output += done.stdout + done.stderr
    assert arguments.looks > 50
    assert arguments.found == set()
    assert [secret for secret in secrets if secret.encode() in output] == []
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert [secret for secret in secrets if secret.encode() in content] == [], path.name
    for host in ("app1", "db1", "lb1"):
        log = fresh_lab.run_on(host, "journalctl --no-pager --output=cat")
        assert [secret for secret in secrets if secret in log] == [], host


def _run(command: list[str], password: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, env={**os.environ, "LAB_SECRET": password}, capture_output=True, check=False
    )
