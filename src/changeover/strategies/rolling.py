"""Rolling: node after node, while the others serve. It asks that old and new can live on one schema."""

import hashlib

import msgspec

from changeover.errors import SpecError
from changeover.model.plan import Budget, Facts, Plan, Stage, Step
from changeover.model.release import Gate, Release
from changeover.model.site import Node, Site
from changeover.strategies import blocks

NEEDS = ("start", "stop", "running", "health", "version", "release", "switch", "install", "installed")
"""The capabilities it speaks in. `sessions` is used where it is bound, `remove` in finalize."""


def rolling(site: Site, release: Release, facts: Facts) -> Plan:
    """The plan: check, stage, snapshot, expand, batch after batch, verify; then, approved separately, finalize.

    Raises `SpecError` for what cannot be: a capability without a binding, a batch that breaks the floor,
    a node in no pool.
    """
    _refuse(site, release)
    nodes = site.application.nodes
    label = blocks.snapshot_label(release, _short_digest(facts))
    stages = [_check(site, release), _stage_release(nodes, release)]
    stages += _snapshot(release, label, len(nodes)) + _migrate(release, label, len(nodes))
    done: list[Node] = []
    for number, batch in enumerate(batches(nodes, release), start=1):
        name = batch_name(number, release)
        stages.append(_batch(name, number, batch, release, len(nodes)))
        done += batch
        stages += [_gate(gate, name, done) for gate in release.gates if gate.after == name]
    stages.append(_verify(site, release))
    stages += [_gate(gate, "verify", done) for gate in release.gates if gate.after == "verify"]
    stages += _finalize(site, release, label)
    budgets = release.budgets
    return Plan(
        site=site,
        release=release,
        stages=tuple(
            msgspec.structs.replace(stage, in_rotation=stage.in_rotation or len(nodes)) for stage in stages
        ),
        facts=facts,
        limits={blocks.ROTATION: 1, blocks.INSTALLS: release.limits.install},
        budgets=(
            Budget("batch", budgets.batch),
            Budget("total", budgets.total),
            Budget("consecutive", budgets.consecutive),
        ),
    )


def batches(nodes: tuple[Node, ...], release: Release) -> list[tuple[Node, ...]]:
    """The nodes in their batches: the declared sizes in turn, the last one repeated until none is left."""
    result: list[tuple[Node, ...]] = []
    left = nodes
    while left:
        size = release.batches[min(len(result), len(release.batches) - 1)].of(len(nodes))
        result.append(left[:size])
        left = left[size:]
    return result


def batch_name(number: int, release: Release) -> str:
    """`canary` for a first batch that is smaller than those after it or has a gate of its own, else `batch-N`."""
    first = number == 1
    gated = any(gate.after == "canary" for gate in release.gates)
    return "canary" if first and (gated or len(release.batches) > 1) else f"batch-{number}"


def _short_digest(facts: Facts) -> str:
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:8]


def _refuse(site: Site, release: Release) -> None:
    nodes = site.application.nodes
    missing = [capability for capability in NEEDS if capability not in site.application.capabilities]
    if missing:
        raise SpecError(
            f"rolling needs capabilities that are not bound: {', '.join(missing)}",
            hint="bind them under `application`, or name a `pack` that does",
        )
    for node in nodes:
        if not node.servers:
            raise SpecError(
                f"{node.name} is in no pool", hint="name a balancer under `balancers`, or another strategy"
            )
    for number, batch in enumerate(batches(nodes, release), start=1):
        left = len(nodes) - len(batch)
        if left < release.keep_serving:
            size = release.batches[min(number, len(release.batches)) - 1]
            raise SpecError(
                f"batch {number} ({size}) takes {len(batch)} of {len(nodes)} nodes out and leaves {left}; "
                f"keep_serving is {release.keep_serving}",
                hint="make the batch smaller, or lower keep_serving",
            )
    names = {"verify", *(batch_name(n, release) for n, _ in enumerate(batches(nodes, release), start=1))}
    for gate in release.gates:
        if gate.after not in names:
            raise SpecError(f"a gate stands after {gate.after!r}; this plan has {', '.join(sorted(names))}")


