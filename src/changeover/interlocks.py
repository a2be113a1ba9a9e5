"""Rules about the whole site. Each is one pure function over what was observed; a bad verdict stops the run.

They are asked about a plan before it is shown, at each moment of a rehearsal, and live before the effect of every step
that touches them and again after it. What an `ObservedSite` does not hold was not looked at, and no rule speaks of it.
"""

from collections.abc import Iterable, Iterator, Mapping

from changeover.model.plan import Plan
from changeover.model.release import Ability, Expectation, Release
from changeover.model.values import Outcome, Value, Verdict
from changeover.model.words import count

READY, MAINT = "ready", "maint"
"""What a balancer is told of a server that is to serve, and of one that is out."""

UNSAID = "a version that it does not say"

ANYBODY = "*"
"""Who may come in through an entrance that is open."""


class ObservedServer(Value, frozen=True):
    """A server of a pool: which of our nodes it is, if any, what the balancer was told, and what its own check says."""

    node: str = ""
    told: str = READY
    up: bool = True

    @property
    def in_rotation(self) -> bool:
        """Whether new sessions are sent there."""
        return self.told == READY and self.up

    @property
    def can_serve(self) -> bool:
        """Whether it serves, or would at once if the balancer were told so."""
        return self.told != MAINT and self.up


class ObservedNode(Value, frozen=True):
    """A node: the version that runs (`""`: it does not say), and the one that its next start runs.

    `ailment` says why it is not well, `unflushed` how much it has not written out yet, `watched` that something there
    starts it again when it does not run.
    """

    running: bool = True
    ailment: str = ""
    version: str = ""
    release: str = ""
    unflushed: str = "0"
    watched: bool = False


class ObservedDatabase(Value, frozen=True):
    """A database: the migrations applied, those begun and not finished, and the labels of its verified snapshots.

    Databases of the same `data` hold copies of it; `writable` says whether this one accepts writes.
    """

    applied: frozenset[str] = frozenset()
    begun: frozenset[str] = frozenset()
    verified: frozenset[str] = frozenset()
    writable: bool = True
    data: str = ""


class ObservedSite(Value, frozen=True):
    """What was seen just now.

    `pools`: balancer → server → what it is. `tenants`: tenant → the sides that serve it. `redirects`: address → where it
    sends. `entrances`: entrance → who may come in. `outstanding`: deployment → how much of it is not written out yet, and
    `answers`: question → what the application says to it.
    """

    pools: Mapping[str, Mapping[str, ObservedServer]] = {}
    nodes: Mapping[str, ObservedNode] = {}
    databases: Mapping[str, ObservedDatabase] = {}
    tenants: Mapping[str, frozenset[str]] = {}
    redirects: Mapping[str, str] = {}
    entrances: Mapping[str, frozenset[str]] = {}
    outstanding: Mapping[str, str] = {}
    answers: Mapping[str, str] = {}

    def rotation(self, balancer: str) -> frozenset[str]:
        """Those of our nodes that the balancer sends new sessions to."""
        return frozenset(it.node for it in self.pools[balancer].values() if it.node and it.in_rotation)

    def serving(self) -> frozenset[str]:
        """Those of our nodes that any balancer sends new sessions to."""
        return frozenset().union(*(self.rotation(balancer) for balancer in self.pools))


def floors(plan: Plan) -> Mapping[str, int]:
    """Balancer → how many of our nodes must stay in rotation: as declared, or all that served when it was planned."""
    return {
        balancer.name: min(
            plan.release.keep_serving,
            sum(
                plan.facts.versions.get(node.name) != ""
                and plan.facts.pools.get(balancer.name, {}).get(node.servers[balancer.name], READY) == READY
                for node in plan.site.application.nodes
                if balancer.name in node.servers
            ),
        )
        for balancer in plan.site.balancers
    }


def capacity_floor(
    site: ObservedSite, floor: Mapping[str, int], leaving: str = "", before: ObservedSite | None = None
) -> Verdict:
    """So many stay in rotation in every pool; asked for a node that leaves, also without it.

    What could not serve anyway, now or, after the effect, `before` it, lowers nothing when it leaves.
    """
    rule = "capacity floor"
    for balancer, pool in (before or site).pools.items():
        if leaving and not any(it.node == leaving and it.can_serve for it in pool.values()):
            continue
        rotation = site.rotation(balancer)
        left = len(rotation - {leaving})
        if left < floor.get(balancer, 0):
            of = f"{left} of {count(len(rotation), 'server')}" if leaving in rotation else f"{left}"
            return _bad(
                rule,
                f"{balancer} {'would be' if leaving in rotation else 'is'} left with {of} in rotation, "
                f"the floor is {floor[balancer]}",
                "bring another node back into rotation, then retry the step",
            )
    return _good(rule, "as many as the floor wants stay in rotation")


