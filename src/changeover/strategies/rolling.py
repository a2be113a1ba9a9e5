"""Rolling: node after node, while the others serve. It asks that old and new can live on one schema."""

from collections.abc import Sequence

import msgspec

from changeover.errors import SpecError
from changeover.model.plan import Budget, Direction, Facts, Plan, Stage, Step
from changeover.model.release import Ability, Batch, Gate, Release
from changeover.model.site import Node, Site
from changeover.strategies import blocks

KEEPS = ("install", "snapshot", "expand")
"""The stages that a way back may leave as they are."""


def rolling(site: Site, release: Release, facts: Facts) -> Plan:
    """The plan: check, stage, snapshot, expand, batch after batch, verify; then, approved separately, finalize.

    It goes on from where the site is: nodes that serve the new version already are only verified, and those
    that are out of rotation go first, since nobody is on them.

    Raises `SpecError` for what cannot be: a capability without a binding, a batch that breaks the floor,
    a node in no pool, a node of a third version.
    """
    nodes = site.application.nodes
    _refuse(site, release, facts)
    serving = [node for node in nodes if blocks.serves(node, facts)]
    idle = [node for node in nodes if node not in serving]
    todo = idle + [node for node in serving if _version(node, release, facts) != release.to_version]
    label = f"before-{release.to_version}"
    stages = [_check(site, release, facts, serving), _stage_release(todo, release)]
    stages += _snapshot(release, label) + _migrate(release, label, facts)
    stages = [msgspec.structs.replace(stage, in_rotation=len(serving)) for stage in stages if stage.steps]
    upgraded = [node for node in serving if node not in todo]
    for number, batch in enumerate(batches(todo, release, len(nodes)), start=1):
        name = batch_name(number, release)
        left = [node for node in serving if node not in batch]
        if len(left) < min(release.keep_serving, len(serving)):
            raise SpecError(
                f"batch {number} ({_size(number, release)}) takes {len(batch)} of {len(serving)} serving nodes out "
                f"and leaves {len(left)}; keep_serving is {release.keep_serving}",
                hint="make the batch smaller, or lower keep_serving",
            )
        stages.append(_batch(name, number, batch, site, release, left=len(left)))
        serving = [*left, *batch]
        upgraded += batch
        stages += [_gate(gate, name, upgraded) for gate in release.gates if gate.after == name]
    after = [_verify(nodes, release)]
    after += [_gate(gate, "verify", list(nodes)) for gate in release.gates if gate.after == "verify"]
    after += _finalize(site, release)
    stages += after
    budgets = release.budgets
    return Plan(
        site=site,
        release=release,
        stages=tuple(
            blocks.as_found(
                stage
                if stage.batch
                else msgspec.structs.replace(stage, in_rotation=stage.in_rotation or len(nodes)),
                idle,
            )
            for stage in stages
        ),
        facts=facts,
        limits={blocks.ROTATION: 1, blocks.INSTALLS: release.limits.install},
        budgets=(
            Budget("batch", budgets.batch),
            Budget("total", budgets.total),
            Budget("consecutive", budgets.consecutive),
        ),
    )


def batches(nodes: Sequence[Node], release: Release, total: int = 0) -> list[tuple[Node, ...]]:
    """The nodes in their batches: the declared sizes in turn, the last one repeated until none is left.

    A percentage is of `total`, of these nodes if it is not given.
    """
    result: list[tuple[Node, ...]] = []
    left = tuple(nodes)
    while left:
        size = _size(len(result) + 1, release).of(total or len(nodes))
        result.append(left[:size])
        left = left[size:]
    return result


def _size(number: int, release: Release) -> Batch:
    return release.batches[min(number, len(release.batches)) - 1]


def batch_name(number: int, release: Release) -> str:
    """`canary` for a first batch that is smaller than those after it or has a gate of its own, else `batch-N`."""
    first = number == 1
    gated = any(gate.after == "canary" for gate in release.gates)
    return "canary" if first and (gated or len(release.batches) > 1) else f"batch-{number}"


def _version(node: Node, release: Release, facts: Facts) -> str:
    return facts.versions.get(node.name, release.from_version)


def _refuse_way_back(release: Release) -> None:
    kept = [
        name for name, way in release.fallback.stages.items() if way == Direction.KEEP and name not in KEEPS
    ]
    if kept:
        raise SpecError(
            f"{', '.join(kept)} cannot be kept on the way back: its nodes would be left on what goes back under them",
            hint=f"only {', '.join(KEEPS)} can be kept",
        )
    if (
        release.fallback.stages.get("expand") == Direction.KEEP
        and release.coexistence.old_on_new is not Ability.START
    ):
        raise SpecError(
            f"{release.from_version} cannot be started on the new schema, and the way back keeps that",
            hint="take `expand: keep` out of `upgrade.fallback.stages`, or correct `upgrade.coexistence`",
        )


