"""A host in memory: it answers the commands of the checks, and holds files."""

from contextlib import AbstractAsyncContextManager

from changeover.errors import HostError
from changeover.ports import Clock, Command, Result, Stream


class SimulatedHost:
    """The `Host` port for what checks ask: free space, the time, and who commands run as."""

    def __init__(self, name: str, clock: Clock, free: int = 10 * 1024 * 1024 * 1024) -> None:
        self.name = name
        self.free = free
        self.files: dict[str, bytes] = {}
        self._clock = clock

    async def run(self, command: Command) -> Result:
        """Answer what it knows; anything else is not found."""
        if command.line.startswith("date "):
            return Result(0, f"{self._clock.now():.9f}\n", "")
        if "df -Pk" in command.line:
            return Result(0, f"/dev/sim 1 1 {self.free // 1024} 1% /\n", "")
        if command.line == "id -un":
            return Result(0, "root\n", "")
        return Result(127, "", f"not found: {command.line}")

    async def read(self, path: str, *, become: bool = False) -> bytes | None:
        """The file, if it is there."""
        return self.files.get(path)

    async def write(self, path: str, content: bytes, *, mode: int = 0o644, become: bool = False) -> None:
        """Keep it."""
        self.files[path] = content

    async def connect_unix(self, path: str, *, become: bool = False) -> Stream:
        """There are no sockets here."""
        raise HostError(f"{self.name} has no socket {path}")

    async def connect_tcp(self, address: str, port: int) -> Stream:
        """There are no sockets here."""
        raise HostError(f"{self.name} cannot reach {address}:{port}")

    def forward(self, address: str, port: int) -> AbstractAsyncContextManager[tuple[str, int]]:
        """There are no sockets here."""
        raise HostError(f"{self.name} cannot reach {address}:{port}")

    async def close(self) -> None:
        """Nothing is held open."""