def fit_to_serve(site: ObservedSite, release: Release, left: str = "") -> Verdict:
    """A node in rotation is running, well, and of the old or the new version.

    `left` is the version that a way back leaves: nobody waits then for a node that has it, or that says nothing.
    """
    rule = "in rotation is running, well and of an allowed version"
    for balancer, pool in site.pools.items():
        for name, server in pool.items():
            node = site.nodes.get(server.node)
            if node is None or not server.in_rotation:
                continue
            if wrong := _unfit(node, release, left):
                return _bad(
                    rule,
                    f"{name} is in rotation at {balancer} and {wrong}",
                    f"take {name} out of rotation or set it right, then retry the step",
                )
    return _good(rule, "every node in rotation is")


def fit_to_enter(node: str, seen: ObservedNode, release: Release) -> Verdict:
    """The same of a node before it is brought into rotation."""
    rule = "in rotation is running, well and of an allowed version"
    if wrong := _unfit(seen, release, ""):
        return _bad(rule, f"{node} {wrong}", f"set {node} right, then retry the step")
    return _good(rule, f"{node} is running, well and of {seen.version}")


def _unfit(node: ObservedNode, release: Release, left: str) -> str:
    if left and node.version in (left, ""):
        return ""
    if not node.running:
        return "does not run"
    if node.ailment:
        return f"is not well: {node.ailment}"
    allowed = (release.from_version, release.to_version)
    if node.version not in allowed:
        return f"runs {node.version or UNSAID}, not {' or '.join(allowed)}"
    return ""


def ability(version: str, release: Release, databases: Mapping[str, ObservedDatabase]) -> Ability:
    """What that version can do on the schemas as they are, for the old and the new one: of a third nothing is known."""
    said = {Ability.START}
    for change in release.migrations:
        database = databases.get(change.database)
        if database is None:
            continue
        touched = database.applied | database.begun
        expand = {migration.name for migration in change.expand}
        if version == release.from_version and expand & touched:
            said.add(release.coexistence.old_on_new)
        if version == release.from_version and any(it.name in touched for it in change.contract):
            said.add(Ability.NO)
        if version == release.to_version and not expand <= database.applied:
            said.add(release.coexistence.new_on_old)
    return next(least for least in (Ability.NO, Ability.RUN, Ability.START) if least in said)


def can_start(site: ObservedSite, release: Release, node: str) -> Verdict:
    """No forbidden pair: a version is started only on schemas that it can start on."""
    rule = "no forbidden pair"
    version = site.nodes[node].release
    if version not in (release.from_version, release.to_version):
        return _bad(
            rule,
            f"{node} would be started as {version or UNSAID}",
            f"switch it to {release.from_version} or {release.to_version}, then retry the step",
        )
    can = ability(version, release, site.databases)
    if can is not Ability.START:
        may = "only go on running there" if can is Ability.RUN else "neither start nor run there"
        return _bad(
            rule,
            f"{node} would be started as {version}, which can {may}: {_schemas(site, release)}",
            "bring the schema to where that version starts, or switch the node to the other one, then retry the step",
        )
    return _good(rule, f"{version} can start on {_schemas(site, release)}")


def can_run(site: ObservedSite, release: Release) -> Verdict:
    """No forbidden pair: what runs and serves can run on the schemas as they are. A node in no pool serves, too.

    Of a version that is neither of the two, or that a node does not say, nobody knows that it can.
    """
    rule = "no forbidden pair"
    allowed = (release.from_version, release.to_version)
    pooled = {it.node for pool in site.pools.values() for it in pool.values()}
    serving = site.serving()
    for name, node in site.nodes.items():
        if not node.running or (name in pooled and name not in serving):
            continue
        if node.version not in allowed:
            return _bad(
                rule,
                f"{name} serves as {node.version or UNSAID}, of which nobody knows "
                f"whether it can run with {_schemas(site, release)}",
                f"see that {name} says {' or '.join(allowed)}, or take it out of rotation and stop it first, "
                "then retry the step",
            )
        if ability(node.version, release, site.databases) is Ability.NO:
            return _bad(
                rule,
                f"{name} serves as {node.version}, which cannot run with {_schemas(site, release)}",
                f"take {name} out of rotation and stop it first, then retry the step",
            )
    return _good(rule, f"everything that serves can run with {_schemas(site, release)}")


