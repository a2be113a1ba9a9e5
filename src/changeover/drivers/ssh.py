"""Hosts by OpenSSH: one connection each, kept open, many commands at once on it."""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, cast

import asyncssh
import msgspec

from changeover.drivers import host_keys, shell
from changeover.drivers.posix import QUOTED, Output, PosixHost
from changeover.drivers.secrets import Secrets
from changeover.drivers.streams import Reader, SocketStream, Writer
from changeover.errors import HostError, NobodyListensError
from changeover.model.site import HostConfig, Ssh
from changeover.ports import Host, Stream

SESSIONS = 8
"""Commands at once on one connection. OpenSSH allows 10 (`MaxSessions` in sshd_config(5)); streams that need sudo take one each."""

SESSION_WAITS = (0.02, 0.1, 0.5, 2.0)
"""Seconds between attempts to open a session: sshd counts one until it has reaped its shell, a moment after its end."""

KEEPALIVE_INTERVAL = 5.0
KEEPALIVE_COUNT = 3
"""A host that is silent for interval x (count + 1) seconds has its connection ended, so that nothing waits on it for ever."""

CLOSING = 1.0
"""Seconds that closing a connection may take before it is left to itself."""

LOST = (asyncssh.Error, OSError)

Opening = Awaitable[tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]]


