"""The namespaces of a lab: one process holds them, and its end is the end of the lab.

All mounts of a lab are in the lab's mount namespace and its bridge is in its network namespace, so that nothing of it
shows on the machine but one cgroup; killing that cgroup leaves nothing running or mounted.
"""

import os
import subprocess
from importlib import resources
from pathlib import Path

from changeover.lab.cgroup import Cgroup, unified_root, wait_until
from changeover.lab.directory import Directory
from changeover.lab.errors import LabError
from changeover.lab.layout import Member

BRIDGE = "10.77.0.1"
PREFIX = 24
DISK_BYTES = {"db1": 4 << 30}
DEFAULT_DISK_BYTES = 1 << 30
_FILES = resources.files("changeover.lab") / "files"


class World:
    """The namespaces and control groups of one lab."""

    def __init__(self, directory: Directory) -> None:
        root = unified_root()
        if root is None:
            raise LabError("cgroup version 2 is not mounted here", hint="`changeover lab up --embedded`")
        self.directory = directory
        self.cgroup = Cgroup(root / directory.cgroup_name())
        self._keeper = self.cgroup.child("keeper")

    def keeper_pid(self) -> int | None:
        """Return the process that holds the lab's namespaces, or None when the lab is down."""
        return self._keeper.init_pid() if self._keeper.exists() else None

    def host_cgroup(self, name: str) -> Cgroup:
        """Return the cgroup that holds a host's processes."""
        return self.cgroup.child(name)

    def host_pid(self, name: str) -> int | None:
        """Return a host's PID 1 as a process of this machine, or None when it has no power."""
        cgroup = self.host_cgroup(name)
        return cgroup.init_pid() if cgroup.exists() else None

    def network(self) -> Path:
        """Return the network namespace of the lab's bridge, for `setns`.

        Raises:
            LabError: the lab is down.
        """
        return Path(f"/proc/{self._require_keeper()}/ns/net")

    def open(self) -> None:
        """Start the keeper and its bridge; a lab that has them keeps them."""
        if self.keeper_pid() is not None:
            return
        self._keeper.kill()
        self._keeper.create()
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private"]
        script = ["sh", str(_FILES / "keeper.sh"), f"{BRIDGE}/{PREFIX}"]
        log = self.directory.path / "keeper.log"
        reader, writer = os.pipe()
        with log.open("wb") as errors, os.fdopen(reader) as ready:
            _spawn(self._keeper, [*unshare, *script], stdout=writer, stderr=errors.fileno())
            os.close(writer)
            if ready.readline() != "ready\n":
                raise LabError(f"the lab's namespaces could not be made: {log.read_text().strip()}")

    def close(self) -> None:
        """End every process of the lab and with them its mounts and networks; wait until its disks are released."""
        self.cgroup.kill()
        for disk in self.directory.hosts.glob("*/disk.img"):
            wait_until(lambda disk=disk: not _looped(disk), 10, f"the release of {disk}")  # type: ignore[misc]

    def boot(self, member: Member, image: Path) -> None:
        """Give a host power; its disk must have been made. It boots while this returns.

        Raises:
            LabError: it has power already.
        """
        cgroup = self.host_cgroup(member.name)
        if self.host_pid(member.name) is not None:
            raise LabError(f"{member.name} is running")
        cgroup.kill()
        directory = self.directory.host(member.name)
        # The same disk under two loop devices would be destroyed.
        wait_until(lambda: not _looped(directory / "disk.img"), 10, f"the release of {member.name}'s disk")
        cgroup.create()
        enter = ["nsenter", "--target", str(self._require_keeper()), "--mount", "--net", "--pid"]
        unshare = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "sh"]
        address = f"{member.address}/{PREFIX}"
        paths = [str(image), str(directory), str(self.directory.releases)]
        script = [str(_FILES / "host.sh"), member.name, address, hardware_address(member), *paths]
        with (directory / "console.log").open("ab") as console:
            output = console.fileno()
            _spawn(cgroup, [*enter, *unshare, *script], stdout=output, stderr=output)

    def cut_power(self, name: str) -> None:
        """Kill everything on a host at once; its disk keeps what was written."""
        self.host_cgroup(name).kill()

    def set_link(self, name: str, *, up: bool) -> None:
        """Plug or unplug the host's cable at the bridge."""
        self.run(["ip", "link", "set", name, "up" if up else "down"])

    def run(self, command: list[str]) -> str:
        """Run a command of this machine in the lab's network and return what it printed.

        Raises:
            LabError: it failed; the error carries what it said.
        """
        return _run(["nsenter", f"--net={self.network()}", *command])

    def run_on(self, name: str, command: list[str], *, stdin: bytes = b"") -> str:
        """Run a command as root on a host, past its SSH, and return what it printed.

        Raises:
            LabError: the host has no power, or the command failed.
        """
        pid = self.host_pid(name)
        if pid is None:
            raise LabError(f"{name} has no power", hint=f"`changeover lab mend {name}`")
        # --root and --wdns: paths are the host's.
        enter = ["nsenter", "--target", str(pid), "--all", "--root", "--wdns=/"]
        return _run([*enter, *command], stdin=stdin)

    def _require_keeper(self) -> int:
        pid = self.keeper_pid()
        if pid is None:
            raise LabError(f"lab {self.directory.name} is down", hint="`changeover lab up` starts it")
        return pid


def hardware_address(member: Member) -> str:
    """Return a host's MAC address: it stays the same over power cuts, as a network card's does."""
    return ":".join(f"{byte:02x}" for byte in (2, 0, *map(int, member.address.split("."))))


def make_disk(path: Path, size: int) -> None:
    """Make a sparse ext4 image of `size` bytes, unless there is one; a full host is full, and only that host."""
    if path.exists():
        return
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.truncate(size)
    lazily = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    _run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", lazily, str(partial)])
    partial.rename(path)


def _spawn(cgroup: Cgroup, command: list[str], *, stdout: int, stderr: int) -> None:
    """Start a command of its own session within a cgroup, and let go of it."""
    move = ["sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', str(cgroup.path)]
    subprocess.run(
        ["setsid", "--fork", *move, *command],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd="/",
    )


def _run(command: list[str], *, stdin: bytes = b"") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise LabError(f"`{' '.join(command)}` ended with {done.returncode}: {said}")
    return done.stdout.decode(errors="replace")


def _looped(disk: Path) -> bool:
    """Whether some loop device has this file."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if backing.read_text().strip() == str(disk):
                return True
        except OSError:  # released while we looked
            continue
    return False
