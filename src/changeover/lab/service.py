"""One service of the embedded lab, run by its script."""

import fcntl
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from changeover.lab.cgroup import wait_until
from changeover.lab.errors import LabError


class Service:
    """The service whose script and lock are in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def call(self, verb: str) -> None:
        """Run the script with `start`, `stop` or `reload`.

        Raises:
            LabError: it failed; the error carries what it said.
        """
        script = [str(self._directory / "service"), verb]
        done = subprocess.run(
            script,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError(f"{self._directory.name} {verb}: {done.stderr.strip()}")

    def running(self) -> bool:
        """Whether its process lives."""
        with suppress(FileNotFoundError), (self._directory / "service.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes; returns at once, but for SIGKILL when they are gone."""
        if not self.running():
            return
        with suppress(ProcessLookupError):
            os.killpg(int((self._directory / "service.pid").read_text()), number)
        if number is signal.SIGKILL:
            wait_until(lambda: not self.running(), 10, f"the end of {self._directory.name}")

    def end(self) -> None:
        """Stop it, and kill it when it does not stop; one that stands still goes on first."""
        self.signal(signal.SIGCONT)
        if self.running():
            with suppress(LabError):
                self.call("stop")
        self.signal(signal.SIGKILL)
