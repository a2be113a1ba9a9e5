"""The access gate in memory: what is in force on each host, and what the host comes up with after a boot."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from changeover.errors import AccessError
from changeover.model.site import AccessConfig
from changeover.ports import GateState, Gating, Seen
from changeover.simulation.calls import Work

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite


class SimulatedAccess:
    """The `Access` port over the entrances of one gate."""

    def __init__(self, config: AccessConfig, site: "SimulatedSite") -> None:
        self.name = config.name
        self._config = config
        self._site = site

    async def state(self) -> Mapping[str, GateState]:
        """Every entrance whose host answers, as it is now."""
        states = await asyncio.gather(*map(self._state, self._config.hosts))
        return dict(zip(self._config.hosts, states, strict=True))

    async def shut(self) -> Mapping[str, GateState]:
        """First for the next boot, then now."""
        return await self._everywhere("shut", begin=_keep, end=_shut)

    async def reopen(self) -> Mapping[str, GateState]:
        """First for the next boot, then now."""
        return await self._everywhere("reopen", begin=_let_go, end=_reopen)

    async def seen_from(self, outside: str) -> Mapping[str, Seen]:
        """What the public gets at each port: every node of a host is at all of them."""
        await self._look("seen_from", outside)
        self._site.catch_up()
        return {
            f"{host}:{port}": self._seen(host) for host in self._config.hosts for port in self._config.ports
        }

    async def version(self) -> str:
        """Asked of every host."""
        for host in self._config.hosts:
            await self._look("version", host)
        return "simulated 1"

    async def close(self) -> None:
        """Nothing is held open."""

    async def _state(self, host: str) -> GateState:
        try:
            await self._look("state", host)
        except AccessError as error:
            return GateState(Gating.UNKNOWN, error.message)
        it = self._site.gates[self.name].entrances[host]
        return GateState(it.gating, it.evidence)

    def _seen(self, host: str) -> Seen:
        site = self._site
        if not site.hosts[host].reached:
            return Seen.SILENT
        if site.shut_out(host):
            return Seen.PAGE if self._config.page else Seen.REFUSED
        for pool in site.pools.values():
            if pool.host == host:  # which says itself that nobody is there
                led = any(it.in_rotation and site.well(it.node) for it in pool.servers.values())
                return Seen.APPLICATION if led else Seen.PAGE
        served = any(node.host == host and site.well(name) for name, node in site.nodes.items())
        return Seen.APPLICATION if served else Seen.REFUSED

    async def _everywhere(
        self, method: str, *, begin: Callable[..., None], end: Callable[..., None]
    ) -> Mapping[str, GateState]:
        """On every host at once; what fails on one is told when the others have ended."""
        site = self._site

        async def tell(host: str) -> None:
            its = {"gate": self.name, "host": host}
            work = Work(
                site.durations.told,
                begin=partial(begin, **its),
                end=partial(end, **its),
                timeout=site.durations.silence,
            )
            await site.calls.effect("access", method, self.name, host, work)

        failed = await asyncio.gather(*map(tell, self._config.hosts), return_exceptions=True)
        for error in failed:
            if isinstance(error, BaseException):
                raise error
        return await self.state()

    async def _look(self, method: str, host: str) -> None:
        await self._site.calls.look("access", method, self.name, host, self._site.durations.silence)


def _keep(site: "SimulatedSite", gate: str, host: str) -> None:
    site.gates[gate].entrances[host].kept = True


def _shut(site: "SimulatedSite", gate: str, host: str) -> None:
    """Those who are there are cut off, unless they are to be kept."""
    it = site.gates[gate]
    it.entrances[host].live, it.entrances[host].let_in = True, ""
    if it.cut:
        for name, server in it.servers.items():
            if site.nodes[name].host == host:
                site.clients.cut(server, name, site.moment)


def _let_go(site: "SimulatedSite", gate: str, host: str) -> None:
    site.gates[gate].entrances[host].kept = False


def _reopen(site: "SimulatedSite", gate: str, host: str) -> None:
    site.gates[gate].entrances[host].live, site.gates[gate].entrances[host].let_in = False, ""
