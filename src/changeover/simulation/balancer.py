"""The balancer in memory: it believes its own health check and what it was told, nothing else."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING

from changeover.errors import BalancerError
from changeover.ports import AdminState, ServerState
from changeover.simulation.calls import Work
from changeover.simulation.state import Server

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite

NAME = re.compile(r"[A-Za-z0-9_.:-]+")


class SimulatedBalancer:
    """The `Balancer` port over one pool of the site."""

    def __init__(self, name: str, site: "SimulatedSite") -> None:
        self.name = name
        self._site = site
        self._seen: dict[str, ServerState] = {}
        self._seen_at = (-1.0, 0)
        described = site.site
        self._addresses = {
            server: described.host(site.nodes[it.node].host).address
            for server, it in site.pools[name].servers.items()
        }

    async def servers(self) -> Mapping[str, ServerState]:
        """Every server, as the balancer sees it now."""
        await self._look("servers")
        now = self._site.count()
        if self._seen_at != (now, self._site.revision):
            self._seen_at = (now, self._site.revision)
            servers = self._site.pools[self.name].servers
            self._seen = {name: self._state(name, server, now) for name, server in servers.items()}
        return self._seen

    async def set_state(self, server: str, state: AdminState) -> None:
        """Tell it, and have it reported."""
        await self._tell("set_state", server, partial(_told, balancer=self.name, server=server, state=state))

    async def cut(self, server: str) -> None:
        """End the sessions of that server, for all clients at once."""
        await self._tell("cut", server, partial(_cut, balancer=self.name, server=server))

    async def version(self) -> str:
        """As in `simulated 1 pid 2 since 2027-01-15T08:00:00+00:00`."""
        await self._look("version")
        pool = self._site.pools[self.name]
        since = datetime.fromtimestamp(pool.since, UTC).isoformat()
        return f"simulated 1 pid {pool.process} since {since}"

    async def close(self) -> None:
        """Nothing is held open."""

    def _state(self, name: str, server: Server, now: float) -> ServerState:
        """As it is reported now: the same value as the last time, if nothing has changed."""
        sessions = server.count(now)
        idle = -1 if server.sent_at < 0 else int(now - server.sent_at)
        last = self._seen.get(name)
        if (
            last is not None
            and (last.sessions, last.idle) == (sessions, idle)
            and last.up is server.up
            and last.admin is server.admin
        ):
            return last
        check = "MAINT" if server.admin is AdminState.MAINT else "UP" if server.up else "DOWN"
        return ServerState(name, server.admin, server.up, sessions, 0, idle, self._addresses[name], check)

    async def _look(self, method: str) -> None:
        host = self._site.pools[self.name].host
        await self._site.calls.look("balancer", method, self.name, host, self._site.durations.silence)

    async def _tell(self, method: str, server: str, end: "partial[None]") -> None:
        site = self._site
        if not NAME.fullmatch(server):
            raise BalancerError(f"{self.name}: {server!r} cannot be the name of a server")
        pool = site.pools[self.name]
        if server not in pool.servers:
            near = get_close_matches(server, pool.servers, 1)
            nearest = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(pool.servers) or 'none'}"
            raise BalancerError(f"{self.name}: the pool has no server {server!r}; {nearest}")
        work = Work(site.durations.told, end=end, timeout=site.durations.silence)
        await site.calls.effect("balancer", method, server, pool.host, work)


def _told(site: "SimulatedSite", balancer: str, server: str, state: AdminState) -> None:
    """A server that leaves maint is up before its first check, which takes it down if it is bad."""
    it = site.pools[balancer].servers[server]
    if it.admin is AdminState.MAINT and state is not AdminState.MAINT:
        it.up, it.turns_at = True, site.moment + site.durations.check
    it.admin = state


def _cut(site: "SimulatedSite", balancer: str, server: str) -> None:
    site.clients.cut(site.pools[balancer].servers[server], server, site.moment)
