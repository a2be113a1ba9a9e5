"""Drivers that do not keep what their ports promise."""

from functools import partial
from typing import Any

from changeover.model.release import SqlMigration
from changeover.ports import AdminState, Applied
from changeover.simulation import SimulatedSite
from changeover.simulation.application import SimulatedApplication
from changeover.simulation.balancer import SimulatedBalancer
from changeover.simulation.calls import Orphan, Work
from changeover.simulation.database import SimulatedDatabase
from changeover.simulation.state import NEVER
from tests.unit.rehearsal.broken.breaking import FIT, LEADS, LOST, WRITES, Broken, Sound
from tests.unit.rehearsal.broken.sites import Ported, Reported

SOON = 0.5


class _Reloads(SimulatedBalancer):
    async def set_state(self, server: str, state: AdminState) -> None:
        await super().set_state(server, state)
        if state is AdminState.MAINT:
            at = self._site.clock.now() + SOON
            host = self._site.pools[self.name].host
            self._site.orphan(Orphan(at, host, partial(_reloaded, balancer=self.name)))


def _reloaded(site: SimulatedSite, balancer: str) -> None:
    for server in site.pools[balancer].servers.values():
        server.admin, server.up, server.turns_at = AdminState.READY, True, NEVER


class ForgetfulBalancer(Ported):
    """It is reloaded soon after a server was taken out, and has forgotten that."""

    balancer_kind = _Reloads


class _Cuts(SimulatedBalancer):
    async def set_state(self, server: str, state: AdminState) -> None:
        await super().set_state(server, state)
        if state is AdminState.DRAIN:
            await self.cut(server)


class CuttingBalancer(Ported):
    """A drain ends the sessions that there are."""

    balancer_kind = _Cuts


class _Halves(SimulatedApplication):
    async def do(self, capability: str, node: str, **values: Any) -> str:
        if capability != "switch":
            return await super().do(capability, node, **values)
        begin = partial(_half, node=node, release=values["release"])
        work = Work(self._site.durations.switch, begin, partial(_whole, node=node))
        await self._site.calls.effect("application", capability, node, self._site.nodes[node].host, work)
        return "switched"


def _half(site: SimulatedSite, node: str, release: str) -> None:
    site.nodes[node].release = release
    site.nodes[node].broken.add("health")


def _whole(site: SimulatedSite, node: str) -> None:
    site.nodes[node].broken.discard("health")


class HalfSwitch(Ported):
    """A switch leads the link there first, and puts in place what belongs to it afterwards."""

    application_kind = _Halves


class _Overwrites(SimulatedApplication):
    async def do(self, capability: str, node: str, **values: Any) -> str:
        said = await super().do(capability, node, **values)
        if capability == "install":
            self._site.change(partial(_overwritten, node=node, release=values["release"]))
        return said


def _overwritten(site: SimulatedSite, node: str, release: str) -> None:
    site.nodes[node].installed = {release}


class OverwritingInstall(Ported):
    """A release is put in place over the one that runs."""

    application_kind = _Overwrites


class _Loses(SimulatedDatabase):
    async def revert(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        said = await super().revert(migration, lock_timeout=lock_timeout)
        self._site.change(partial(_fewer, name=self.name))
        return said


def _fewer(site: SimulatedSite, name: str) -> None:
    writes = site.stores[name].writes
    writes[-1] = writes[-1][:-1]


class LossyRevert(Ported):
    """A down script takes a row with it."""

    database_kind = _Loses


class _Apart(SimulatedDatabase):
    async def migrate(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        applied = partial(_applied, name=self.name, migration=migration.name)
        await self._effect("migrate", self._site.durations.migrate, applied)
        noted = partial(_noted, name=self.name, migration=migration)
        await self._effect("note", self._site.durations.told, noted)
        return "applied"


def _applied(site: SimulatedSite, name: str, migration: str) -> None:
    site.stores[name].applied.append(migration)


def _noted(site: SimulatedSite, name: str, migration: SqlMigration) -> None:
    entry = Applied(migration.name, migration.checksum, site.moment, site.moment)
    site.stores[name].ledger[migration.name] = entry


class EntryApart(Ported):
    """A migration and its entry in the ledger are two transactions."""

    database_kind = _Apart


class _Queues(SimulatedDatabase):
    async def migrate(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        return await super().migrate(migration, lock_timeout=NEVER)


class Queueing(Ported, Reported):
    """A migration waits for its lock as long as it takes, and everybody who writes behind it."""

    database_kind = _Queues


class _StaysClosed(SimulatedDatabase):
    async def snapshot(self, label: str) -> Any:
        store = self._site.stores[self.name]
        store.closed = True
        self._site.settle()
        await self._site.clock.sleep(self._site.durations.snapshot)
        store.closed = False
        self._site.settle()
        return await super().snapshot(label)


class ClosingSnapshot(Ported):
    """Nobody can write while a snapshot is taken."""

    database_kind = _StaysClosed


ABORTED = "app1/drain:fails-before:abort"

DRIVERS = {
    "balancer-forgets": Broken(
        what="a balancer is reloaded after a node was taken out, and has forgotten that",
        site=ForgetfulBalancer,
        rule=FIT,
        says="app1 is in rotation at public and does not run",
    ),
    "drain-cuts": Broken(
        what="a balancer ends the sessions of a server that is drained",
        site=CuttingBalancer,
        rule=LOST,
        says="sessions were cut at app1",
    ),
    "switch-not-atomic": Broken(
        what="a switch leaves half of itself when its conductor dies, and says that it is done",
        site=HalfSwitch,
        case="app1/switch:conductor-dies-effect-dies:retry:retry:retry",
        rule=LEADS,
        says="app1/health",
    ),
    "install-overwrites": Broken(
        what="an install overwrites the release that runs",
        site=OverwritingInstall,
        rule="what runs is left in place",
        says="app1 runs v1, which is gone from it",
    ),
    "revert-loses-rows": Broken(
        what="a down script loses a row that was written",
        site=LossyRevert,
        case=ABORTED,
        rule=WRITES,
    ),
    "migration-applied-twice": Broken(
        what="a migration and its entry in the ledger are two transactions: between them it is applied again",
        site=EntryApart,
        case="main/expand/001_kind:conductor-dies-effect-dies@2",
        rule="nothing is applied twice",
        says="001_kind is, to main",
    ),
    "no-lock-timeout": Broken(
        what="a migration waits for its lock without a limit, and who writes waits behind it",
        sound=Sound(site=Reported),
        site=Queueing,
        rule="nobody queues behind a lock for longer than declared",
    ),
    "snapshot-closes": Broken(
        what="a snapshot closes the database while it is taken",
        site=ClosingSnapshot,
        rule=LOST,
        says="writes failed",
    ),
}
