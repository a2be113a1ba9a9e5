"""Control groups (version 2): who belongs to a lab, freezing a host, and ending everything at once."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from changeover.lab.errors import LabError


def unified_root() -> Path | None:
    """Return where the cgroup-v2 tree is mounted here, on pure and on hybrid machines; None where there is none."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


class Cgroup:
    """One cgroup directory and all below it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Cgroup({str(self.path)!r})"

    def child(self, name: str) -> "Cgroup":
        """Return the cgroup of that name within this one."""
        return Cgroup(self.path / name)

    def create(self) -> None:
        """Make the directory; one that exists already is as good."""
        self.path.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        """Whether the directory exists."""
        return self.path.exists()

    def pids(self) -> list[int]:
        """Return the processes here and below, in the numbers of our own PID namespace."""
        found = []
        # os.walk passes over what goes while it looks; rglob would raise.
        for directory, _, _ in os.walk(self.path):
            try:
                found += [int(line) for line in (Path(directory) / "cgroup.procs").read_text().split()]
            except OSError:  # the cgroup went while we looked
                continue
        return sorted(pid for pid in found if pid)

    def init_pid(self) -> int | None:
        """Return the process that is PID 1 of the innermost namespace here, or None."""
        for pid in self.pids():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
            if len(numbers) > 1 and numbers[-1] == "1":
                return pid
        return None

    def frozen(self) -> bool:
        """Whether every process here stands still."""
        return "frozen 1" in (self.path / "cgroup.events").read_text()

    def freeze(self, *, on: bool) -> None:
        """Stop every process here where it is, or let it go on; returns when the kernel says so.

        Raises:
            LabError: the kernel did not say so within five seconds.
        """
        (self.path / "cgroup.freeze").write_text("1" if on else "0")
        wait_until(lambda: self.frozen() == on, 5, f"{self.path.name} to be {'frozen' if on else 'thawed'}")

    def kill(self) -> None:
        """Kill every process here and below with SIGKILL, frozen ones too, wait for their end, remove the cgroups.

        Raises:
            LabError: something did not end within ten seconds.
        """
        limit = time.monotonic() + 10
        while self.exists():
            (self.path / "cgroup.kill").write_text("1")
            wait_until(
                lambda: "populated 0" in (self.path / "cgroup.events").read_text(),
                10,
                f"the end of {self.path.name}",
            )
            try:
                for path in sorted((p for p in self.path.rglob("*") if p.is_dir()), reverse=True):
                    path.rmdir()
                self.path.rmdir()
            except OSError as error:
                # A process that was on its way into the group came in after the kill: it is killed as well.
                if error.errno != errno.EBUSY or time.monotonic() > limit:
                    raise


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask `condition` every 10 ms until it holds.

    Raises:
        LabError: it did not hold within `seconds`; `what` says what was waited for.
    """
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise LabError(f"waited {seconds:g} s for {what}")
        time.sleep(0.01)
