"""Sees the simulated site at each of its moments: whether every interlock holds, and what it costs.

What an injected fault itself necessarily costs is not held against the run. That is, from the fault until a while
after it was mended:

- what is lost because of a node whose own host died or is cut off, or because those of all nodes did;
- everything, if the host is that of a balancer or of a database: nobody can be served without it;
- such a node counts as serving for the floor, because it is not the run that has taken it away. But no other node may
  be taken out while fewer than the floor are left in fact.

What a person has agreed to costs what was said: while a database is restored, or in a stage with an outage, everything.
Nothing else may cost anything.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from changeover.model.plan import Plan, Stage, Step, snapshot_label
from changeover.model.release import Ability
from changeover.ports import AdminState
from changeover.simulation import Loss, SimulatedSite

NEVER = float("inf")
EVERYTHING = ""
OUTAGE = "an outage that a person agreed to"
BALANCED = 10.0
"""Seconds that a balancer is given to see that a node is there again."""

TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that did not hold, how, and when (seconds since the epoch)."""

    rule: str
    what: str
    at: float


@dataclass(slots=True)
class Excuse:
    """From when until when (seconds since the epoch) losses are no fault of the run: of a host, or everything.

    `restore` is the database that is restored meanwhile, because a person has agreed.
    """

    host: str
    since: float
    until: float = NEVER
    restore: str = ""


@dataclass(slots=True)
class Costs:
    """The worst that was seen. `capacity`: balancer → how many servers were in rotation at the least.

    `outage`: what → the longest time, in seconds, during which nobody had it.
    """

    capacity: dict[str, int] = field(default_factory=dict)
    outage: dict[str, float] = field(default_factory=dict)


