"""HAProxy as a balancer, through its runtime API on a unix socket or a TCP port.

HAProxy keeps what it was told in memory. A reload starts from the configuration, unless the state is saved
before it and loaded after it (`show servers state` into `server-state-file`, `load-server-state-from-file
global`). Nothing is remembered here, so a state that was lost shows in the next reading; `version` tells one
process from the next.
"""

import asyncio
import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from changeover.drivers.haproxy_channel import Channel
from changeover.drivers.haproxy_replies import parse_stat, server_states
from changeover.drivers.local import LocalHost
from changeover.drivers.secrets import Secrets
from changeover.errors import BalancerError, SpecError
from changeover.model.site import BalancerConfig, HostConfig
from changeover.ports import AdminState, Host, ServerState, Stream

NAME = re.compile(r"[A-Za-z0-9_.:-]+")
"""What HAProxy allows in the names of proxies and servers."""

TIMEOUT = 5.0
READ_BACK_EVERY = 0.05


def create(config: BalancerConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> "HaproxyBalancer":
    """The factory behind the entry point `balancer.haproxy`.

    Options: `socket` (a path on the host), or `address` and `port` (as the host reaches them); `timeout`, the
    seconds that HAProxy has to answer and to report a state. Without a host it is the conductor that connects.

    Raises:
        SpecError: other options, or a pool whose name HAProxy does not allow.
    """
    options = dict(config.options)
    timeout = float(options.pop("timeout", TIMEOUT))
    if set(options) not in ({"socket"}, {"address", "port"}):
        raise SpecError(
            f"balancer {config.name}: cannot tell where its runtime API is from {sorted(options) or 'no options'}",
            hint="give `socket`, or `address` and `port`",
        )
    if not NAME.fullmatch(config.pool):
        raise SpecError(f"balancer {config.name}: {config.pool!r} cannot be the name of a backend of HAProxy")
    here = LocalHost(HostConfig(name="conductor", address="", driver="local"), secrets=secrets)

    async def connect() -> Stream:
        host = hosts[config.host] if config.host else here
        if "socket" in options:
            return await host.connect_unix(str(options["socket"]), become=True)
        return await host.connect_tcp(str(options["address"]), int(options["port"]))

    return HaproxyBalancer(config.name, config.pool, Channel(config.name, connect, timeout=timeout), timeout)


class HaproxyBalancer:
    """A backend of HAProxy and its servers."""

    def __init__(self, name: str, pool: str, channel: Channel, timeout: float) -> None:
        self.name = name
        self._pool = pool
        self._channel = channel
        self._timeout = timeout
        self._looks = (f"show stat {pool} 4 -1", f"show servers state {pool}")

    def __repr__(self) -> str:
        return f"HaproxyBalancer({self.name!r}, {self._pool!r})"

    async def servers(self) -> Mapping[str, ServerState]:
        """Every server of the pool by name, as HAProxy reports it now."""
        _, (stat, told) = await self._channel.ask(*self._looks)
        return await self._read(stat, told)

    async def set_state(self, server: str, state: AdminState) -> None:
        """Return once HAProxy itself reports that state."""
        now = await self._tell(f"set server {self._checked(server)} state {state}", server)
        try:
            async with asyncio.timeout(self._timeout):
                while now.admin is not state:
                    await asyncio.sleep(READ_BACK_EVERY)
                    now = (await self.servers())[server]
        except TimeoutError:
            raise BalancerError(
                f"{self.name}: {server} was told {state}, and HAProxy reports {now.admin} ({now.check})",
                hint="a server follows the one it tracks, and one of weight 0 is in drain whatever it is told",
            ) from None

    async def cut(self, server: str) -> None:
        """End every session of that server; return once none is counted, unless new ones may come."""
        now = await self._tell(f"shutdown sessions server {self._checked(server)}", server)
        try:
            async with asyncio.timeout(self._timeout):
                while now.sessions and now.admin is not AdminState.READY:
                    await asyncio.sleep(READ_BACK_EVERY)
                    now = (await self.servers())[server]
        except TimeoutError:
            raise BalancerError(
                f"{self.name}: the sessions of {server} were cut, and HAProxy still counts {now.sessions}"
            ) from None

    async def version(self) -> str:
        """As in `2.6.12-1+deb12u4 pid 411 since 2026-03-01T04:05:06+00:00`."""
        info, _ = await self._channel.ask()
        version = f"{info.get('Version', 'unknown version')} pid {info.get('Pid', 'unknown')}"
        started = info.get("Start_time_sec")
        return (
            f"{version} since {datetime.fromtimestamp(int(started), UTC).isoformat()}" if started else version
        )

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close()

    def _checked(self, server: str) -> str:
        if not NAME.fullmatch(server):
            raise BalancerError(f"{self.name}: {server!r} cannot be the name of a server of HAProxy")
        return f"{self._pool}/{server}"

    async def _tell(self, command: str, server: str) -> ServerState:
        """Send the command, and read back the server in the same exchange."""
        _, (reply, stat, told) = await self._channel.ask(command, *self._looks)
        if reply == "Permission denied":
            raise BalancerError(
                f"{self.name}: HAProxy permits no changes through this socket",
                hint="end its `stats socket` line with `level admin`",
            )
        servers = await self._read(stat, told)
        if server not in servers:
            raise BalancerError(
                f"{self.name}: the pool {self._pool} has no server {server!r}{_nearest(server, servers)}"
            )
        if reply:
            raise BalancerError(f"{self.name}: HAProxy refuses `{command}`: {reply}")
        return servers[server]

    async def _read(self, stat: str, told: str) -> Mapping[str, ServerState]:
        if not stat.startswith("# "):
            _, (backends,) = await self._channel.ask("show stat -1 2 -1")
            names = [row["pxname"] for row in parse_stat(backends)]
            raise BalancerError(
                f"{self.name}: HAProxy has no pool {self._pool!r} ({stat}){_nearest(self._pool, names)}"
            )
        return server_states(self._pool, stat, told)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(names) or 'none'}"