def one_cluster(site: ObservedSite, release: Release) -> Verdict:
    """No forbidden pair: two versions run at the same time only where the release says that they may."""
    rule = "no forbidden pair"
    if release.coexistence.together:
        return _good(rule, "the versions may run together")
    versions: dict[str, str] = {}
    for name, node in site.nodes.items():
        if node.running:
            versions.setdefault(node.version, name)
    if len(versions) > 1:
        return _bad(
            rule,
            f"{' and '.join(f'{name} as {it or UNSAID}' for it, name in versions.items())} would run in one cluster",
            "stop every node of the one version before the first of the other is started",
        )
    return _good(rule, "one version runs")


def one_writer(site: ObservedSite) -> Verdict:
    """Never two databases that both accept writes for the same data."""
    rule = "one database accepts writes"
    writers: dict[str, str] = {}
    for name, database in site.databases.items():
        if not database.data or not database.writable:
            continue
        if database.data in writers:
            return _bad(
                rule,
                f"{writers[database.data]} and {name} both accept writes for {database.data}",
                "make one of them read-only, and compare what was written to each",
            )
        writers[database.data] = name
    return _good(rule, "no two databases accept writes for the same data")


def nobody_served(site: ObservedSite, node: str) -> Verdict:
    """What a balancer still sends sessions to is not stopped, whatever was skipped or forgotten before."""
    rule = "nothing serving is stopped"
    serving = [
        balancer
        for balancer, pool in site.pools.items()
        if any(it.node == node and it.in_rotation for it in pool.values())
    ]
    if serving:
        return _bad(
            rule,
            f"{node} is in rotation at {', '.join(serving)}",
            "drain it and take it out first: retry the steps before this one, or do it at the balancer",
        )
    return _good(rule, f"{node} is out of rotation")


def flushed(site: ObservedSite, node: str) -> Verdict:
    """A node that holds what it has not written out yet is not stopped; it says `0` when there is nothing."""
    rule = "nothing unflushed is stopped"
    unflushed = site.nodes[node].unflushed
    if unflushed != "0":
        return _bad(
            rule,
            f"{node} says that {unflushed or 'it does not know how much'} is unflushed",
            "let it write that out, then retry the step",
        )
    return _good(rule, f"{node} has nothing unflushed")


def stays_stopped(site: ObservedSite, node: str) -> Verdict:
    """A node is not stopped while something there would start it again: it would count as not stopped."""
    rule = "what is stopped stays stopped"
    if site.nodes[node].watched:
        return _bad(
            rule,
            f"the watchdog of {node} runs and would start it again",
            "stop the watchdog, then retry the step",
        )
    return _good(rule, f"nothing starts {node} again")


def all_at_rest(site: ObservedSite) -> Verdict:
    """No storage is cleaned, and no schema changed for good, while a node runs or anything is outstanding.

    A node that something starts again counts as one that runs.
    """
    rule = "cleaned and changed only at rest"
    for name, node in site.nodes.items():
        if node.running or node.watched:
            why = "runs" if node.running else "does not run, but its watchdog does and would start it"
            return _bad(rule, f"{name} {why}", f"stop {name} and its watchdog, then retry the step")
    for deployment, left in site.outstanding.items():
        if left != "0":
            return _bad(
                rule,
                f"{deployment} has {left or 'nobody knows how much'} outstanding",
                "let it be written out, then retry the step",
            )
    return _good(rule, "no node runs, and nothing is outstanding")


def as_expected(site: ObservedSite, expectations: Iterable[Expectation]) -> Verdict:
    """Nothing is stopped while the application does not answer as the operator expects it to."""
    rule = "stopped only as expected"
    for it in expectations:
        if it.ask in site.answers and site.answers[it.ask] != it.answer:
            said = site.answers[it.ask] or "not answered"
            return _bad(
                rule,
                f"{it.ask} is {said}, expected {it.answer}",
                f"see to it that {it.ask} is {it.answer}, then retry the step",
            )
    return _good(rule, "it answers as expected")


