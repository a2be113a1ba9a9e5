"""Sees the simulated site at each of its moments: whether every interlock holds, and what it costs.

The interlocks are those of a real run, asked about the site as it is and not as the conductor has seen it. The numbers
that they are asked with are worked out here once more. What is no interlock is looked at besides: whether anything is lost, is
applied twice, waits behind a lock, is taken from under what runs, or lives on a schema that it cannot live on, by what
the site itself can do and not by what the release promises.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from changeover import foresight, interlocks
from changeover.interlocks import ObservedSite
from changeover.model.plan import BACK, Plan, Stage, Step, snapshot_label
from changeover.model.release import Ability
from changeover.model.values import Verdict
from changeover.rehearsal.excusing import NEVER, TINY, Excuse, Excuses
from changeover.rehearsal.observing import entrances, observed, outline
from changeover.simulation import SimulatedSite


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that did not hold, how, and when (seconds since the epoch)."""

    rule: str
    what: str
    at: float


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
        self._lost = len(site.clients.losses)
        self._open: dict[str, float] = {}
        self._missed: list[tuple[str, float, float]] = []
        self._excuses = Excuses(plan, site, self._floor, excuses)
        self._outline: Hashable = None
        self._before = observed(site)
        self._clean = {name for name, it in site.nodes.items() if it.clean}
        self.violations: list[Violation] = []
        self.costs = Costs()
        self(site)

    # What the play says

    def struck(self, host: str) -> None:
        """That host has died or is cut off."""
        self._excuses.struck(host)

    def mended(self) -> None:
        """Everything works again, or does so soon."""
        self._excuses.mended()

    def skipped(self, nodes: Iterable[str]) -> None:
        """A person has skipped a step of these nodes, and answers for that."""
        self._excuses.skipped(nodes)

    def answered_for(self) -> frozenset[str]:
        """The nodes of which a person has skipped a step."""
        hosts = self._excuses.answered_for()
        return frozenset(name for name, it in self._site.nodes.items() if it.host in hosts)

    @property
    def excuses(self) -> list[Excuse]:
        """What came before the play, and what has come up in it."""
        return self._excuses.all

    @property
    def missed(self) -> tuple[str, ...]:
        """What nobody has just now."""
        return tuple(sorted(self._open))

    def missed_on(self, what: str, at: float) -> float:
        """How long nobody had it from that moment on, as far as this play went; 0 if somebody had it."""
        until = [end for name, since, end in self._missed if name == what and since <= at <= end]
        return max(until, default=at) - at

    def will_be_missed(self, what: str, seconds: float) -> None:
        """The play is not played on: it is known that nobody has it for so long from now on."""
        if since := self._open.pop(what, 0.0):
            longest = self._site.moment - since + seconds
            self._missed.append((what, since, self._site.moment + seconds))
            self.costs.outage[what] = max(self.costs.outage.get(what, 0.0), longest)

    def conclude(self) -> None:
        """Judge what was lost in this play. To be called once, at its end."""
        for loss in self._site.clients.losses[self._lost :]:
            if not self._excuses.excuses(loss):
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
        self._excuses.look(self._stage(), self._active())
        self._serving(site)
        self._waiting(site)
        self._closed(site)
        excused, everything = self._excuses.hosts(), self._excuses.everything
        seen = (outline(site), excused, everything, self._excuses.booted())
        if seen == self._outline:
            return
        self._outline = seen
        fact = observed(site)
        for verdict in self._verdicts(observed(site, excused) if excused else fact, fact, everything):
            if not verdict.good:
                self._broken(verdict.subject, verdict.evidence)
        self._itself(site)
        self._before = fact

    def _verdicts(self, seen: ObservedSite, fact: ObservedSite, everything: bool) -> Iterator[Verdict]:
        """Of every interlock. `fact` is the site with what a fault has taken away."""
        release, before = self._plan.release, self._before
        if not everything:
            yield interlocks.capacity_floor(seen, self._floor)
            yield interlocks.fit_to_serve(seen, release)
        yield interlocks.can_run(seen, release)
        booted = self._excuses.booted() | self._excuses.answered_for()
        nodes = {name: it for name, it in seen.nodes.items() if self._site.nodes[name].host not in booted}
        yield interlocks.one_cluster(msgspec.structs.replace(seen, nodes=nodes), release)
        yield interlocks.one_writer(seen)
        yield interlocks.one_side(seen)
        yield interlocks.no_loop(seen)
        if fact.pools != before.pools:
            yield interlocks.only_named(before, fact, self._named())
            for node in () if self._excuses.outage else self._taken_out(fact):
                yield interlocks.capacity_floor(fact, self._floor, node, before)
        for node, was in before.nodes.items():
            if was.running and not fact.nodes[node].running and node in seen.nodes:
                yield interlocks.flushed(before, node)
                if self._at_work("node.stop", node):
                    yield interlocks.stays_stopped(before, node)
        for database, store in fact.databases.items():
            for migration in store.applied - before.databases[database].applied:
                if label := self._backup.get(migration):
                    yield interlocks.verified_backup(fact, database, label)
        yield from self._at_rest(fact)

    def _at_rest(self, fact: ObservedSite) -> Iterator[Verdict]:
        """What only a site at rest may have done to it, was done to it just now."""
        stage, before = self._stage(), self._before
        cleaned = {name for name, it in self._site.nodes.items() if it.clean} - self._clean
        self._clean |= cleaned
        for step in self._active():
            target, back = step.do.target, step.id.startswith(BACK)
            changed = target in cleaned or (
                target in fact.databases
                and fact.databases[target].applied != before.databases[target].applied
            )
            if stage and changed and foresight.wants_rest(step.do, stage, self._plan.release):
                yield interlocks.all_at_rest(msgspec.structs.replace(fact, outstanding={}) if back else fact)

    def _at_work(self, action: str, target: str) -> bool:
        return any((it.do.action, it.do.target) == (action, target) for it in self._active())

    def _closed(self, site: SimulatedSite) -> None:
        """While nobody is to be served nobody comes in, whoever was at the gate."""
        stage = self._stage()
        at_work = stage and any(True for _ in self._active())
        gates = foresight.kept_closed(stage, self._plan) if stage and at_work else ()
        if gates:
            verdict = interlocks.closed(ObservedSite(entrances=entrances(site, gates)), ())
            if not verdict.good:
                self._broken(verdict.subject, verdict.evidence)

    def _named(self) -> Iterator[tuple[str, str]]:
        """The servers that steps at work may tell something."""
        for step in self._active():
            servers = step.do.params.get("servers")
            if isinstance(servers, Mapping):
                yield from servers.items()

    def _taken_out(self, fact: ObservedSite) -> Iterator[str]:
        for balancer, pool in self._before.pools.items():
            for name, was in pool.items():
                if was.told == interlocks.READY != fact.pools[balancer][name].told:
                    yield was.node

    # What is no interlock

    def _itself(self, site: SimulatedSite) -> None:
        """What the site itself says of what runs, and of what was done to its databases."""
        for name, node in site.nodes.items():
            if node.running and node.running not in node.installed:
                self._broken(
                    "what runs is left in place", f"{name} runs {node.running}, which is gone from it"
                )
        answered_for = self._excuses.answered_for()
        for version in {
            it.running for it in site.nodes.values() if it.running and it.host not in answered_for
        }:
            if site.ability(version) is Ability.NO:
                schemas = ", ".join(
                    f"{name} at {store.schema or 'its first schema'}" for name, store in site.stores.items()
                )
                self._broken("no forbidden pair", f"{version} runs with {schemas}")
        for name, it in site.deployments.items():
            if it.lost:
                self._broken("nothing is lost", f"{it.lost:g} records of {name} were cleaned away unwritten")
        for name, store in site.stores.items():
            for migration in {it for it in store.applied if store.applied.count(it) > 1}:
                self._broken("nothing is applied twice", f"{migration} is, to {name}")

    def _waiting(self, site: SimulatedSite) -> None:
        for name, store in site.stores.items():
            if store.waited > self._patience.get(name, NEVER) + TINY:
                self._broken(
                    "nobody queues behind a lock for longer than declared",
                    f"a migration of {name} waited {store.waited:.1f} s for its lock, and who writes waits behind it",
                )

    def _serving(self, site: SimulatedSite) -> None:
        for name, flow in zip([*(site.pools or site.gates)], site.flows, strict=True):
            if name in site.pools:
                rotation = sum(it.in_rotation for it in site.pools[name].servers.values())
                if rotation < self.costs.capacity.get(name, rotation + 1):
                    self.costs.capacity[name] = rotation
            self._track(f"{name} serves somebody", any(target.serves for target in flow.targets))
        for name, store in site.stores.items():
            self._track(f"{name} can be written to", site.hosts[store.host].reached and not store.closed)

    # What it comes to

    def _track(self, what: str, there: bool) -> None:
        if there and what in self._open:
            self._out(what, self._open.pop(what))
        elif not there:
            self._open.setdefault(what, self._site.moment)

    def _out(self, what: str, since: float) -> None:
        self._missed.append((what, since, self._site.moment))
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
