"""Simulated sites of another kind than usual, not broken: sound actions get along with them."""

from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

from changeover.ports import AdminState, Snapshot
from changeover.simulation import SimulatedSite
from changeover.simulation.application import SimulatedApplication
from changeover.simulation.balancer import SimulatedBalancer
from changeover.simulation.calls import Orphan
from changeover.simulation.database import SimulatedDatabase
from changeover.simulation.state import NEVER, Copy

EMPTY = sha256(repr(([], (), [])).encode()).hexdigest()
"""The fingerprint of a database with nothing in it."""

REPORT = 100.0
"""Seconds from the beginning for which the report keeps its lock: longer than until the first migration."""


class Ported(SimulatedSite):
    """Has ports of its own."""

    application_kind: type[SimulatedApplication] = SimulatedApplication
    balancer_kind: type[SimulatedBalancer] = SimulatedBalancer
    database_kind: type[SimulatedDatabase] = SimulatedDatabase

    def _open(self) -> None:
        super()._open()
        self.application = self.application_kind(self)
        self.balancers.update({name: self.balancer_kind(name, self) for name in self.pools})
        self.databases.update({name: self.database_kind(name, self) for name in self.stores})
        self.world = replace(self.world, application=self.application)


class _Slow(SimulatedBalancer):
    async def set_state(self, server: str, state: AdminState) -> None:
        was = self._site.pools[self.name].servers[server].admin
        await super().set_state(server, state)
        if was is AdminState.MAINT and state is AdminState.READY:
            self._site.change(partial(_down, balancer=self.name, server=server))


def _down(site: SimulatedSite, balancer: str, server: str) -> None:
    it = site.pools[balancer].servers[server]
    it.up, it.turns_at = False, NEVER


class SlowBalancer(Ported):
    """A server that is brought back is up only after its health checks."""

    balancer_kind = _Slow


class _Lazy(SimulatedApplication):
    async def do(self, capability: str, node: str, **values: Any) -> str:
        if capability != "stop":
            return await super().do(capability, node, **values)
        site, it = self._site, self._site.nodes[node]
        at = site.clock.now() + site.durations.stop
        site.orphan(Orphan(at, it.host, partial(_stopped, node=node)))
        return "stopping"


def _stopped(site: SimulatedSite, node: str) -> None:
    site.nodes[node].running = ""


class LazyStop(Ported):
    """Who asks a node to stop is answered before it has."""

    application_kind = _Lazy


LAST_NIGHT = Snapshot(
    "nightly", "memory:nightly", 0, sha256=EMPTY, rows={}, fingerprint=EMPTY, taken_at=0.0, verified=True
)


class Nightly(SimulatedSite):
    """The database has a verified snapshot of last night."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        for database in self.stores.values():
            database.snapshots["nightly"] = Copy(LAST_NIGHT, {}, (), {}, ())


class Reported(SimulatedSite):
    """A long report keeps a lock on what a migration needs."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        for database in self.stores.values():
            database.locked_until = self.clock.now() + REPORT
