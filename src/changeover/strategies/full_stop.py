"""Full stop: what has not been written out is flushed, everything is stopped, and the new version starts as a whole.

Nothing of old and new ever runs at the same time. Its stages are laid so that their plain reversal is the way back.
"""

from collections.abc import Iterable, Sequence

import msgspec

from changeover.errors import SpecError
from changeover.model.plan import BACK, Budget, Direction, Facts, Plan, Stage, Step
from changeover.model.release import Migrations, Release
from changeover.model.site import Node, Site
from changeover.strategies import blocks

KEEPS = ("install", "snapshot", "keep")
"""The stages that a way back may leave as they are."""

ACTIVE = "active"


def full_stop(site: Site, release: Release, facts: Facts) -> Plan:
    """The plan: check, install, flush, stop, snapshot, keep, clean, migrate, switch, start, verify, resume; finalize.

    What there is nothing to do for has no stage. Raises `SpecError` for what cannot be: a capability without a
    binding, a node of another version.
    """
    _refuse(site, release, facts)
    nodes = site.application.nodes
    idle = [node for node in nodes if not blocks.serves(node, facts)]
    label = f"before-{release.to_version}"
    stages = [
        _check(site, release, [node for node in nodes if node not in idle]),
        _install(nodes, release),
        *_flush(site, release, facts),
        _stop(site, release, facts),
        _snapshot(release, label),
        _keep(site, release),
        _clean(site, release),
        _migrate(site, release, label, facts),
        _switch(site, release),
        _start(site, release),
        _verify(nodes, release),
        _resume(site, release, facts),
        _finalize(site, release),
    ]
    serving = len(nodes) - len(idle)
    return Plan(
        site=site,
        release=release,
        stages=tuple(
            blocks.as_found(msgspec.structs.replace(stage, in_rotation=0 if stage.outage else serving), idle)
            for stage in stages
            if stage.steps
        ),
        facts=facts,
        limits={blocks.ROTATION: 1, blocks.INSTALLS: release.limits.install},
        budgets=(Budget("total", 0),),
    )


def deployments(facts: Facts, state: str = ACTIVE) -> list[str]:
    """Those that were seen in that state, in their order."""
    return [name for name, it in facts.deployments.items() if it == state]


def _refuse(site: Site, release: Release, facts: Facts) -> None:
    together = (blocks.FLUSHES, blocks.WATCHES, blocks.CLEANS)
    asked = [it.ask for it in release.expectations]
    shown = ["stalled"] if blocks.can(site, "ignore") else []  # nobody gives up what they have not seen
    blocks.refuse_unbound("full-stop", site, *together, also=(*asked, *shown))
    blocks.refuse_names(site)
    for node in site.application.nodes:
        version = facts.versions.get(node.name, release.from_version)
        if version not in ("", release.from_version):
            raise SpecError(
                f"{node.name} runs {version}; the upgrade is from {release.from_version}",
                hint=f"bring every node to {release.from_version} first, or correct `upgrade.from`",
            )
    names = {node.name for node in site.application.nodes}
    if twins := names & facts.deployments.keys():
        raise SpecError(
            f"{', '.join(sorted(twins))} is a node and a deployment", hint="give the node another name"
        )
    kept = [
        name for name, way in release.fallback.stages.items() if way == Direction.KEEP and name not in KEEPS
    ]
    if kept:
        raise SpecError(
            f"{', '.join(kept)} cannot be kept on the way back", hint=f"only {', '.join(KEEPS)} can be kept"
        )


def _check(site: Site, release: Release, serving: Sequence[Node]) -> Stage:
    steps = [blocks.check_host(host.name, release) for host in site.hosts]
    steps += [blocks.check_node(node, release.from_version) for node in serving]
    for balancer in site.balancers:
        servers = [node.servers[balancer.name] for node in serving if balancer.name in node.servers]
        steps.append(blocks.check_pool(balancer.name, servers, release))
    steps += [blocks.check_database(database.name) for database in site.databases]
    steps += blocks.expect(site, release)
    return Stage("check", "See that the site is as the plan expects", tuple(steps))


