"""A whole site in memory, made from the same description as a real one.

It is looked at and changed at moments only; in between everything stays as it is, so that nothing has to run
beside the conductor. `settle` brings it from the last moment to now: what has come of itself meanwhile (a node
that has started up, a health check that has turned over) is found there, at its own time.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from changeover.errors import PortError
from changeover.model.release import Ability, CommandMigration, Release
from changeover.model.site import Site
from changeover.ports import AdminState, Clock, World
from changeover.simulation import storage
from changeover.simulation.access import SimulatedAccess
from changeover.simulation.application import SimulatedApplication
from changeover.simulation.balancer import SimulatedBalancer
from changeover.simulation.calls import Calls, Orphan
from changeover.simulation.clients import Clients, Flow, Target, Traffic
from changeover.simulation.clock import SimulatedClock
from changeover.simulation.compatibility import Abilities, abilities_of, ability
from changeover.simulation.database import SimulatedDatabase
from changeover.simulation.durations import Durations
from changeover.simulation.host import SimulatedHost
from changeover.simulation.notifier import Mailbox, SimulatedNotifier
from changeover.simulation.state import NEVER, Entrance, Gate, Machine, Pool, Server, SimulatedNode, Store

Transition = Callable[["SimulatedSite"], None]
"""A change of a site. It names what it changes and holds none of it, so that it can be made in a fork."""

Watcher = Callable[["SimulatedSite"], None]


@dataclass(frozen=True, slots=True)
class Command:
    """What a capability does to a schema: `apply` a migration, `revert` it, or `ask` how much of it is applied."""

    database: str
    migration: str
    verb: str


class SimulatedSite:
    """Every part of the site, running `version` and well; `world` is what actions see of it.

    With a `release`, the capabilities that its migrations name work, and the versions can do on the schemas what
    it promises, unless `abilities` says otherwise. `orphans_end` says what comes of a call whose conductor dies, which
    cancels it: it goes on to its end, or stays as far as it was. Tests and rehearsals may change any field of `hosts`,
    `nodes`, `pools` and `stores`, and call `settle` then. `watcher` is called with the site after each of its moments;
    a fork has none. `flows` says where each balancer, in the order of `pools`, sends its clients from that moment on; where
    there is none, who comes through each access gate, in the order of `gates`.
    """

    watcher: Watcher = staticmethod(lambda _site: None)

    def __init__(
        self,
        site: Site,
        version: str,
        clock: Clock | None = None,
        *,
        release: Release | None = None,
        abilities: Abilities | None = None,
        traffic: Traffic | None = None,
        durations: Durations | None = None,
    ) -> None:
        self.site = site
        self.clock = clock or SimulatedClock()
        promised = abilities_of(release) if release else {}
        self.abilities = promised if abilities is None else abilities
        self.durations = durations or Durations()
        self.commands = dict(_commands(release)) if release else {}
        self.hosts = {host.name: Machine() for host in site.hosts}
        self.nodes = {
            node.name: SimulatedNode(host=node.host, release=version, installed={version}, running=version)
            for node in site.application.nodes
        }
        now = self.clock.now()
        self.pools = {
            balancer.name: Pool(
                balancer.host,
                {
                    node.servers[balancer.name]: Server(node.name)
                    for node in site.application.nodes
                    if balancer.name in node.servers
                },
                since=now,
            )
            for balancer in site.balancers
        }
        self.gates = {
            gate.name: Gate(
                {host: Entrance() for host in gate.hosts},
                {
                    node.name: Server(node.name)
                    for node in site.application.nodes
                    if node.host in gate.hosts and not site.balancers
                },
                cut=gate.established == "cut",
            )
            for gate in site.access
        }
        self.stores = {database.name: Store(database.host) for database in site.databases}
        self.clients = Clients(traffic or Traffic(), now, now)
        able = site.application.capabilities
        states = storage.BY_DEFAULT if "deployments" in able else {}
        self.deployments = storage.deployed(states, self.nodes)
        self.answers = {it.ask: it.answer for it in release.expectations} if release else {}
        for it in self.nodes.values():
            it.watchdog = it.watched = "watchdog_running" in able
        self.mailboxes = {notice.name: Mailbox() for notice in release.notices} if release else {}
        self.orphans: list[Orphan] = []
        self.orphans_end = False
        self._due = NEVER
        self._open()

    def _open(self) -> None:
        """Make the ports, and see how everything stands."""
        self.calls = Calls(self)
        self.application = SimulatedApplication(self)
        self.balancers = {name: SimulatedBalancer(name, self) for name in self.pools}
        self.databases = {name: SimulatedDatabase(name, self) for name in self.stores}
        self.world = World(
            {name: SimulatedHost(name, self) for name in self.hosts},
            self.balancers,
            self.databases,
            self.application,
            self.clock,
            {gate.name: SimulatedAccess(gate, self) for gate in self.site.access},
            {name: SimulatedNotifier(name, self) for name in self.mailboxes},
        )
        self.flows: list[Flow] = []
        self.revision = 0
        self.moment = self.clients.counted
        self._look(self.moment)
        self.settle()

    def fork(self, clock: Clock) -> Self:
        """The same site, at the same moment, that goes on by itself; `clock` must not be behind this one's."""
        it = object.__new__(type(self))
        it.site, it.clock, it.abilities, it.durations = self.site, clock, self.abilities, self.durations
        it.commands = self.commands
        it.hosts = {name: host.copy() for name, host in self.hosts.items()}
        it.nodes = {name: node.copy() for name, node in self.nodes.items()}
        it.pools = {name: pool.copy() for name, pool in self.pools.items()}
        it.gates = {name: gate.copy() for name, gate in self.gates.items()}
        it.stores = {name: store.copy() for name, store in self.stores.items()}
        it.clients = self.clients.copy()
        it.deployments = {name: deployment.copy() for name, deployment in self.deployments.items()}
        it.answers = dict(self.answers)
        it.mailboxes = {name: mailbox.copy() for name, mailbox in self.mailboxes.items()}
        it.orphans, it.orphans_end, it._due = list(self.orphans), self.orphans_end, self._due
        it._open()
        return it

    # What comes of itself

    def settle(self) -> float:
        """Bring everything to now, and return when that is. To be called after a change from outside, too."""
        now = self.clock.now()
        while self._due <= now:
            at = self._due
            self._pass(at)
            self.moment = at
            while (orphan := next((it for it in self.orphans if it.at <= at), None)) is not None:
                self.orphans.remove(orphan)
                with suppress(PortError):  # nobody is there any more to hear of it
                    orphan.end(self)
            self._look(at)
        self._pass(now)
        self._look(now)
        return now

    def _pass(self, now: float) -> None:
        """Count what clients and nodes have done up to now."""
        storage.count(self, now - self.clients.counted)
        self.clients.count(self.flows, now)

    def catch_up(self) -> float:
        """The same, where nothing was changed from outside."""
        now = self.clock.now()
        return self.settle() if self._due <= now else now

    def count(self) -> float:
        """The same, with the clients counted up to now."""
        now = self.catch_up()
        self._pass(now)
        return now

    def change(self, transition: Transition) -> None:
        """Make a change now."""
        now = self.moment = self.count()
        try:
            transition(self)
        finally:
            self._look(now)

    def orphan(self, orphan: Orphan) -> None:
        """Let something end by itself at its time, unless its host dies before."""
        self.orphans.append(orphan)
        self._due = min(self._due, orphan.at)

    def _look(self, now: float) -> None:
        """See who serves whom from now on, and when that is going to change."""
        self.moment = now
        self.revision += 1
        due = min((orphan.at for orphan in self.orphans), default=NEVER)
        stores_up = self._stores_up()
        living = {version for version in self._running() if self.ability(version) is not Ability.NO}
        serving: dict[str, bool] = {}
        for name, node in self.nodes.items():
            serving[name] = stores_up and node.running in living and self._serves(node, now)
            if node.running and node.well_at > now:
                due = min(due, node.well_at)
            due = min(due, self._revived(name, now))
        self.flows = []
        for pool in self.pools.values():
            self._check(pool, serving, now)
            if pool.host and not self.hosts[pool.host].reached:
                self.flows.append(Flow((), None))
                continue
            due = min(due, *(server.turns_at for server in pool.servers.values()), NEVER)
            targets = [
                Target(name, server, serving[server.node] and not self.shut_out(self.nodes[server.node].host))
                for name, server in pool.servers.items()
                if server.in_rotation
            ]
            if pool.host and self.shut_out(pool.host):
                targets = []
            self.flows.append(Flow(targets, self._written() if stores_up else None))
        for gate in self.gates.values() if not self.pools else ():
            self.flows.append(self._direct(gate, serving, now, stores_up=stores_up))
        self._due = due
        self.watcher(self)

    def _direct(self, gate: Gate, serving: Mapping[str, bool], now: float, *, stores_up: bool) -> Flow:
        """Clients who come to the nodes by themselves, each to the one whose turn it is, whether or not it answers."""
        for name, server in gate.servers.items():
            if server.sessions and not (self.nodes[name].running and self.hosts[self.nodes[name].host].up):
                self.clients.cut(server, name, now)
        targets = [
            Target(name, server, serving[name] and not self.shut_out(self.nodes[name].host))
            for name, server in gate.servers.items()
        ]
        return Flow(targets, self._written() if stores_up else None)

    def _revived(self, name: str, now: float) -> float:
        """When a watchdog starts its node again; that is done here once it has come."""
        node = self.nodes[name]
        if node.running or not node.watchdog or not self.hosts[node.host].up:
            node.revives_at = NEVER
        elif node.revives_at == NEVER:
            node.revives_at = now + self.durations.revive
        elif node.revives_at <= now:
            self.start(name)
            node.revives_at = now + self.durations.revive
            return now
        return node.revives_at

    def _stores_up(self) -> bool:
        return all(not store.closed and self.hosts[store.host].reached for store in self.stores.values())

    def _running(self) -> set[str]:
        return {node.running for node in self.nodes.values() if node.running}

    def _serves(self, node: SimulatedNode, now: float) -> bool:
        well = node.well_at <= now and "health" not in node.broken and not node.ails
        return well and self.hosts[node.host].reached

    def _check(self, pool: Pool, serving: Mapping[str, bool], now: float) -> None:
        """The health checks of a balancer, and the sessions that end with what they were on."""
        durations = self.durations
        for name, server in pool.servers.items():
            node = self.nodes[server.node]
            if server.sessions and not (node.running and self.hosts[node.host].up):
                self.clients.cut(server, name, now)
            well = serving[server.node]
            if server.admin is AdminState.MAINT:
                server.up, server.turns_at = False, NEVER
            elif well == server.up:
                server.turns_at = NEVER
            elif server.turns_at <= now:
                server.up, server.turns_at = well, NEVER
                if not well:
                    self.clients.cut(server, name, now)
            elif server.turns_at == NEVER:
                server.turns_at = now + durations.check * (durations.rise if well else durations.fall)

    def _written(self) -> Store | None:
        name = self.clients.traffic.database
        return self.stores[name] if name else next(iter(self.stores.values()), None)

    def start(self, node: str) -> None:
        """Start what the node's link leads to; on a schema that it cannot start on it dies at once."""
        it = self.nodes[node]
        if not it.running and it.release in it.installed and self.ability(it.release) is Ability.START:
            it.running, it.clean = it.release, False
            it.well_at = self.moment + self.durations.well
            for path in it.logs:
                lines = (*it.mutters.get(it.release, ()), f"INFO {it.release} started")
                self.hosts[it.host].log(path, "".join(f"{line}\n" for line in lines).encode())

    # What is done to it from outside

    def flush_rules(self, host: str) -> None:
        """Somebody flushes the rules of the host's packet filter: what a gate kept there for the next boot stays."""
        for gate in self.gates.values():
            if host in gate.entrances:
                gate.entrances[host].live = False
        self.settle()

    def let_in(self, gate: str, host: str, who: str) -> None:
        """Somebody lets somebody in through a closed gate."""
        self.gates[gate].entrances[host].let_in = who
        self.settle()

    def kill(self, host: str) -> None:
        """The power of the host fails."""
        machine = self.hosts[host]
        machine.up = machine.frozen = False
        self.orphans = [orphan for orphan in self.orphans if orphan.host != host]
        for node in self.nodes.values():
            if node.host == host:
                node.running, node.watchdog = "", False
        self.settle()

    def power(self, host: str) -> None:
        """Its power is back: it boots, and then its services start."""
        if not self.hosts[host].up:
            self.orphan(Orphan(self.clock.now() + self.durations.boot, host, partial(boot, host=host)))

    def freeze(self, host: str, frozen: bool = True) -> None:
        """It does nothing any more, or goes on."""
        self.hosts[host].frozen = frozen
        self.settle()

    def cut(self, host: str, cut: bool = True) -> None:
        """It is cut off from the network, or reached again."""
        self.hosts[host].cut = cut
        self.settle()

    def fill(self, host: str, full: bool = True) -> None:
        """Its disk is full, or has room again."""
        self.hosts[host].full = full

    def mend(self) -> None:
        """Every host is as it should be, and no version is ill; what was done to their contents stays."""
        for node in self.nodes.values():
            node.ill = ""
        for name, machine in self.hosts.items():
            machine.frozen = machine.cut = machine.full = False
            boot(self, name)
        self.settle()

    def reload(self, balancer: str, *, keep: bool) -> None:
        """Another process of the balancer takes over; without `keep` it has forgotten what it was told."""
        now = self.settle()
        pool = self.pools[balancer]
        pool.process, pool.since = pool.process + 1, now
        for server in pool.servers.values():
            server.admin = server.admin if keep else AdminState.READY
            server.up = server.admin is not AdminState.MAINT
            server.turns_at = now + self.durations.check
        self.settle()

    def begin_sessions(self, node: str, *lasts: float) -> None:
        """Clients begin sessions on the node, one through each balancer for each of these seconds."""
        now = self.settle()
        for pool in self.pools.values():
            for server in pool.servers.values():
                if server.node == node:
                    server.open([now + seconds for seconds in lasts], now)
                    server.sent_at = now

    # What it is like

    def sessions(self, node: str) -> int:
        """How many sessions the node holds now."""
        now = self.count()
        servers = (server for pool in self.pools.values() for server in pool.servers.values())
        return sum(server.count(now) for server in servers if server.node == node)

    def well(self, node: str) -> bool:
        """Whether the node would answer its health check well."""
        now = self.catch_up()
        it = self.nodes[node]
        lives = bool(it.running) and self.ability(it.running) is not Ability.NO
        return lives and self._stores_up() and self._serves(it, now)

    def shut_out(self, host: str) -> bool:
        """Whether the public is turned away at that host."""
        return any(host in gate.entrances and gate.entrances[host].live for gate in self.gates.values())

    def ability(self, version: str) -> Ability:
        """What that version can do on the schemas as they are."""
        return ability(self.abilities, version, [store.schema for store in self.stores.values()])

    def state(self) -> dict[str, Any]:
        """All that an upgrade changes and its way back has to restore, as plain values to compare.

        Not in it: times, and what clients have written; `clients.missing` says what of that is lost.
        """
        self.settle()
        return {
            "hosts": {
                name: {
                    "up": it.up,
                    "frozen": it.frozen,
                    "cut": it.cut,
                    "full": it.full,
                    "files": dict(it.files),
                    "owned": dict(it.owned),
                }
                for name, it in self.hosts.items()
            },
            "nodes": {
                name: {"installed": sorted(it.installed), "release": it.release, "running": it.running}
                | ({"watchdog": it.watchdog} if it.watched else {})
                for name, it in self.nodes.items()
            },
            "deployments": {
                name: {"flush": it.flush, "lost": it.lost} for name, it in self.deployments.items()
            },
            "pools": {
                name: {
                    server: {"admin": str(it.admin), "up": it.up, "in_rotation": it.in_rotation}
                    for server, it in pool.servers.items()
                }
                for name, pool in self.pools.items()
            },
            "gates": {
                name: {host: it.evidence for host, it in gate.entrances.items()}
                for name, gate in self.gates.items()
            },
            "databases": {
                name: {
                    "applied": tuple(it.applied),
                    "unfinished": sorted(
                        it.partly.union(e.name for e in it.ledger.values() if not e.finished_at)
                    ),
                    "tables": dict(it.tables),
                    "snapshots": {label: kept.snapshot.verified for label, kept in it.snapshots.items()},
                    "closed": it.closed,
                }
                for name, it in self.stores.items()
            },
        }


def differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> list[str]:
    """What differs between two states, field by field: `nodes.app1.release: v1, now v2`."""
    found: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            found += differences(was, now, f"{path}{name}.")
        elif was != now:
            found.append(f"{path}{name}: {was}, now {now}")
    return found


def boot(site: SimulatedSite, host: str) -> None:
    """The host is up, and its services are started."""
    machine = site.hosts[host]
    if not machine.up:
        machine.up = True
        for gate in site.gates.values():
            if host in gate.entrances:
                gate.entrances[host].live, gate.entrances[host].let_in = gate.entrances[host].kept, ""
        for name, node in site.nodes.items():
            if node.host == host:
                node.watchdog = node.watched
                site.start(name)


def _commands(release: Release) -> Iterable[tuple[str, Command]]:
    for change in release.migrations:
        for it in (*change.expand, *change.contract):
            if isinstance(it, CommandMigration):
                verbs = {it.run: "apply", it.observe: "ask", it.undo: "revert"}
                for capability, verb in verbs.items():
                    if capability:
                        yield capability, Command(change.database, it.name, verb)