def _check(site: Site, release: Release) -> Stage:
    steps = [blocks.check_host(host.name, release) for host in site.hosts]
    steps += [blocks.check_node(node, release.from_version) for node in site.application.nodes]
    for balancer in site.balancers:
        servers = [
            node.servers[balancer.name] for node in site.application.nodes if balancer.name in node.servers
        ]
        steps.append(blocks.check_pool(balancer.name, servers))
    steps += [blocks.check_database(database.name) for database in site.databases]
    return Stage("check", "See that the site is as the plan expects", tuple(steps))


def _stage_release(nodes: tuple[Node, ...], release: Release) -> Stage:
    steps = tuple(blocks.install(node, release) for node in nodes)
    return Stage("install", f"Put {release.to_version} in place on every node, ahead of time", steps)


def _snapshot(release: Release, label: str, total: int) -> list[Stage]:
    steps = [
        step for change in release.migrations for step in blocks.snapshot(change.database, label, release)
    ]
    title = "Take a snapshot of the database, and restore it elsewhere to prove it"
    return [Stage("snapshot", title, tuple(steps), in_rotation=total)] if steps else []


def _migrate(release: Release, label: str, total: int) -> list[Stage]:
    steps = [
        step for change in release.migrations for step in blocks.migrations(change, "expand", label, release)
    ]
    title = "Expand the schema, so that both versions can work on it"
    affected = "writers, for at most the lock timeout at a time" if steps else "nobody"
    return [Stage("expand", title, tuple(steps), in_rotation=total, affected=affected)] if steps else []


def _batch(name: str, number: int, batch: tuple[Node, ...], release: Release, total: int) -> Stage:
    steps: list[Step] = []
    for node in batch:
        drain, out = blocks.leave(node, release)
        replaced = blocks.replace(node, release, after=out)
        steps += [drain, out, *replaced, blocks.enter(node, release, after=replaced[-1])]
    names = ", ".join(node.name for node in batch)
    return Stage(
        name,
        f"Upgrade {names}",
        tuple(steps),
        in_rotation=total - len(batch),
        affected=f"nobody; sessions on {names} end by themselves",
        batch=number,
    )


def _gate(gate: Gate, after: str, nodes: list[Node]) -> Stage:
    steps: list[Step] = []
    if gate.hold:
        steps.append(blocks.hold(f"after-{after}", nodes, gate.hold))
    if gate.approve:
        approval = blocks.approve(f"after-{after}", f"a person approves what {after} has come to")
        steps.append(msgspec.structs.replace(approval, needs=tuple(step.id for step in steps)))
    return Stage(f"after-{after}", f"Gate after {after}", tuple(steps))


def _verify(site: Site, release: Release) -> Stage:
    steps = [blocks.check_node(node, release.to_version, "verify") for node in site.application.nodes]
    for balancer in site.balancers:
        servers = [
            node.servers[balancer.name] for node in site.application.nodes if balancer.name in node.servers
        ]
        steps.append(blocks.check_pool(balancer.name, servers, "pool-verify"))
    return Stage(
        "verify", f"See every node well, of version {release.to_version}, and in rotation", tuple(steps)
    )


def _finalize(site: Site, release: Release, label: str) -> list[Stage]:
    work = [
        step
        for change in release.migrations
        for step in blocks.migrations(change, "contract", label, release)
    ]
    if "remove" in site.application.capabilities:
        work += [blocks.uninstall(node, release.from_version) for node in site.application.nodes]
    if not work:
        return []
    gate = blocks.approve("finalize", f"a person gives up the way back to {release.from_version}")
    steps = (gate, *(msgspec.structs.replace(step, needs=(*step.needs, gate.id)) for step in work))
    return [Stage("finalize", f"Give up the way back to {release.from_version}", steps, finalize=True)]
