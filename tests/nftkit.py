"""A host for nftables, with a network and an /etc of its own in namespaces, and clients in the network before it.

    host 198.18.7.1, fd00:7::1 ── outside 198.18.7.9, fd00:7::9; tester 198.18.7.8, fd00:7::8; conductor 198.18.7.7

Nothing of the machine that runs the tests is changed.
"""

import asyncio
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from changeover.drivers import shell
from changeover.drivers.local import LocalHost
from changeover.drivers.posix import Output
from changeover.drivers.secrets import Secrets
from changeover.drivers.streams import SocketStream
from changeover.errors import NobodyListensError
from changeover.lab.inside import enter_network
from changeover.model.site import HostConfig
from changeover.ports import Stream

T = TypeVar("T")

HOST = {4: "198.18.7.1", 6: "fd00:7::1"}
OUTSIDE = {4: "198.18.7.9", 6: "fd00:7::9"}
TESTER = {4: "198.18.7.8", 6: "fd00:7::8"}
CONDUCTOR = "198.18.7.7"
SSHD = 22

ISOLATED = ("unshare", "--net", "--mount", "--fork", "--kill-child", "sh", "-c")
ETC = (
    "mount -t tmpfs none /mnt && mkdir /mnt/up /mnt/work"
    " && mount -t overlay none -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc"
    " && mount -t tmpfs none /run && mkdir -p /run/systemd/system && ip link set lo up"
)
ADDRESSES = {
    "host": [HOST[4], HOST[6]],
    "clients": [OUTSIDE[4], OUTSIDE[6], TESTER[4], TESTER[6], CONDUCTOR],
}


class Isolated:
    """A network of its own, for as long as its process lives; `pid` is a process in it."""

    def __init__(self, setup: str) -> None:
        line = f"{setup} && echo $$ && exec sleep infinity"
        self.process = subprocess.Popen([*ISOLATED, line], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.process.stdout.readline()
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.pid = int(children.read_text())
        network = Path(f"/proc/{self.pid}/ns/net")
        self._threads = ThreadPoolExecutor(1, initializer=lambda: enter_network(network))

    def run(self, line: str) -> str:
        """Run it there as root, and return what it printed."""
        command = [*self.entering().split(), "sh", "-ec", line]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def entering(self) -> str:
        """What precedes a program that is to run there."""
        return f"nsenter --target {self.pid} --net --mount"

    def within(self, make: Callable[[], T]) -> T:
        """What is made by a thread that is there: a socket stays in the network it was made in."""
        return self._threads.submit(make).result()

    def close(self) -> None:
        """End it, and with it everything there."""
        self._threads.shutdown()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class Machine(Isolated):
    """The host."""

    def listen(self, port: int) -> socket.socket:
        """A socket that listens there, by IPv4 and IPv6."""
        return self.within(
            lambda: socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        )


class Clients(Isolated):
    """The network before the host."""

    def connect(self, source: str, port: int) -> socket.socket:
        """A connection from that address to the host."""
        address = HOST[6 if ":" in source else 4]
        return self.within(lambda: socket.create_connection((address, port), 5, (source, 0)))


class _There(LocalHost):
    """A host in namespaces. Sockets are opened in its network, from the address that is its own there."""

    def __init__(self, name: str, address: str, there: Isolated) -> None:
        super().__init__(HostConfig(name, address), secrets=Secrets())
        self._there = there

    async def connect_tcp(self, address: str, port: int) -> Stream:
        what = f"{self.name}: {address}:{port}"
        source = None if address.startswith("127.") else (self._config.address, 0)
        make = partial(socket.create_connection, (address, port), 5, source)
        try:
            connection = await asyncio.to_thread(self._there.within, make)
        except ConnectionRefusedError:
            raise NobodyListensError(what) from None
        reader, writer = await asyncio.open_connection(sock=connection)

        async def let_go() -> None:
            with suppress(OSError):
                await writer.wait_closed()

        return SocketStream(what, reader, writer, let_go=let_go)


class GatedHost(_There):
    """The host, for a conductor that comes from `CONDUCTOR` by SSH."""

    def __init__(self, host: Isolated) -> None:
        super().__init__("app1", HOST[4], host)

    async def execute(self, invocation: shell.Invocation) -> Output:
        line = f"SSH_CONNECTION='{CONDUCTOR} 5000 {HOST[4]} {SSHD}' {invocation.line.removeprefix('exec ')}"
        entered = f"exec {self._there.entering()} sh -c {shlex.quote(line)}"
        return await super().execute(replace(invocation, line=entered))


class OutsideHost(_There):
    """A host of the public, as far as it is connected through."""

    def __init__(self, clients: Clients) -> None:
        super().__init__("client1", OUTSIDE[4], clients)


@contextmanager
def gated_host() -> Iterator[tuple[Machine, Clients]]:
    """The host and its clients, linked; both are gone at the end."""
    host, clients = Machine(ETC), Clients("ip link set lo up")
    try:
        host.run(f"ip link add gate0 type veth peer name gate1 netns {clients.pid}")
        for there, link in ((host, "gate0"), (clients, "gate1")):
            name = "host" if there is host else "clients"
            lines = [
                f"ip addr add {it}{'/64 nodad' if ':' in it else '/24'} dev {link}" for it in ADDRESSES[name]
            ]
            there.run("\n".join([*lines, f"ip link set {link} up"]))
        yield host, clients
    finally:
        clients.close()
        host.close()
