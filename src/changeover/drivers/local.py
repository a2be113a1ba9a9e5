"""The conductor's own machine as a host: programs are its children, sockets are opened directly."""

import asyncio
import os
import pwd
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from changeover.drivers import shell
from changeover.drivers.posix import Output, PosixHost
from changeover.drivers.secrets import Secrets
from changeover.drivers.streams import LIMIT, SocketStream
from changeover.errors import HostError, NobodyListensError
from changeover.model.site import HostConfig
from changeover.ports import Host, Stream

PIPE = asyncio.subprocess.PIPE


def create(config: HostConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> "LocalHost":  # noqa: ARG001 - every driver's factory is called alike
    """The factory behind the entry point `host.local`."""
    return LocalHost(config, secrets=secrets)


class LocalHost(PosixHost):
    """This machine."""

    @property
    def user(self) -> str:
        """The user that the conductor runs as."""
        return pwd.getpwuid(os.geteuid()).pw_name

    async def execute(self, invocation: shell.Invocation) -> Output:
        """Run it in a process group of its own, which is killed if this is cancelled."""
        process = await _start(invocation)
        try:
            stdout, stderr = await process.communicate(invocation.stdin)
        except asyncio.CancelledError:
            await _kill(process)
            raise
        status = process.returncode or 0
        return Output(status if status >= 0 else 128 - status, stdout, stderr)

    async def converse(self, invocation: shell.Invocation, what: str) -> Stream:
        """Run it, and return the stream of its standard input and output."""
        process = await _start(invocation)
        assert process.stdin
        assert process.stdout
        assert process.stderr
        stderr = process.stderr
        process.stdin.write(invocation.stdin)

        async def why() -> str:
            await _kill(process)
            return (await stderr.read()).decode(errors="replace").replace(shell.RIGHTS_GAINED, "").strip()

        return SocketStream(what, process.stdout, process.stdin, let_go=lambda: _kill(process), why=why)

    async def connect_unix(self, path: str, *, become: bool = False) -> Stream:
        """A stream to a unix socket; with `become`, also to one that only others may open."""
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=LIMIT)
        except PermissionError:
            if become and self._config.become and await self.sudo(become=True):
                return await self.converse_with_socket(path)
            raise HostError(
                f"{self.name}: may not connect to {path} as {self.user}",
                hint="add the user to the socket's group, or set `become`",
            ) from None
        except OSError as error:
            raise HostError(f"{self.name}: cannot connect to {path}: {_words(error)}") from None
        return SocketStream(f"{self.name}: {path}", reader, writer, let_go=lambda: _closed(writer))

    async def connect_tcp(self, address: str, port: int) -> Stream:
        """A stream to a port."""
        try:
            reader, writer = await asyncio.open_connection(address, port, limit=LIMIT)
        except OSError as error:
            kind = NobodyListensError if isinstance(error, ConnectionRefusedError) else HostError
            raise kind(f"{self.name}: cannot connect to {address}:{port}: {_words(error)}") from None
        return SocketStream(f"{self.name}: {address}:{port}", reader, writer, let_go=lambda: _closed(writer))

    @asynccontextmanager
    async def forward(self, address: str, port: int) -> AsyncIterator[tuple[str, int]]:
        """The address itself: this host is where the conductor is."""
        yield address, port

    async def close(self) -> None:
        """Do nothing: no connection is kept."""


async def _start(invocation: shell.Invocation) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        invocation.line,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=LIMIT,
        start_new_session=True,
    )


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Wait for the socket to close; what the other end does not take within a second is dropped."""
    with suppress(OSError):
        try:
            async with asyncio.timeout(1):
                await writer.wait_closed()
        except TimeoutError:
            writer.transport.abort()


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process group. What runs there with other rights than ours ends by its own time limit."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no public way to let go of the pipes


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