def _install(nodes: Sequence[Node], release: Release) -> Stage:
    steps = tuple(blocks.install(node, release) for node in nodes)
    return Stage("install", f"Put {release.to_version} in place on every node, beside what runs", steps)


def _flush(site: Site, release: Release, facts: Facts) -> list[Stage]:
    """The agreement that nobody is served from now on, and the flush of what is active."""
    active = deployments(facts)
    gate = blocks.approve("full-stop", "a person agrees that from now on, until it resumes, nobody is served")
    flushes = [step for name in active for step in blocks.flush(name, site, release)]
    steps = (gate, *(_behind(gate, step) for step in flushes))
    if not active:
        return [Stage("agree", "Agree to the full stop", steps)]
    skipped = [name for name in facts.deployments if name not in active]
    title = f"Flush {', '.join(active)}"
    if skipped:
        title += f"; inactive, and skipped: {', '.join(skipped)}"
    affected = f"whom {', '.join(active)} would send something to: that waits until it resumes"
    return [Stage("flush", title, steps, affected=affected)]


def _behind(gate: Step, step: Step) -> Step:
    return step if step.needs else msgspec.structs.replace(step, needs=(gate.id,))


def _stop(site: Site, release: Release, facts: Facts) -> Stage:
    """All of them at once, each with its watchdog first; then none of them is seen running."""
    first = blocks.expect(site, release, "expect-again")
    steps, ends = list(first), []
    for node in site.application.nodes:
        works = [blocks.watchdog_stop(node)] if blocks.can(site, "watchdog_stop") else []
        works += blocks.leave(node, release) if node.servers else []
        stop = _stopping(node, release, after=_head_of(node, site, facts))
        chained = blocks.chain(*works, stop)
        steps += [_needing([*chained[0].needs, *(it.id for it in first)], chained[0]), *chained[1:]]
        ends.append(stop.id)
    steps += [_needing(ends, blocks.stopped(node, release)) for node in site.application.nodes]
    return _outage("stop", "Stop every node, and see none of them running", steps)


def _stopping(node: Node, release: Release, after: str) -> Step:
    """Taken back, the node is started, once the node `after` is back."""
    old = release.from_version
    works = (blocks.start(node, release), blocks.health(node, release), blocks.version(node, old, release))
    started, *rest = blocks.back(*blocks.chain(*works))
    if after:
        started = _needing([f"{BACK}{after}/version"], started)
    return msgspec.structs.replace(blocks.stop(node, release), undo=(started, *rest))


def _head_of(node: Node, site: Site, facts: Facts) -> str:
    """The node that goes first on the way back, too; empty for itself, and where that did not run before."""
    head = site.head
    return "" if node == head or not blocks.serves(head, facts) else head.name


def _needing(needs: Iterable[str], step: Step) -> Step:
    return msgspec.structs.replace(step, needs=tuple(dict.fromkeys([*step.needs, *needs])))


def _outage(name: str, title: str, steps: Iterable[Step], back: Direction = Direction.UNDO) -> Stage:
    return Stage(name, title, tuple(steps), affected="everybody: nobody is served", outage=True, back=back)


def _snapshot(release: Release, label: str) -> Stage:
    steps = [
        step for change in release.migrations for step in blocks.snapshot(change.database, label, release)
    ]
    quiet = [
        msgspec.structs.replace(
            it, summary=it.summary.replace("while it is written to", "while nobody writes to it")
        )
        for it in steps
    ]
    return _outage(
        "snapshot", "Take a snapshot of the quiet database, and restore it elsewhere to prove it", quiet
    )


def _keep(site: Site, release: Release) -> Stage:
    steps = [step for node in site.application.nodes for step in blocks.keep(node, site, release)]
    return _outage("keep", "Keep the installation's own files outside of it", steps)


def _clean(site: Site, release: Release) -> Stage:
    if not blocks.can(site, "clean"):
        return _outage("clean", "", ())
    summary = "a person agrees that storage is cleaned: what is not in the database by now is lost"
    gate = blocks.approve("clean", summary)
    nodes = site.application.nodes
    rest = [_behind(gate, it) for it in _at_rest(nodes, release, "still-stopped")]
    ends = [it.id for it in rest]
    cleans = [_needing(ends, blocks.clean(node, release)) for node in nodes]
    return _outage("clean", "Clean the storage of every node", (gate, *rest, *cleans))