def create(config: HostConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> "SshHost":
    """The factory behind the entry point `host.ssh`."""
    return SshHost(config, secrets=secrets, hosts=hosts)


class _Link:
    """One connection and how many use it. Retired, it takes no more users and closes with its last one."""

    def __init__(self, connection: asyncssh.SSHClientConnection, on_close: AsyncExitStack) -> None:
        self.connection = connection
        self.retired = False
        self._users = 0
        self._on_close = on_close

    @asynccontextmanager
    async def used(self) -> AsyncIterator[asyncssh.SSHClientConnection]:
        self._users += 1
        try:
            yield self.connection
        finally:
            self._users -= 1
            if self.retired and not self._users:
                await self.close()

    async def retire(self) -> None:
        self.retired = True
        if not self._users:
            await self.close()

    async def close(self) -> None:
        self.connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self.connection.wait_closed()
        await asyncio.sleep(0)  # the transport below is closed in the event loop's next turn
        await self._on_close.aclose()


class SshHost(PosixHost):
    """A host behind OpenSSH.

    The connection is opened when first needed, and again after it was lost. A command that did not come to
    its end in time casts doubt on the connection: later commands get a new one, and those that still run on
    the old one go on. On the host, a command that is given up gets SIGTERM, unless it runs with other rights
    than the SSH user's; that one is ended there by its own time limit, a second or two later.
    """

    def __init__(self, config: HostConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> None:
        super().__init__(config, secrets=secrets)
        self._ssh = config.ssh
        self._hosts = hosts
        self._link: _Link | None = None
        self._opening = asyncio.Lock()
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._jump: SshHost | None = None

    @property
    def user(self) -> str:
        """The user of the SSH connection."""
        return self._ssh.user or getpass.getuser()

    async def execute(self, invocation: shell.Invocation) -> Output:
        """Run it to its end; when cancelled, end it and leave its connection to those that still use it."""
        async with self._sessions, self._connected() as connection:
            process = await self._start(connection, invocation.line)
            try:
                if invocation.stdin:
                    process.stdin.write(invocation.stdin)
                process.stdin.write_eof()
                stdout, stderr = await process.communicate()
            except asyncio.CancelledError:
                await self._give_up(process)
                raise
            except LOST as error:
                raise self._lost(error) from None
        status = process.returncode
        if status is None:
            raise self._lost(None)
        return Output(status if status >= 0 else 128 - status, stdout, stderr)

    async def converse(self, invocation: shell.Invocation, what: str) -> Stream:
        """Run it, and return the stream of its standard input and output."""
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._connected())
            process = await self._start(connection, invocation.line)
            process.stdin.write(invocation.stdin)
            held = stack.pop_all()

        async def let_go() -> None:
            process.close()
            await held.aclose()

        async def why() -> str:
            stderr = await process.stderr.read()
            return stderr.decode(errors="replace").replace(shell.RIGHTS_GAINED, "").strip()

        return _stream(what, process.stdout, process.stdin, let_go=let_go, why=why)

    async def connect_unix(self, path: str, *, become: bool = False) -> Stream:
        """A stream to a unix socket on the host; with `become`, also to one that only others may open."""
        try:
            return await self._open(
                f"{self.name}: {path}", lambda c: c.open_unix_connection(path, encoding=None)
            )
        except asyncssh.ChannelOpenError as error:
            if become and self._config.become and await self.sudo(become=True):
                return await self.converse_with_socket(path)
            raise HostError(
                f"{self.name}: cannot connect to {path} as {self.user}: {error.reason}",
                hint="is it there, may the user open it (else set `become`), and does sshd allow it "
                "(AllowStreamLocalForwarding)?",
            ) from None

    async def connect_tcp(self, address: str, port: int) -> Stream:
        """A stream to a port as the host reaches it."""
        what = f"{self.name}: {address}:{port}"
        try:
            return await self._open(what, lambda c: c.open_connection(address, port, encoding=None))
        except asyncssh.ChannelOpenError as error:
            refused = error.code == asyncssh.OPEN_CONNECT_FAILED and "refused" in error.reason
            raise (NobodyListensError if refused else HostError)(
                f"{self.name}: cannot connect to {address}:{port}: {error.reason}",
                hint="does it listen there, and does sshd allow it (AllowTcpForwarding)?",
            ) from None

    @asynccontextmanager
    async def forward(self, address: str, port: int) -> AsyncIterator[tuple[str, int]]:
        """While open, a port on the conductor's loopback that leads there; it is gone if the connection is lost."""
        async with self._connected() as connection:
            try:
                listener = await connection.forward_local_port("127.0.0.1", 0, address, port)
            except LOST as error:
                raise self._lost(error) from None
            try:
                yield "127.0.0.1", listener.get_port()
            finally:
                listener.close()

    async def close(self) -> None:
        """Close the connection, whatever still uses it."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        if self._jump is not None:
            await self._jump.close()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncssh.SSHClientConnection]:
        async with self._opening:
            if self._link is None or self._link.connection.is_closed():
                self._link = await self._connect()
            link = self._link
        async with link.used() as connection:
            try:
                yield connection
            except asyncio.CancelledError:
                if self._link is link:
                    self._link = None
                await link.retire()
                raise

    async def _start(
        self, connection: asyncssh.SSHClientConnection, line: str
    ) -> asyncssh.SSHClientProcess[bytes]:
        """Start a line; one that sshd has refused a session for was never started, and is tried again."""
        waits = iter(SESSION_WAITS)
        while True:
            try:
                return await connection.create_process(line, encoding=None)
            except asyncssh.ChannelOpenError as error:
                if connection.is_closed():
                    raise self._lost(error) from None
                wait = next(waits, None)
                if wait is None:
                    raise HostError(
                        f"{self.name}: sshd opens no session: {error.reason}",
                        hint=f"does its MaxSessions allow {SESSIONS}?",
                    ) from None
                await asyncio.sleep(wait)
            except LOST as error:
                raise self._lost(error) from None

    async def _open(self, what: str, connect: Callable[[asyncssh.SSHClientConnection], Opening]) -> Stream:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._connected())
            try:
                reader, writer = await connect(connection)
            except asyncssh.ChannelOpenError:
                raise
            except LOST as error:
                raise self._lost(error) from None
            return _stream(what, reader, writer, let_go=stack.pop_all().aclose)

    async def _connect(self) -> _Link:
        ssh = self._ssh
        path = host_keys.known_hosts_path(ssh.known_hosts)
        known = host_keys.load(path) if ssh.check_host_key else None
        kinds = host_keys.algorithms(known, self._config.address, ssh.port) if known else None
        witness = host_keys.Witness()
        where = f"{self.name} ({self._config.address}:{ssh.port})"
        async with AsyncExitStack() as stack:
            tunnel = await stack.enter_async_context(self._tunnel()) if ssh.jump else None
            try:
                async with asyncio.timeout(ssh.connect_timeout):
                    connection, _ = await asyncssh.create_connection(
                        lambda: witness,
                        self._config.address,
                        ssh.port,
                        username=self.user,
                        tunnel=tunnel,
                        known_hosts=known,
                        server_host_key_algs=kinds or (),
                        config=None,
                        keepalive_interval=KEEPALIVE_INTERVAL,
                        keepalive_count_max=KEEPALIVE_COUNT,
                        **await self._credentials(),
                    )
            except TimeoutError:
                raise HostError(
                    f"{where}: no SSH connection within {ssh.connect_timeout:g} s",
                    hint="is it up, and does the network lead there?",
                ) from None
            except asyncssh.PermissionDenied as error:
                raise HostError(
                    f"{where}: sshd does not let {self.user} in: {error.reason}",
                    hint="check ssh.user, and that ssh.key (or the agent, or ssh.password) is what the host expects",
                ) from None
            except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
                if known is None:
                    raise HostError(f"{where}: {error.reason}") from None
                raise host_keys.mismatch(self._config, path, known, witness.shown, error.reason) from None
            except LOST as error:
                raise HostError(
                    f"{where}: {_words(error)}", hint="is it up, and does sshd listen there?"
                ) from None
            return _Link(connection, stack.pop_all())

    async def _credentials(self) -> dict[str, Any]:
        ssh = self._ssh
        given: dict[str, Any] = {}
        if ssh.password is not None:
            password = await self._secrets.resolve(
                ssh.password, f"the SSH password of {self.name}", HostError
            )
            given = {"password": password, "client_keys": None, "agent_path": None}
        if ssh.key:
            given |= {"client_keys": [await self._key()], "agent_path": None}
        return given

    async def _key(self) -> asyncssh.SSHKey:
        passphrase = None
        if self._ssh.passphrase is not None:
            what = f"the passphrase of the SSH key of {self.name}"
            passphrase = await self._secrets.resolve(self._ssh.passphrase, what, HostError)
        try:
            return asyncssh.read_private_key(os.path.expanduser(self._ssh.key), passphrase)  # noqa: ASYNC240, PTH111 - a small local file
        except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise HostError(
                f"{self.name}: cannot use the SSH key {self._ssh.key}: {_words(error)}",
                hint="check ssh.key and ssh.passphrase",
            ) from None

    @asynccontextmanager
    async def _tunnel(self) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """The connection of the jump host: another host of the site, or `[user@]address[:port]`."""
        jump = self._hosts.get(self._ssh.jump, self._jump)
        if jump is None:
            jump = self._jump = SshHost(_jump_config(self._ssh), secrets=self._secrets, hosts={})
        if not isinstance(jump, SshHost):
            raise HostError(f"{self.name}: the jump host {self._ssh.jump} is not reached by SSH itself")
        async with jump._connected() as connection:
            yield connection

    async def _give_up(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        with suppress(*LOST):
            process.terminate()
            process.close()

    def _lost(self, error: Exception | None) -> HostError:
        words = f": {_words(error)}" if error else ""
        return HostError(
            f"{self.name}: the SSH connection was lost{words}",
            hint="what was under way may or may not have been done; the next use opens a new connection",
        )


def _jump_config(ssh: Ssh) -> HostConfig:
    user, _, place = ssh.jump.rpartition("@")
    address, colon, port = place.rpartition(":")
    if not (colon and port.isdigit()):
        address, port = place, "22"
    through = msgspec.structs.replace(ssh, jump="", user=user or ssh.user, port=int(port))
    return HostConfig(name=ssh.jump, address=address.strip("[]"), ssh=through)


def _stream(
    what: str,
    reader: asyncssh.SSHReader[bytes],
    writer: asyncssh.SSHWriter[bytes],
    *,
    let_go: Callable[[], Awaitable[None]],
    why: Callable[[], Awaitable[str]] | None = None,
) -> Stream:
    return SocketStream(
        what, cast("Reader", reader), cast("Writer", writer), lost=(asyncssh.Error,), let_go=let_go, why=why
    )


def _words(error: Exception) -> str:
    text = (
        error.reason if isinstance(error, asyncssh.Error) else getattr(error, "strerror", None) or str(error)
    )
    return (text or type(error).__name__)[:QUOTED]
