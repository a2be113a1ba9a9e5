"""A host in memory: it answers the commands of the checks, and holds files."""

import posixpath
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from changeover.errors import HostError, NobodyListensError
from changeover.ports import Command, LogFile, Result, Stream
from changeover.simulation.calls import Work
from changeover.simulation.state import OWNED, Machine

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

    async def write(
        self,
        path: str,
        content: bytes,
        *,
        mode: int | None = 0o644,
        become: bool = False,
        parents: bool = False,
    ) -> None:
        """Keep it, all of it or nothing."""
        end = partial(_write, host=self.name, path=path, content=content, mode=mode, parents=parents)
        work = Work(end=end, timeout=FILE_SECONDS)
        await self._site.calls.effect("host", "write", path, self.name, work)

    async def tree(self, path: str, *, become: bool = False) -> Mapping[str, str] | None:
        """Every file there, with its mode, owner and checksum."""
        await self._look(f"read {path}", FILE_SECONDS)
        return _tree(self._site.hosts[self.name], path)

    async def copy(self, source: str, target: str, *, become: bool = False) -> None:
        """All of it, or nothing."""
        end = partial(_copy, host=self.name, source=source, target=target)
        work = Work(self._site.durations.copy, end=end, timeout=FILE_SECONDS)
        await self._site.calls.effect("host", "copy", target, self.name, work)

    async def remove(self, path: str, *, become: bool = False) -> None:
        """Remove it with all that is below."""
        end = partial(_remove, host=self.name, path=path)
        await self._site.calls.effect("host", "remove", path, self.name, Work(end=end, timeout=FILE_SECONDS))

    async def beside(self, path: str, *, become: bool = False) -> Sequence[LogFile]:
        """The logs and the files whose names begin like that."""
        await self._look(f"look for {path}", FILE_SECONDS)
        machine = self._site.hosts[self.name]
        logs = [LogFile(name, it.inode, len(it.text)) for name, it in machine.logs.items()]
        files = [LogFile(name, -place, len(it)) for place, (name, it) in enumerate(machine.files.items(), 1)]
        return sorted(
            (it for it in (*logs, *files) if it.path.startswith(path) and "/" not in it.path[len(path) :]),
            key=lambda it: it.path,
        )

    async def read_part(self, path: str, start: int, size: int, *, become: bool = False) -> bytes:
        """That part of a log, or of a file."""
        await self._look(f"read {path}", FILE_SECONDS)
        machine = self._site.hosts[self.name]
        if path not in machine.logs and path not in machine.files:
            raise HostError(f"{self.name}: cannot read {path}: No such file or directory")
        text = machine.logs[path].text if path in machine.logs else machine.files[path]
        return text[start : start + size]

    async def connect_unix(self, path: str, *, become: bool = False) -> Stream:
        """There are no sockets here."""
        await self._look(f"connect to {path}", FILE_SECONDS)
        raise HostError(f"{self.name}: cannot connect to {path}: No such file or directory")

    async def connect_tcp(self, address: str, port: int) -> Stream:
        """There are no sockets here."""
        await self._look(f"connect to {address}:{port}", FILE_SECONDS)
        raise NobodyListensError(f"{self.name}: cannot connect to {address}:{port}: Connection refused")

    def forward(self, address: str, port: int) -> AbstractAsyncContextManager[tuple[str, int]]:
        """There are no sockets here."""
        raise HostError(f"{self.name}: cannot connect to {address}:{port}: Connection refused")

    async def close(self) -> None:
        """Nothing is held open."""

    async def _look(self, what: str, timeout: float) -> None:
        await self._site.calls.look("host", what, self.name, self.name, timeout)


def _write(
    site: "SimulatedSite", host: str, path: str, content: bytes, *, mode: int | None, parents: bool
) -> None:
    machine = site.hosts[host]
    if path in machine.directories:
        raise HostError(f"{host}: cannot write {path}: Is a directory")
    if parents:
        machine.make_above(path)
    if posixpath.dirname(path) not in machine.directories:
        raise HostError(f"{host}: cannot write {path}: No such file or directory")
    if machine.full or len(content) > machine.free:
        raise HostError(f"{host}: cannot write {path}: No space left on device")
    machine.files[path] = content
    if mode is not None:
        owner = machine.owned.get(path, OWNED).partition(" ")[2]
        _own(machine, path, f"{mode:o} {owner}")


def _copy(site: "SimulatedSite", host: str, source: str, target: str) -> None:
    machine = site.hosts[host]
    found = machine.within(source)
    if not found and source not in machine.directories:
        raise HostError(f"{host}: cannot copy {source} to {target}: No such file or directory")
    if machine.full or sum(map(len, found.values())) > machine.free:
        raise HostError(f"{host}: cannot copy {source} to {target}: No space left on device")
    _remove(site, host, target)
    machine.make_above(target)
    below = {it for it in machine.directories if it == source or it.startswith(f"{source}/")}
    machine.directories |= {target + it.removeprefix(source) for it in below}
    for name, content in found.items():
        copied = target + name.removeprefix(source)
        machine.files[copied] = content
        _own(machine, copied, machine.owned.get(name, OWNED))


def _remove(site: "SimulatedSite", host: str, path: str) -> None:
    machine = site.hosts[host]
    for name in machine.within(path):
        del machine.files[name]
        machine.owned.pop(name, None)
    machine.directories -= {it for it in machine.directories if it == path or it.startswith(f"{path}/")}


def _tree(machine: Machine, path: str) -> dict[str, str] | None:
    found = {
        name[len(path) + 1 :] or ".": f"f {machine.owned.get(name, OWNED)} {sha256(content).hexdigest()}"
        for name, content in machine.within(path).items()
    }
    below = (it for it in machine.directories if it == path or it.startswith(f"{path}/"))
    directories = {it[len(path) + 1 :] or ".": f"d {OWNED}" for it in below}
    return found | directories or None


def _own(machine: Machine, path: str, owned: str) -> None:
    if owned == OWNED:
        machine.owned.pop(path, None)
    else:
        machine.owned[path] = owned