def _at_rest(nodes: Sequence[Node], release: Release, name: str) -> list[Step]:
    """See once more that none runs: the host of one may have booted since, or somebody started it."""
    return [msgspec.structs.replace(blocks.stopped(it, release), id=f"{it.name}/{name}") for it in nodes]


def _migrate(site: Site, release: Release, label: str, facts: Facts) -> Stage:
    steps = [step for change in release.migrations for step in _migrations(change, release, label, facts)]
    rest = _at_rest(site.application.nodes, release, "at-rest") if steps else []
    ends = [it.id for it in rest]
    behind = [step if step.needs else _needing(ends, step) for step in steps]
    return _outage("migrate", "Change the schema, while nobody works on it", (*rest, *behind))


def _migrations(change: Migrations, release: Release, label: str, facts: Facts) -> list[Step]:
    expand = blocks.migrations(change, "expand", label, release)
    contract = blocks.migrations(change, "contract", label, release)
    if expand and contract:
        contract[0] = _needing([expand[-1].id], contract[0])
    applied = facts.schemas.get(change.database, ())
    return [blocks.unless_applied(step, applied) for step in (*expand, *contract)]


def _switch(site: Site, release: Release) -> Stage:
    old, new = release.from_version, release.to_version
    steps: list[Step] = []
    for node in site.application.nodes:
        kept = blocks.put_back(node, site, release)
        returned = blocks.chain(blocks.switch(node, new, old, release), *kept)
        switch = msgspec.structs.replace(blocks.switch(node, old, new, release), undo=blocks.back(*returned))
        steps += blocks.chain(switch, *kept)
    return _outage("switch", f"Switch every node to {release.to_version}", steps)


def _start(site: Site, release: Release) -> Stage:
    """The head first: where it does not come up nothing else is started."""
    head = site.head
    steps: list[Step] = []
    others = [node for node in site.application.nodes if node != head]
    for node in (head, *others):
        start = msgspec.structs.replace(
            blocks.start(node, release), undo=blocks.back(blocks.stop(node, release))
        )
        works = [start, blocks.health(node, release), blocks.version(node, release.to_version, release)]
        works += [blocks.watchdog_start(node)] if blocks.can(site, "watchdog_start") else []
        chained = list(blocks.chain(*works))
        if node != head:
            chained[0] = _needing([f"{head.name}/version"], chained[0])
        steps += chained
    return _outage("start", f"Start {release.to_version}, on {head.name} first", steps)


def _verify(nodes: Sequence[Node], release: Release) -> Stage:
    steps = [blocks.verify(msgspec.structs.replace(node, servers={}), release.to_version) for node in nodes]
    return _outage("verify", f"See every node well and of version {release.to_version}", steps)


def _resume(site: Site, release: Release, facts: Facts) -> Stage:
    """From here on the new version is worked with: what is written then, no way back would keep."""
    gate = blocks.approve(
        "resume", f"go or no-go: {release.to_version} is let loose, and there is no way back from there"
    )
    enters = [blocks.enter(node, release) for node in site.application.nodes if node.servers]
    entered = [step.id for step in enters]
    sends = [_needing(entered, blocks.unflush(name, site, release)) for name in deployments(facts)]
    lets_in = [_behind(gate, step) for step in (*enters, *sends)]
    steps = (gate, *lets_in) if lets_in else ()  # where nothing keeps people out, starting it has let them in
    return _outage("resume", "Resume", steps, back=Direction.FORWARD)


def _finalize(site: Site, release: Release) -> Stage:
    nodes = site.application.nodes
    work = (
        [blocks.uninstall(node, release.from_version) for node in nodes] if blocks.can(site, "remove") else []
    )
    work += [step for node in nodes for step in blocks.let_go(node, site, release)]
    gate = blocks.approve("finalize", f"a person gives up what is left of {release.from_version}")
    steps = (gate, *(_behind(gate, step) for step in work)) if work else ()
    title = f"Give up what is left of {release.from_version}"
    return Stage("finalize", title, steps, finalize=True, back=Direction.FORWARD)
