"""A private HAProxy on loopback for tests, with a pool whose servers are sockets of the test itself."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.sshdkit import free_port

HAPROXY = "/usr/sbin/haproxy"

CONFIG = """\
global
    stats socket {d}/admin.sock mode 666 level admin
    stats socket {d}/user.sock mode 666 level user
    stats socket ipv4@127.0.0.1:{admin_port} level admin
    server-state-file {d}/state
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 1s
    {load_state}
frontend public
    bind 127.0.0.1:{port}
    default_backend identity
backend identity
    option httpchk GET /health
    http-check disable-on-404
    default-server inter 50ms fall 3 rise 2
    server app1 127.0.0.1:{app1} check
    server app2 127.0.0.1:{app2} check
backend kinds
    option httpchk GET /health
    http-check disable-on-404
    default-server inter 50ms
    server unchecked 127.0.0.1:{app1}
    server dead 127.0.0.1:1 check
    server weightless 127.0.0.1:{app1} weight 0
    server disabled 127.0.0.1:{app1} disabled
    server follower 127.0.0.1:{app1} track identity/app1
"""


class Backend:
    """A server of the pool: answers `/health` with `status`, and `/slow` once `go_on` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.go_on = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if request.startswith(b"GET /slow"):
                await self.go_on.wait()
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status)
            await writer.drain()
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()


class PrivateHaproxy:
    """A master and its worker."""

    def __init__(self, directory: Path, app1: int, app2: int) -> None:
        self.directory = directory
        self.socket = str(directory / "admin.sock")
        self.user_socket = str(directory / "user.sock")
        self.port = free_port()
        self.admin_port = free_port()
        self._apps = {"app1": app1, "app2": app2}
        self._master: subprocess.Popen[bytes] | None = None

    def start(self, *, load_state: bool = False) -> None:
        """Start it; with `load_state` it begins with what `save_state` has saved."""
        self._configure(load_state=load_state)
        arguments = [HAPROXY, "-W", "-f", str(self.directory / "haproxy.cfg")]
        log = self.directory / "log"
        with log.open("ab") as output:
            self._master = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        master = self._master

        def answers() -> bool:
            assert master.poll() is None, log.read_text()
            return self.pid() != "" and _heeds(master.pid, signal.SIGUSR2)

        _wait(answers, log)

    def reload(self, *, load_state: bool) -> None:
        """Replace the worker as `systemctl reload haproxy` does; returns once the new one answers."""
        old = self.pid()
        self._configure(load_state=load_state)
        assert self._master
        self._master.send_signal(signal.SIGUSR2)
        master = self._master.pid
        _wait(lambda: self.pid() not in ("", old) and _heeds(master, signal.SIGUSR2), self.directory / "log")

    def stop(self) -> None:
        """End it at once."""
        if self._master:
            self._master.terminate()
            self._master.wait(10)
            self._master = None

    def save_state(self) -> None:
        """Write the state to where the next process looks for it."""
        (self.directory / "state").write_text(self.ask("show servers state"))

    def pid(self) -> str:
        """The worker that answers; empty if none does."""
        try:
            info = self.ask("show info")
        except OSError:
            return ""
        return next((line[5:] for line in info.splitlines() if line.startswith("Pid: ")), "")

    def ask(self, command: str) -> str:
        """One command on a connection of its own."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(self.socket)
            connection.sendall(command.encode() + b"\n")
            reply = b""
            while data := connection.recv(65536):
                reply += data
        return reply.decode()

    def _configure(self, *, load_state: bool) -> None:
        text = CONFIG.format(
            d=self.directory,
            port=self.port,
            admin_port=self.admin_port,
            load_state="load-server-state-from-file global" if load_state else "",
            **self._apps,
        )
        (self.directory / "haproxy.cfg").write_text(text)


def _heeds(pid: int, number: signal.Signals) -> bool:
    """Whether it handles that signal now: the master loses one that comes before it has executed itself anew."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    bit = 1 << (number - 1)
    return bool(int(status["SigCgt"], 16) & bit) and not int(status["SigBlk"], 16) & bit


def _wait(condition: Callable[[], bool], log: Path) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit, log.read_text()
        time.sleep(0.02)


@contextmanager
def private_haproxy(app1: int, app2: int) -> Iterator[PrivateHaproxy]:
    """Run it in front of two ports."""
    if not Path(HAPROXY).exists():
        pytest.skip("haproxy is not installed")
    directory = Path(tempfile.mkdtemp(prefix="haproxy-", dir="/tmp"))
    directory.chmod(0o755)
    haproxy = PrivateHaproxy(directory, app1, app2)
    try:
        haproxy.start()
        yield haproxy
    finally:
        haproxy.stop()
        shutil.rmtree(directory)


@asynccontextmanager
async def backend() -> AsyncIterator[Backend]:
    """A server of the pool."""
    serving: set[asyncio.Task[None]] = set()
    answering = Backend()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(answering.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    answering.port = server.sockets[0].getsockname()[1]
    async with server:
        yield answering
        answering.go_on.set()
    await asyncio.gather(*serving)
