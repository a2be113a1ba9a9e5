"""How a call of a port goes: it takes its time, its host may fail it, and a fault may strike it."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from changeover.errors import PortError
from changeover.simulation import faults
from changeover.simulation.faults import Call, Fault

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite, Transition

MUCH_SLOWER = 10.0
EVER = float("inf")


class Orphan(NamedTuple):
    """The end of what goes on by itself on a host, and when that comes; `locks` is a database that it holds."""

    at: float
    host: str
    end: "Transition"
    locks: str = ""


@dataclass(slots=True)
class Work:
    """What a call does: `begin` at once, `end` after so many seconds; who is cancelled leaves it in between.

    `detached` is what goes on by itself once it was begun, whatever comes of the caller, as a job of systemd does.
    What takes longer than `timeout` is ended then, and an error. `locks` is a database that it holds meanwhile.
    """

    seconds: float = 0.0
    begin: "Transition | None" = None
    end: "Transition | None" = None
    timeout: float = EVER
    detached: bool = False
    locks: str = ""


def _ail(site: "SimulatedSite", node: str) -> None:
    site.nodes[node].ill = site.nodes[node].running


class Calls:
    """Makes the calls of all ports of one site."""

    def __init__(self, site: "SimulatedSite") -> None:
        self._site = site

    async def look(self, port: str, method: str, target: str, host: str, timeout: float = EVER) -> None:
        """Return if the host answers; raise the error of the port if not."""
        site = self._site
        site.catch_up()
        machine = site.hosts.get(host)
        if faults.aim() is None and (machine is None or machine.reached):
            return
        await self._make(Call(port, method, target, host, effect=False), Work(timeout=timeout))

    async def effect(self, port: str, method: str, target: str, host: str, work: Work) -> None:
        """Change the site."""
        await self._make(Call(port, method, target, host), work)

    async def _make(self, call: Call, work: Work) -> None:
        aim = faults.aim()
        fault = aim.strikes(call) if aim else None
        await self._reach(call, work)
        await self._begin(call, work, fault)
        if fault in (Fault.HOST_DIES, Fault.NETWORK_CUT):
            await self._lose_host(call, work, fault)
        await self._last(call, work)
        if work.end is not None:
            self._site.change(work.end)
        if fault is Fault.UNWELL and call.target in self._site.nodes:
            self._site.change(partial(_ail, node=call.target))
        if fault is Fault.ANSWER_LOST:
            raise self._lost(call)
        if fault is Fault.SAYS_FAILED:
            raise call.error(f"{call}: exit status 1, as a fault wants it")
        if fault is Fault.HANGS_AFTER:
            await self._hang(call, work)

    async def _begin(self, call: Call, work: Work, fault: Fault | None) -> None:
        site = self._site
        if fault is Fault.REFUSED:
            raise call.error(f"{call}: refused, as a fault wants it")
        if fault is Fault.HANGS:
            await self._hang(call, work)
        if fault is Fault.DISK_FULL and call.host in site.hosts:
            site.fill(call.host)
        if fault is Fault.SLOW:
            work.seconds *= MUCH_SLOWER
        if work.begin is not None:
            site.change(work.begin)
        if fault is Fault.BROKEN_OFF:
            raise call.error(f"{call}: broken off in the middle, as a fault wants it")
        if work.detached and work.end is not None:
            self._leave(call, work, site.clock.now() + work.seconds)
            work.end = None

    async def _last(self, call: Call, work: Work) -> None:
        """Let the time pass; the host may fail meanwhile, the caller be cancelled."""
        if work.seconds <= 0:
            return
        site = self._site
        ends_at = site.clock.now() + work.seconds
        try:
            await site.clock.sleep(min(work.seconds, work.timeout))
        except asyncio.CancelledError:
            if site.orphans_end:
                self._leave(call, work, ends_at)
            raise
        site.catch_up()
        machine = site.hosts.get(call.host)
        if machine is not None and not machine.reached:
            if machine.up:
                self._leave(call, work, ends_at)
            await self._reach(call, work)
        if work.seconds > work.timeout:
            raise self._out_of_time(call, work.timeout)

    def _leave(self, call: Call, work: Work, ends_at: float) -> None:
        """Let it come to its end without us."""
        if work.end is not None:
            self._site.orphan(Orphan(ends_at, call.host, work.end, work.locks))

    async def _lose_host(self, call: Call, work: Work, fault: Fault) -> None:
        site = self._site
        ends_at = site.clock.now() + work.seconds
        await site.clock.sleep(work.seconds / 2)
        if call.host in site.hosts:
            (site.kill if fault is Fault.HOST_DIES else site.cut)(call.host)
        if fault is Fault.NETWORK_CUT:
            self._leave(call, work, ends_at)
        await site.clock.sleep(site.durations.silence)
        raise self._lost(call)

    async def _reach(self, call: Call, work: Work) -> None:
        site = self._site
        machine = site.hosts.get(call.host)
        if machine is None or machine.reached:
            return
        if machine.frozen and machine.up and work.timeout < EVER:
            await self._hang(call, work)
        silence = site.durations.silence
        await site.clock.sleep(silence)
        raise call.error(f"{call.host}: no answer within {silence:g} s", "see whether the host is alive")

    async def _hang(self, call: Call, work: Work) -> None:
        """Never answer; whoever set a timeout is told when it is over."""
        if work.timeout < EVER:
            await self._site.clock.sleep(work.timeout)
            raise self._out_of_time(call, work.timeout)
        await asyncio.get_running_loop().create_future()

    @staticmethod
    def _out_of_time(call: Call, timeout: float) -> PortError:
        hint = "see whether the host answers at all; it may or may not have been done"
        return call.error(f"{call.host or call.target}: no end within {timeout:g} s of: {call.method}", hint)

    @staticmethod
    def _lost(call: Call) -> PortError:
        return call.error(f"{call.host or call.target}: the connection was lost")