def _refuse(site: Site, release: Release, facts: Facts) -> None:
    nodes = site.application.nodes
    blocks.refuse_unbound("rolling", site, blocks.WATCHES)
    blocks.refuse_names(site)
    for node in nodes:
        if not node.servers:
            raise SpecError(
                f"{node.name} is in no pool", hint="name a balancer under `balancers`, or another strategy"
            )
        version = _version(node, release, facts)
        if version not in ("", release.from_version, release.to_version):
            raise SpecError(
                f"{node.name} runs {version}; the upgrade is from {release.from_version} to {release.to_version}",
                hint="bring the node to one of the two first, or correct `upgrade.from`",
            )
    if release.coexistence.old_on_new is Ability.NO and any(change.expand for change in release.migrations):
        raise SpecError(
            f"{release.from_version} cannot run on the new schema, and rolling migrates while it serves",
            hint="correct `upgrade.coexistence`, or choose another strategy",
        )
    _refuse_way_back(release)
    names = {"verify", *(batch_name(n, release) for n, _ in enumerate(batches(nodes, release), start=1))}
    for gate in release.gates:
        if gate.after not in names:
            raise SpecError(f"a gate stands after {gate.after!r}; this plan has {', '.join(sorted(names))}")


def _check(site: Site, release: Release, facts: Facts, serving: list[Node]) -> Stage:
    steps = [blocks.check_host(host.name, release) for host in site.hosts]
    steps += [blocks.check_node(node, _version(node, release, facts)) for node in serving]
    for balancer in site.balancers:
        servers = [node.servers[balancer.name] for node in serving if balancer.name in node.servers]
        steps.append(blocks.check_pool(balancer.name, servers, release))
    steps += [blocks.check_database(database.name) for database in site.databases]
    return Stage("check", "See that the site is as the plan expects", tuple(steps))


def _stage_release(nodes: list[Node], release: Release) -> Stage:
    steps = tuple(blocks.install(node, release) for node in nodes)
    return Stage("install", f"Put {release.to_version} in place on every node, ahead of time", steps)


def _snapshot(release: Release, label: str) -> list[Stage]:
    steps = [
        step for change in release.migrations for step in blocks.snapshot(change.database, label, release)
    ]
    return [
        Stage(
            "snapshot", "Take a snapshot of the database, and restore it elsewhere to prove it", tuple(steps)
        )
    ]


def _migrate(release: Release, label: str, facts: Facts) -> list[Stage]:
    # What the application applies itself is in no ledger, but a node of the new version has needed it.
    needed = release.to_version in facts.versions.values()
    steps = [
        blocks.unless_applied(step, facts.schemas.get(change.database, ()), needed=needed)
        for change in release.migrations
        for step in blocks.migrations(change, "expand", label, release)
    ]
    title = "Expand the schema, so that both versions can work on it"
    affected = (
        "writers: a statement waits for its lock no longer than declared, and then holds it while it runs"
    )
    return [Stage("expand", title, tuple(steps), affected=affected)]


def _batch(
    name: str, number: int, batch: tuple[Node, ...], site: Site, release: Release, *, left: int
) -> Stage:
    watched = blocks.can(site, *blocks.WATCHES)
    steps: list[Step] = []
    for node in batch:
        works = (
            *blocks.leave(node, release),
            *blocks.replace(node, release, watched=watched),
            blocks.enter(node, release),
        )
        steps += blocks.chain(*works)
    names = ", ".join(node.name for node in batch)
    affected = f"nobody; sessions on {names} end by themselves"
    if release.limits.drain_escalation == "cut":
        affected = f"sessions on {names} that last longer than {release.limits.drain:g} s: they are cut"
    return Stage(
        name,
        f"Upgrade {names}",
        tuple(steps),
        in_rotation=left,
        affected=affected,
        batch=number,
    )


def _gate(gate: Gate, after: str, nodes: list[Node]) -> Stage:
    name = f"after-{after}"
    steps = [blocks.hold(name, node, gate.hold) for node in nodes] if gate.hold else []
    if gate.approve:
        approval = blocks.approve(name, f"a person approves what {after} has come to", gate.who)
        steps.append(msgspec.structs.replace(approval, needs=tuple(step.id for step in steps)))
    return Stage(name, f"Gate after {after}", tuple(steps))


def _verify(nodes: tuple[Node, ...], release: Release) -> Stage:
    steps = tuple(blocks.verify(node, release.to_version) for node in nodes)
    return Stage("verify", f"See every node well, of version {release.to_version}, and in rotation", steps)


def _finalize(site: Site, release: Release) -> list[Stage]:
    """What gives up the way back, each contract behind a snapshot of its own: by now the first one is old."""
    label = f"before-contract-{release.to_version}"
    work: list[Step] = []
    for change in release.migrations:
        contract = blocks.migrations(change, "contract", label, release)
        if contract:
            take, prove = blocks.snapshot(change.database, label, release, suffix="-before-contract")
            work += [take, prove, msgspec.structs.replace(contract[0], needs=(prove.id,)), *contract[1:]]
    if "remove" in site.application.capabilities:
        work += [blocks.uninstall(node, release.from_version) for node in site.application.nodes]
    if not work:
        return []
    gate = blocks.approve("finalize", f"a person gives up the way back to {release.from_version}")
    steps = (gate, *(msgspec.structs.replace(step, needs=(*step.needs, gate.id)) for step in work))
    return [
        Stage(
            "finalize",
            f"Give up the way back to {release.from_version}",
            steps,
            finalize=True,
            back=Direction.FORWARD,
        )
    ]
