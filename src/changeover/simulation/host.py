"""A host in memory: it answers the commands of the checks, and holds files."""

import posixpath
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

from changeover.errors import HostError
from changeover.ports import Command, Result, Stream
from changeover.simulation.calls import Work

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite

FILE_SECONDS = 60.0
QUOTED = 80


class SimulatedHost:
    """The `Host` port for what checks ask (free space, the time, who commands run as) and for files."""

    def __init__(self, name: str, site: "SimulatedSite") -> None:
        self.name = name
        self._site = site

    async def run(self, command: Command) -> Result:
        """Answer what it knows; anything else is not found."""
        await self._look(command.line[:QUOTED], command.timeout)
        machine = self._site.hosts[self.name]
        if command.line.startswith("date "):
            return Result(0, f"{self._site.clock.now():.9f}\n", "")
        if "df -Pk" in command.line:
            free = 0 if machine.full else machine.free // 1024
            return Result(0, f"/dev/sim 1 1 {free} 1% /\n", "")
        if command.line == "id -un":
            return Result(0, "root\n" if command.become else "deploy\n", "")
        return Result(127, "", f"sh: not found: {command.line}\n")

    async def read(self, path: str, *, become: bool = False) -> bytes | None:
        """The file, if it is there."""
        await self._look(f"read {path}", FILE_SECONDS)
        machine = self._site.hosts[self.name]
        if path in machine.directories:
            raise HostError(f"{self.name}: cannot read {path}: Is a directory")
        return machine.files.get(path)

    async def write(self, path: str, content: bytes, *, mode: int = 0o644, become: bool = False) -> None:
        """Keep it, all of it or nothing."""
        end = partial(_write, host=self.name, path=path, content=content)
        work = Work(end=end, timeout=FILE_SECONDS)
        await self._site.calls.effect("host", "write", path, self.name, work)

    async def connect_unix(self, path: str, *, become: bool = False) -> Stream:
        """There are no sockets here."""
        await self._look(f"connect to {path}", FILE_SECONDS)
        raise HostError(f"{self.name}: cannot connect to {path}: No such file or directory")

    async def connect_tcp(self, address: str, port: int) -> Stream:
        """There are no sockets here."""
        await self._look(f"connect to {address}:{port}", FILE_SECONDS)
        raise HostError(f"{self.name}: cannot connect to {address}:{port}: Connection refused")

    def forward(self, address: str, port: int) -> AbstractAsyncContextManager[tuple[str, int]]:
        """There are no sockets here."""
        raise HostError(f"{self.name}: cannot connect to {address}:{port}: Connection refused")

    async def close(self) -> None:
        """Nothing is held open."""

    async def _look(self, what: str, timeout: float) -> None:
        await self._site.calls.look("host", what, self.name, self.name, timeout)


def _write(site: "SimulatedSite", host: str, path: str, content: bytes) -> None:
    machine = site.hosts[host]
    if path in machine.directories:
        raise HostError(f"{host}: cannot write {path}: Is a directory")
    if posixpath.dirname(path) not in machine.directories:
        raise HostError(f"{host}: cannot write {path}: No such file or directory")
    if machine.full or len(content) > machine.free:
        raise HostError(f"{host}: cannot write {path}: No space left on device")
    machine.files[path] = content