def verified_backup(site: ObservedSite, database: str, label: str) -> Verdict:
    """Nothing destructive without a snapshot of this very run that was verified by restoring it."""
    rule = "verified backup"
    if label not in site.databases[database].verified:
        return _bad(
            rule, f"no verified snapshot {label!r} of {database}", "retry the steps that take and verify it"
        )
    return _good(rule, f"{label} is verified")


def only_named(before: ObservedSite, after: ObservedSite, named: Iterable[tuple[str, str]]) -> Verdict:
    """Attach and detach touch exactly the servers that are named, each as (balancer, server)."""
    rule = "only the named servers"
    ours = set(named)
    for balancer, pool in before.pools.items():
        for name, was in pool.items():
            now = after.pools[balancer].get(name)
            told = now.told if now else "gone"
            if told != was.told and (balancer, name) not in ours:
                return _bad(
                    rule,
                    f"{name} at {balancer} went from {was.told} to {told}, which no step of this run does: "
                    "somebody else is at work there",
                    "find out who, set the server as it should be, then continue",
                )
    return _good(rule, "nothing but what is named has changed")


def its_own_servers(node: str, named: Mapping[str, str], servers: Mapping[str, str]) -> Verdict:
    """A step for a node names the servers that the node is, whoever has edited the plan."""
    rule = "only the named servers"
    for balancer, server in named.items():
        if servers.get(balancer) != server:
            its = servers.get(balancer, "in no pool")
            return _bad(
                rule, f"the step names {server} at {balancer}, where {node} is {its}", "make the plan anew"
            )
    return _good(rule, f"{node} is what the step names")


def one_side(site: ObservedSite) -> Verdict:
    """A tenant is served by exactly one side."""
    rule = "a tenant is served by exactly one side"
    for tenant, sides in site.tenants.items():
        if len(sides) != 1:
            return _bad(
                rule,
                f"{tenant} is served by {' and by '.join(sorted(sides)) or 'none'}",
                f"register {tenant} with the one side that has its data, then retry the step",
            )
    return _good(rule, "every tenant is")


def no_loop(site: ObservedSite) -> Verdict:
    """Redirects cannot loop."""
    rule = "redirects cannot loop"
    for start in site.redirects:
        way = list(_followed(start, site.redirects))
        if way[-1] in way[:-1]:
            loop = " → ".join(way[way.index(way[-1]) :])
            return _bad(rule, f"{loop} comes back to itself", "take one of these redirects away")
    return _good(rule, "every redirect comes to an end")


def _followed(address: str, redirects: Mapping[str, str]) -> Iterator[str]:
    """Where a visitor comes by, up to the end or to where they have been."""
    seen: set[str] = set()
    yield address
    while address in redirects and address not in seen:
        seen.add(address)
        address = redirects[address]
        yield address


def closed(site: ObservedSite, allowed: Iterable[str]) -> Verdict:
    """While a window's work goes on nobody comes in but who is on its allowlist."""
    rule = "the site is closed"
    for entrance, admits in site.entrances.items():
        others = admits - set(allowed)
        if others:
            who = "anybody" if ANYBODY in others else ", ".join(sorted(others))
            return _bad(
                rule,
                f"{entrance} lets in {who}",
                "close it again, then go on; what was written meanwhile is lost where a database is restored",
            )
    return _good(rule, "nobody comes in but who is allowed to")


def _schemas(site: ObservedSite, release: Release) -> str:
    """In which databases how many of the release's migrations are applied."""
    said = []
    for change in release.migrations:
        if (database := site.databases.get(change.database)) is not None:
            names = [migration.name for migration in (*change.expand, *change.contract)]
            done = [name for name in names if name in database.applied]
            half = [f"{name} half done" for name in names if name in database.begun]
            said.append(f"{change.database} at {', '.join([*done[-1:], *half]) or 'its old schema'}")
    return "; ".join(said) or "no schema of its own"


def _good(rule: str, evidence: str) -> Verdict:
    return Verdict(rule, Outcome.GOOD, evidence)


def _bad(rule: str, evidence: str, way_out: str) -> Verdict:
    return Verdict(rule, Outcome.BAD, evidence, way_out)
