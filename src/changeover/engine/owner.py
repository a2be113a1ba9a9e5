"""Who conducts a run, and whether that process is still there."""

import getpass
import os
import socket
from pathlib import Path

import msgspec


class Owner(msgspec.Struct, frozen=True):
    """A process, told apart from every other on every machine.

    `started` is its start in clock ticks since boot, as `/proc/PID/stat` has it (field 22, proc(5)); a
    process id alone is used again. `boot` and `namespace` say where that process id means something.
    """

    user: str
    host: str
    pid: int
    started: int
    boot: str
    namespace: str

    @classmethod
    def current(cls) -> "Owner":
        """This process."""
        pid = os.getpid()
        _, started = _stat(pid) or ("", 0)
        return cls(
            user=_user(),
            host=socket.gethostname(),
            pid=pid,
            started=started,
            boot=_boot(),
            namespace=_namespace(),
        )

    def gone(self) -> bool:
        """Whether it provably runs no more. Where that cannot be seen from here, it does not count as gone."""
        if (self.boot, self.namespace) != (_boot(), _namespace()) or not self.boot:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and another user's
        stat = _stat(self.pid)
        return stat is not None and (stat[0] in "ZX" or stat[1] != self.started)

    def __str__(self) -> str:
        """As an operator would look for it."""
        return f"{self.user}@{self.host}, process {self.pid}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return str(os.getuid())


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start time of a process; None if they cannot be read, as with `hidepid` (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])
