"""What losses are no fault of the run: what a fault costs by necessity, and what a person has agreed to.

That is, from the fault until a while after it was mended:

- what is lost because of a node whose own host died or is cut off, or because those of all nodes did;
- everything, if the host is that of a balancer or of a database: nobody can be served without it;
- such a node counts as serving for the floor, because it is not the run that has taken it away. But no other node may
  be taken out while fewer than the floor are left in fact.

What a person has agreed to costs what was said: while a database is restored, or in a stage with an outage, everything.
Nothing else may cost anything.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from changeover.model.plan import Plan, Stage, Step
from changeover.simulation import Loss, SimulatedSite

NEVER = float("inf")
EVERYTHING = ""
OUTAGE = "an outage that a person agreed to"
BALANCED = 10.0
"""Seconds that a balancer is given to see that a node is there again."""

BOOTED = 60.0
"""Seconds after everything was mended in which the run may still stop what a boot has started."""

TINY = 1e-6


@dataclass(slots=True)
class Excuse:
    """From when until when (seconds since the epoch) losses are no fault of the run: of a host, or everything.

    `restore` is the database that is restored meanwhile, because a person has agreed. `skipped`: a person has skipped
    a step of a node there, and answers for what is lost at it; every rule holds for it as before.
    """

    host: str
    since: float
    until: float = NEVER
    restore: str = ""
    skipped: bool = False


class Excuses:
    """All of them in the course of one play; `before` are those of what came before it."""

    def __init__(
        self, plan: Plan, site: SimulatedSite, floor: Mapping[str, int], before: Iterable[Excuse]
    ) -> None:
        self._plan = plan
        self._site = site
        self._floor = floor
        self.all = [replace(it) for it in before]

    def struck(self, host: str) -> None:
        """That host has died or is cut off."""
        site = self._site
        central = {pool.host for pool in site.pools.values()} | {store.host for store in site.stores.values()}
        self.all.append(Excuse(EVERYTHING if host in central else host, site.clock.now()))

    def skipped(self, nodes: Iterable[str]) -> None:
        """A person has skipped a step of these nodes, or accepted that they were set aside."""
        for name in nodes:
            self.all.append(Excuse(self._site.nodes[name].host, self._site.clock.now(), skipped=True))

    def mended(self) -> None:
        """Everything works again, or does so soon."""
        durations = self._site.durations
        soon = self._site.clock.now() + durations.well + durations.check * durations.rise + BALANCED
        for excuse in self.all:
            if not excuse.restore and not excuse.skipped and excuse.host != OUTAGE:
                excuse.until = min(excuse.until, soon)

    def look(self, stage: Stage | None, at_work: Iterable[Step]) -> None:
        """See what is agreed to at this moment, in that stage, with these steps at work."""
        self._outages(stage)
        self._restores(at_work)

    def hosts(self) -> frozenset[str]:
        """Those on which a fault has struck, and all of them where nobody can be served."""
        if not self.all:
            return frozenset()
        now = self._site.moment
        struck = {it.host for it in self.all if it.since <= now <= it.until and not it.skipped}
        return frozenset(self._site.hosts) if EVERYTHING in struck else frozenset(struck)

    def booted(self) -> frozenset[str]:
        """The hosts on which a boot may have started what was not to run."""
        now = self._site.moment
        return frozenset(
            it.host
            for it in self.all
            if it.since <= now <= it.until + BOOTED and not it.skipped and not it.restore
        )

    def answered_for(self) -> frozenset[str]:
        """The hosts of nodes of which a person has skipped a step: a dead one may come back as what it was."""
        return frozenset(it.host for it in self.all if it.skipped)

    @property
    def everything(self) -> bool:
        """Whether nobody can be served, or need be."""
        now = self._site.moment
        return self.outage or any(it.host == EVERYTHING and it.since <= now <= it.until for it in self.all)

    @property
    def outage(self) -> bool:
        """Whether a person has agreed that nobody is served now."""
        return any(it.host == OUTAGE and it.until == NEVER for it in self.all)

    def excuses(self, loss: Loss) -> bool:
        """Whether that loss is no fault of the run."""
        if loss.what == "cut" and self._plan.release.limits.drain_escalation == "cut":
            return True  # as the operator's file says of sessions that outlast the deadline
        hosts = {EVERYTHING, self._host_of(loss.server)}
        cuts = any(it.established == "cut" for it in self._plan.site.access)
        if loss.what != "cut" or cuts:  # as it says of what is connected when the site closes
            hosts.add(OUTAGE)
        if self._covered(loss, hosts):
            return True
        nobody_left = not loss.server
        return nobody_left and all(self._covered(loss, {it.host}) for it in self._site.nodes.values())

    def _outages(self, stage: Stage | None) -> None:
        """An outage lasts from the stage of which that was said until as many serve again as must."""
        under_way = stage is not None and stage.outage
        if under_way and not self.outage:
            self.all.append(Excuse(OUTAGE, self._site.moment))
        elif not under_way and self.outage and self._enough():
            for excuse in self.all:
                if excuse.host == OUTAGE:
                    excuse.until = min(excuse.until, self._site.moment)

    def _enough(self) -> bool:
        """Whether as many serve as must, and nobody is turned away at a gate."""
        site = self._site
        must = self._floor or dict.fromkeys(site.gates, self._plan.release.keep_serving)
        open_to_all = not any(it.live for gate in site.gates.values() for it in gate.entrances.values())
        return open_to_all and all(
            sum(target.serves for target in flow.targets) >= must.get(name, 0)
            for name, flow in zip(site.pools or site.gates, site.flows, strict=True)
        )

    def _restores(self, at_work: Iterable[Step]) -> None:
        site = self._site
        for name, store in site.stores.items():
            excuse = next((it for it in self.all if it.restore == name and it.until == NEVER), None)
            if excuse is None and store.closed:
                if any(it.do.action == "database.restore" and it.do.target == name for it in at_work):
                    self.all.append(Excuse(EVERYTHING, site.moment, restore=name))
            elif excuse is not None and not store.closed:
                excuse.until = site.moment + site.durations.check * site.durations.rise + BALANCED

    def _covered(self, loss: Loss, hosts: Container[str]) -> bool:
        return any(
            it.host in hosts and it.since - TINY <= loss.begin and loss.end <= it.until + TINY
            for it in self.all
        )

    def _host_of(self, server: str) -> str:
        site = self._site
        known = [it.servers for it in site.pools.values()] + [it.servers for it in site.gates.values()]
        node = next((servers[server].node for servers in known if server in servers), "")
        return site.nodes[node].host if node else EVERYTHING
