"""A lab of hosts, each with systemd in namespaces of its own: up, down, and what can befall it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

from changeover.lab import inotify, ready
from changeover.lab.cgroup import wait_until
from changeover.lab.directory import Directory, make_key
from changeover.lab.faults import FILL, FILLER, Fault
from changeover.lab.image import ensure_image, image_path
from changeover.lab.inside import Window
from changeover.lab.layout import Layout, Member
from changeover.lab.roles import database_access, seed_for
from changeover.lab.world import DEFAULT_DISK_BYTES, DISK_BYTES, World, make_disk


class Cluster:
    """The hosts of one lab, and what befalls them. Needs root."""

    def __init__(self, name: str) -> None:
        self.directory = Directory(name)
        self.world = World(self.directory)

    @property
    def layout(self) -> Layout:
        """What the lab consists of."""
        return self.directory.layout()

    def up(self, layout: Layout, say: Callable[[str], None]) -> None:
        """Boot what is not running and return when every service answers. Only whoever holds the lab may call it.

        Raises:
            LabError: the image cannot be built, a host ended, or a service does not answer within a minute.
        """
        image = ensure_image(say, layout.application.packages)
        self.directory.create(layout)
        make_key(self.directory.key, "operator")
        layout.application.write_releases(self.directory.releases)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda member: self._prepare(member, layout), layout.members()))
        self._write_known_hosts(layout)
        self.directory.write_credentials(database_access(layout, self.directory))
        self.world.open()
        off = [member for member in layout.members() if self.world.host_pid(member.name) is None]
        inotify.require_room(len(off))
        for member in off:
            self.world.boot(member, image)
        self.wait_ready()

    def down(self) -> None:
        """End everything and delete the lab's directory; a lab that is half up, or down, is fine."""
        self.world.close()
        self.directory.remove()

    def wait_ready(self, *only: str) -> None:
        """Return when the services of all hosts, or of those named, answer."""
        with self.window() as window:
            ready.wait_ready(self.layout, window, ended=self._ended, only=only or None)

    def reset(self) -> None:
        """Put every host back to its first state: release, faults, schema, empty database, pool; mends what is broken.

        Takes a second or two and the nodes' start-up time. Sessions and notes are lost.
        """
        layout = self.layout
        for member in layout.members():
            self._restore(member)
        for scripts in layout.application.reset(layout):
            members = [member for member in layout.members() if member.role in scripts]
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda member, of=scripts: self._reseed(member, of[member.role]), members))
        self.wait_ready()

    def window(self) -> Window:
        """Return a view into the lab's network."""
        return Window(self.world.network())

    def befall(self, name: str, fault: Fault) -> None:
        """Let a fault befall a host; returns when it has.

        POWER: every process is killed at once, the files stay. FREEZE: every process stands still, connections stay
        open. LINK: the cable is out. DISK: nothing can be written any more.
        """
        self.layout.member(name)
        if fault is Fault.POWER:
            self.world.cut_power(name)
        elif fault is Fault.FREEZE:
            self.world.host_cgroup(name).freeze(on=True)
        elif fault is Fault.LINK:
            self.world.set_link(name, up=False)
        else:
            self.world.run_on(name, ["sh", "-c", FILL])

    def mend(self, name: str) -> None:
        """Undo whatever befell a host, boot it if it has no power, and return when its service answers."""
        self.revive(name)
        self.wait_ready(name)

    def revive(self, name: str) -> None:
        """The same without its service, which somebody may have stopped; a host that boots starts it."""
        self._restore(self.layout.member(name))

    def run_on(self, name: str, script: str) -> str:
        """Run a shell script as root on a host, past its SSH, and return what it printed."""
        return self.world.run_on(name, ["sh", "-ec", script])

    def site(self) -> dict[str, Any]:
        """Return the lab as plain data."""
        return self.layout.application.site(self.layout, self.directory)

    def host_command(self, name: str, command: list[str]) -> list[str]:
        """Return the command that opens SSH to a host as *deploy*."""
        directory = self.directory
        trust = ["-o", f"UserKnownHostsFile={directory.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
        identity = ["-o", "IdentitiesOnly=yes", "-i", str(directory.key)]
        target = f"deploy@{self.layout.member(name).address}"
        return self.enter_command(["ssh", "-F", "none", *trust, *identity, target, *command])

    def enter_command(self, command: list[str]) -> list[str]:
        """Return `command` as one that runs in the lab's network."""
        return ["nsenter", f"--net={self.world.network()}", *command]

    def _restore(self, member: Member) -> None:
        """Give a host power, motion, link and space."""
        name, cgroup = member.name, self.world.host_cgroup(member.name)
        if self.world.host_pid(name) is None:
            self.world.boot(member, image_path(self.layout.application.packages))
            # Its link and its shell are there when systemd is.
            wait_until(lambda: self._running_systemd(name), ready.SECONDS, f"{name} to boot")
        elif cgroup.frozen():
            cgroup.freeze(on=False)
        self.world.set_link(name, up=True)
        self.world.run_on(name, ["rm", "-f", FILLER])

    def _running_systemd(self, name: str) -> bool:
        """Whether systemd is there and can be spoken to."""
        pid = self.world.host_pid(name)
        if pid is None or Path(f"/proc/{pid}/comm").read_text() != "systemd\n":
            return False
        return Path(f"/proc/{pid}/root/run/systemd/private").exists()

    def _reseed(self, member: Member, script: str) -> None:
        seed = self.directory.host(member.name) / "seed.tar"
        self.world.run_on(member.name, ["sh", "-c", script], stdin=seed.read_bytes())

    def _ended(self, name: str) -> str | None:
        """Return what a host last said when no process of it is left, else None."""
        cgroup = self.world.host_cgroup(name)
        if cgroup.exists() and cgroup.pids():
            return None
        lines = (self.directory.host(name) / "console.log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:]) or "nothing"

    def _prepare(self, member: Member, layout: Layout) -> None:
        host = self.directory.host(member.name)
        host.mkdir(exist_ok=True)
        machine_id = host / "machine-id"
        if not machine_id.exists():
            machine_id.write_text(f"{uuid4().hex}\n")
        make_key(host / "host_key", member.name)
        make_disk(host / "disk.img", DISK_BYTES.get(member.name, DEFAULT_DISK_BYTES))
        seed_for(member, layout, self.directory).write(host / "seed.tar")

    def _write_known_hosts(self, layout: Layout) -> None:
        lines = []
        for member in layout.members():
            kind, key, *_ = (self.directory.host(member.name) / "host_key.pub").read_text().split()
            lines.append(f"{member.address},{member.name} {kind} {key}\n")
        self.directory.known_hosts.write_text("".join(lines))