class Watcher:
    """Sees one site in the course of one play.

    `active` are the steps that are, or may be, at work; `stage` is the one that is executed. `excuses` is what came
    before the play.
    """

    def __init__(
        self,
        plan: Plan,
        run: str,
        site: SimulatedSite,
        *,
        active: Callable[[], Iterable[Step]],
        stage: Callable[[], Stage | None],
        excuses: Iterable[Excuse] = (),
    ) -> None:
        self._plan = plan
        self._site = site
        self._active = active
        self._stage = stage
        self._backup = {
            step.id.rpartition("/")[2]: snapshot_label(step.do.params["backup"], run)
            for step in plan.steps()
            if step.do.params.get("backup")
        }
        self._floor = floor(plan)
        self._patience = {change.database: change.lock_timeout for change in plan.release.migrations}
        self._allowed = {plan.release.from_version, plan.release.to_version}
        self._lost = len(site.clients.losses)
        self._open: dict[str, float] = {}
        self._before = self._seen()
        self.excuses = [replace(it) for it in excuses]
        self.violations: list[Violation] = []
        self.costs = Costs()
        self(site)

    # What the play says

    def struck(self, host: str) -> None:
        """That host has died or is cut off."""
        self.excuses.append(Excuse(self._reach_of(host), self._site.clock.now()))

    def mended(self) -> None:
        """Everything works again, or does so soon."""
        durations = self._site.durations
        soon = self._site.clock.now() + durations.well + durations.check * durations.rise + BALANCED
        for excuse in self.excuses:
            if not excuse.restore and excuse.host != OUTAGE:
                excuse.until = min(excuse.until, soon)

    @property
    def quiet(self) -> bool:
        """Whether everybody has everything."""
        return not self._open

    def conclude(self) -> None:
        """Judge what was lost in this play. To be called once, at its end."""
        for loss in self._site.clients.losses[self._lost :]:
            if not self._excused(loss) and not self._declared(loss):
                what = {
                    "request": "requests failed",
                    "write": "writes failed",
                    "cut": "sessions were cut",
                }.get(loss.what, "sessions were refused")
                where = f" at {loss.server}" if loss.server else ""
                self._broken(
                    "nothing is lost",
                    f"{loss.count} {what}{where}, {loss.end - loss.begin:.1f} s",
                    loss.begin,
                )
        for what, since in self._open.items():
            self._out(what, since)

    # The site at a moment

    def __call__(self, site: SimulatedSite) -> None:
        """Look at it."""
        seen = self._seen()
        self._agreements(site)
        if seen != self._before:
            self._moved(site, self._before)
        self._before = seen
        self._pools(site)
        self._nodes(site)
        self._databases(site)

    def _seen(self) -> Mapping[str, object]:
        site = self._site
        return {
            "admin": {
                (pool, name): server.admin
                for pool, it in site.pools.items()
                for name, server in it.servers.items()
            },
            "applied": {name: tuple(store.applied) for name, store in site.stores.items()},
        }

    def _moved(self, site: SimulatedSite, before: Mapping[str, object]) -> None:
        """What was changed since the last moment."""
        touched = {
            (pool, server)
            for step in self._active()
            for pool, server in step.do.params.get("servers", {}).items()
            if isinstance(step.do.params["servers"], Mapping)
        }
        was: Mapping[tuple[str, str], AdminState] = before["admin"]  # type: ignore[assignment]
        for pool, it in site.pools.items():
            rotation = sum(server.in_rotation for server in it.servers.values())
            for name, server in it.servers.items():
                told = was[pool, name]
                if server.admin is told:
                    continue
                if (pool, name) not in touched:
                    self._broken(
                        "only the named servers",
                        f"{name} in {pool} was told {server.admin}, by no step at work",
                    )
                if told is AdminState.READY and rotation < self._floor.get(pool, 0) and not self._outage:
                    self._broken(
                        "capacity floor",
                        f"{name} was taken out of {pool}, which leaves {rotation} in rotation, "
                        f"the floor is {self._floor[pool]}",
                    )
        had: Mapping[str, tuple[str, ...]] = before["applied"]  # type: ignore[assignment]
        for database, store in site.stores.items():
            for name in store.applied:
                label = self._backup.get(name)
                if label and name not in had[database]:
                    kept = store.snapshots.get(label)
                    if not kept or not kept.snapshot.verified:
                        self._broken("verified backup", f"{name} was applied to {database} without {label}")

    def _pools(self, site: SimulatedSite) -> None:
        nobody_wonders = self._everything_excused or self._outage
        for (name, pool), flow in zip(site.pools.items(), site.flows, strict=True):
            rotation = [server for server, it in pool.servers.items() if it.in_rotation]
            known = self.costs.capacity.get(name)
            if known is None or len(rotation) < known:
                self.costs.capacity[name] = len(rotation)
            not_ours = [
                server
                for server, it in pool.servers.items()
                if not it.in_rotation
                and it.admin is AdminState.READY
                and self._is_excused(self._host_of(it.node))
            ]
            counted = len(rotation) + len(not_ours)
            if counted < self._floor.get(name, 0) and not nobody_wonders:
                self._broken(
                    "capacity floor", f"{counted} of {name} are in rotation, the floor is {self._floor[name]}"
                )
            for server in () if nobody_wonders else rotation:
                self._in_rotation(site, name, server, pool.servers[server].node)
            self._track(f"{name} serves somebody", any(target.serves for target in flow.targets))

    def _in_rotation(self, site: SimulatedSite, pool: str, server: str, node: str) -> None:
        it = site.nodes[node]
        if self.excuses and self._is_excused(it.host):
            return
        rule = "in rotation is running, well and of an allowed version"
        if not it.running:
            self._broken(rule, f"{server} is in rotation at {pool} and does not run")
        elif it.running not in self._allowed:
            self._broken(rule, f"{server} is in rotation at {pool} and runs {it.running}")
        elif it.well_at > site.moment:
            self._broken(rule, f"{server} is in rotation at {pool} and has not started up")
        elif "health" in it.broken or it.ails:
            self._broken(rule, f"{server} is in rotation at {pool} and is not well")

    def _nodes(self, site: SimulatedSite) -> None:
        for name, node in site.nodes.items():
            if node.running and node.running not in node.installed:
                self._broken(
                    "what runs is left in place", f"{name} runs {node.running}, which is gone from it"
                )
        for version in {node.running for node in site.nodes.values() if node.running}:
            if site.ability(version) is Ability.NO:
                schemas = ", ".join(
                    f"{name} at {store.schema or 'its first schema'}" for name, store in site.stores.items()
                )
                self._broken("no forbidden pair", f"{version} runs with {schemas}")

    def _databases(self, site: SimulatedSite) -> None:
        for name, store in site.stores.items():
            for migration in {it for it in store.applied if store.applied.count(it) > 1}:
                self._broken("nothing is applied twice", f"{migration} is, to {name}")
            if store.waited > self._patience.get(name, NEVER) + TINY:
                self._broken(
                    "nobody queues behind a lock for longer than declared",
                    f"a migration of {name} waited {store.waited:.1f} s for its lock, and who writes waits behind it",
                )
            self._track(f"{name} can be written to", site.hosts[store.host].reached and not store.closed)
            excuse = next((it for it in self.excuses if it.restore == name and it.until == NEVER), None)
            if excuse is None and store.closed and self._restores(name):
                self.excuses.append(Excuse(EVERYTHING, site.moment, restore=name))
            elif excuse is not None and not store.closed:
                excuse.until = site.moment + site.durations.check * site.durations.rise + BALANCED

    def _restores(self, database: str) -> bool:
        """Whether it is restored just now."""
        return any(
            step.do.action == "database.restore" and step.do.target == database for step in self._active()
        )

    # What is excused

    def _reach_of(self, host: str) -> str:
        site = self._site
        central = {pool.host for pool in site.pools.values()} | {store.host for store in site.stores.values()}
        return EVERYTHING if host in central else host

    def _is_excused(self, host: str) -> bool:
        now = self._site.moment
        return any(it.host in (host, EVERYTHING) and it.since <= now <= it.until for it in self.excuses)

    @property
    def _everything_excused(self) -> bool:
        return self._is_excused(EVERYTHING)

    @property
    def _outage(self) -> bool:
        return any(it.host == OUTAGE and it.until == NEVER for it in self.excuses)

    def _agreements(self, site: SimulatedSite) -> None:
        """An outage lasts from the stage of which that was said until as many serve again as must."""
        stage = self._stage()
        under_way = stage is not None and stage.outage
        if under_way and not self._outage:
            self.excuses.append(Excuse(OUTAGE, site.moment))
        elif (
            not under_way
            and self._outage
            and all(
                sum(server.in_rotation for server in pool.servers.values()) >= self._floor.get(name, 0)
                for name, pool in site.pools.items()
            )
        ):
            for excuse in self.excuses:
                if excuse.host == OUTAGE:
                    excuse.until = min(excuse.until, site.moment)

    def _excused(self, loss: Loss) -> bool:
        hosts = {EVERYTHING, self._host_of_server(loss.server)}
        if loss.what != "cut":
            hosts.add(OUTAGE)
        if self._covered(loss, hosts):
            return True
        nobody_left = not loss.server
        return nobody_left and all(self._covered(loss, {it.host}) for it in self._site.nodes.values())

    def _covered(self, loss: Loss, hosts: Container[str]) -> bool:
        return any(
            it.host in hosts and it.since - TINY <= loss.begin and loss.end <= it.until + TINY
            for it in self.excuses
        )

    def _declared(self, loss: Loss) -> bool:
        """Sessions that outlast the deadline are cut where the operator's file says so."""
        return loss.what == "cut" and self._plan.release.limits.drain_escalation == "cut"

    def _host_of(self, node: str) -> str:
        return self._site.nodes[node].host

    def _host_of_server(self, server: str) -> str:
        nodes = (
            it.node
            for pool in self._site.pools.values()
            for name, it in pool.servers.items()
            if name == server
        )
        return next((self._host_of(node) for node in nodes), EVERYTHING)

    # What it comes to

    def _track(self, what: str, there: bool) -> None:
        if there and what in self._open:
            self._out(what, self._open.pop(what))
        elif not there:
            self._open.setdefault(what, self._site.moment)

    def _out(self, what: str, since: float) -> None:
        self.costs.outage[what] = max(self.costs.outage.get(what, 0.0), self._site.moment - since)

    def _broken(self, rule: str, what: str, at: float = -1.0) -> None:
        found = Violation(rule, what, self._site.moment if at < 0 else at)
        if all((it.rule, it.what) != (rule, what) for it in self.violations):
            self.violations.append(found)


def floor(plan: Plan) -> Mapping[str, int]:
    """Balancer → how few of its servers may be in rotation: what is declared, or what there was to begin with."""
    floors: dict[str, int] = {}
    for balancer in plan.site.balancers:
        seen = plan.facts.pools.get(balancer.name, {})
        ours = [
            node for node in plan.site.application.nodes
            if seen.get(node.servers.get(balancer.name, ""), "ready") == "ready"
            and balancer.name in node.servers
            and plan.facts.versions.get(node.name) != ""
        ]  # fmt: skip
        floors[balancer.name] = min(plan.release.keep_serving, len(ours))
    return floors
