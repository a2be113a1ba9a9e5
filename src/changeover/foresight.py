"""What a plan comes to on its own arithmetic: each step's effect on the site, as far as the interlocks look at it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from changeover import fallback, interlocks
from changeover.errors import SpecError
from changeover.interlocks import MAINT, READY, ObservedDatabase, ObservedNode, ObservedServer, ObservedSite
from changeover.model.plan import ACTIVE, BACK, Operation, Plan, Stage, Step
from changeover.model.release import Ability, CommandMigration, Release
from changeover.model.values import Verdict

LEAVES_ROTATION = frozenset({"traffic.drain", "traffic.remove"})
ENTERS_ROTATION = "traffic.enter"
MOVES_TRAFFIC = LEAVES_ROTATION | {ENTERS_ROTATION}
STOPS_SERVING = frozenset({"node.stop", "node.switch"})
NEEDS_BACKUP = frozenset({"database.migrate", "database.revert", "database.command", "database.restore"})

TURNS_ACCESS = frozenset({"access.close", "access.open"})

CLEANS = "application.clean"
_WATCHED = {"node.watchdog-stop": False, "node.watchdog-start": True}

_TOLD = {"traffic.drain": "drain", "traffic.remove": MAINT, "traffic.enter": READY}

_replace = msgspec.structs.replace


def refuse(plan: Plan) -> None:
    """`SpecError` for a plan, or its way back, that would break an interlock even if everything went well."""
    reachable = fallback.reachable(plan)
    site = _walk(plan, _planned(plan), until=reachable)
    if reachable:
        try:
            _walk(fallback.from_the_end_of(reachable[-1], plan), site)
        except SpecError as error:
            touched = next((it.name for it in reachable if it.batch), reachable[-1].name)
            raise SpecError(
                f"on the way back {error.message}",
                hint=f"set that right, or say that there is no way back: `upgrade.fallback.stages: {{{touched}: forward}}`",
            ) from error


def effect(operation: Operation, release: Release, site: ObservedSite) -> ObservedSite:
    """The site once that is done. What is not observed of it stays unobserved."""
    target, action = operation.target, operation.action
    if action in _TOLD:
        return _told(site, target, _TOLD[action])
    if action == "node.stop":
        return _node(site, target, running=False)
    if action == "node.switch":
        return _node(site, target, release=operation.params["release"])
    if action == "node.start":
        return _node(site, target, running=True, version=site.nodes[target].release)
    if action == "database.verify":
        verified = site.databases[target].verified | {operation.params["label"]}
        return _database(site, target, verified=verified)
    migrates = action in NEEDS_BACKUP
    return _migrated(site, operation, release) if migrates else _turned(site, target, action)


def touches_what_is_served(operation: Operation) -> bool:
    """Whether somebody who came in now would meet it half done."""
    kind, _, _ = operation.action.partition(".")
    return kind in ("application", "database") or operation.action in STOPS_SERVING | {"node.start"}


def kept_closed(stage: Stage, plan: Plan) -> tuple[str, ...]:
    """The access gates that must be closed while the stage, of the plan or its way back, is under way.

    Those that the plan closes, in every stage in which nobody is served but the one that closes or opens them.
    """
    if not stage.outage or any(step.do.action in TURNS_ACCESS for step in stage.steps):
        return ()
    return tuple(dict.fromkeys(it.do.target for it in plan.steps() if it.do.action in TURNS_ACCESS))


def endangers(operation: Operation, release: Release) -> bool:
    """Whether a version may be unable to run on the schema that the operation leaves behind it."""
    names = changed(operation, release)
    if not goes_forwards(operation):
        expand = {it.name for change in release.migrations for it in change.expand}
        return release.coexistence.new_on_old is Ability.NO and bool(names & expand)
    contract = {it.name for change in release.migrations for it in change.contract}
    return release.coexistence.old_on_new is Ability.NO or bool(names & contract)


def wants_rest(operation: Operation, stage: Stage, release: Release) -> bool:
    """Whether it may be done only while no node runs: storage is cleaned, or a schema changed that a version cannot run on.

    The latter where nobody is served by agreement: elsewhere the others serve meanwhile.
    """
    if operation.action == CLEANS:
        return True
    return stage.outage and operation.action in NEEDS_BACKUP and endangers(operation, release)


def goes_forwards(operation: Operation) -> bool:
    """Whether it takes the schema to the new version's."""
    if operation.action == "database.command":
        return operation.params.get("expect") != "no"
    return operation.action == "database.migrate"


def changed(operation: Operation, release: Release) -> frozenset[str]:
    """The migrations that it applies or takes back."""
    params: Mapping[str, Any] = operation.params
    if operation.action == "database.restore":
        undone = [msgspec.convert(it, Operation) for it in params.get("instead_of", ())]
        return frozenset().union(*(changed(it, release) for it in undone))
    if "migration" in params:
        return frozenset({params["migration"]["name"]})
    return frozenset(
        migration.name
        for change in release.migrations
        for migration in (*change.expand, *change.contract)
        if isinstance(migration, CommandMigration) and migration.observe == params.get("observe")
    )


# A plan, step by step


def _planned(plan: Plan) -> ObservedSite:
    """The site as it was when the plan was made; what was not seen of it is taken to be as the release expects."""
    facts, nodes = plan.facts, {}
    for node in plan.site.application.nodes:
        version = facts.versions.get(node.name, plan.release.from_version)
        watched = bool(version) and "watchdog_running" in plan.site.application.capabilities
        nodes[node.name] = ObservedNode(
            running=bool(version), version=version, release=version, watched=watched
        )
    return ObservedSite(
        pools={
            balancer.name: {
                node.servers[balancer.name]: ObservedServer(
                    node.name,
                    facts.pools.get(balancer.name, {}).get(node.servers[balancer.name], READY),
                    up=nodes[node.name].running,
                )
                for node in plan.site.application.nodes
                if balancer.name in node.servers
            }
            for balancer in plan.site.balancers
        },
        nodes=nodes,
        databases={
            database.name: ObservedDatabase(applied=frozenset(facts.schemas.get(database.name, ())))
            for database in plan.site.databases
        },
        entrances={gate.name: frozenset({interlocks.ANYBODY}) for gate in plan.site.access},
        outstanding={name: "" for name, state in facts.deployments.items() if state == ACTIVE},
    )


def _walk(plan: Plan, site: ObservedSite, until: Sequence[Stage] = ()) -> ObservedSite:
    """Take every step of the plan; the site once the last stage of `until` is done."""
    floor, reached = interlocks.floors(plan), site
    for stage in plan.stages:
        for step in _at_once(stage):
            _find(step, plan)
            before, site = site, effect(step.do, plan.release, site)
            floors = {} if stage.outage else floor
            for verdict in (
                *_verdicts(plan, step, before, site, floors),
                *_closed(plan, stage, step, before),
                *_resting(plan, stage, step, before),
            ):
                if not verdict.good:
                    raise SpecError(
                        f"the plan would break an interlock at {step.id}: {verdict.subject}: {verdict.evidence}",
                        hint=verdict.hint.removesuffix(", then retry the step"),
                    )
        if stage in until:
            reached = site
    return reached


def _verdicts(
    plan: Plan, step: Step, before: ObservedSite, after: ObservedSite, floor: Mapping[str, int]
) -> Iterator[Verdict]:
    action, target, release = step.do.action, step.do.target, plan.release
    if action in MOVES_TRAFFIC:
        servers = plan.site.node(target).servers
        yield interlocks.its_own_servers(target, step.do.params.get("servers", {}), servers)
    if action in LEAVES_ROTATION:
        yield interlocks.capacity_floor(before, floor, target)
    if action == ENTERS_ROTATION:
        yield interlocks.fit_to_enter(target, before.nodes[target], release)
    if action in STOPS_SERVING:
        yield interlocks.nobody_served(before, target)
    if action == "node.start":
        yield interlocks.can_start(before, release, target)
        yield interlocks.one_cluster(after, release)
    if action in NEEDS_BACKUP:
        label = step.do.params.get("label") or step.do.params.get("backup", "")
        yield interlocks.verified_backup(before, target, label)
        yield interlocks.can_run(after, release)


def _closed(plan: Plan, stage: Stage, step: Step, site: ObservedSite) -> Iterator[Verdict]:
    if touches_what_is_served(step.do):
        gates = kept_closed(stage, plan)
        entrances = {gate: site.entrances[gate] for gate in gates}
        yield interlocks.closed(ObservedSite(entrances=entrances), ())


def _resting(plan: Plan, stage: Stage, step: Step, site: ObservedSite) -> Iterator[Verdict]:
    if step.do.action == "node.stop":
        yield interlocks.stays_stopped(site, step.do.target)
    if wants_rest(step.do, stage, plan.release):
        back = step.id.startswith(BACK)
        yield interlocks.all_at_rest(_replace(site, outstanding={}) if back else site)


def _find(step: Step, plan: Plan) -> None:
    """`SpecError` for a step whose target the site has not."""
    if step.do.action in MOVES_TRAFFIC | STOPS_SERVING | {"node.start"}:
        plan.site.node(step.do.target)
    elif step.do.action in NEEDS_BACKUP | {"database.verify"}:
        plan.site.database(step.do.target)
    elif step.do.action in TURNS_ACCESS:
        plan.site.gate(step.do.target)


def _at_once(stage: Stage) -> list[Step]:
    """The steps of a stage in the order in which they come when all that may happen at once does."""
    depth: dict[str, int] = {}
    for step in stage.steps:
        depth[step.id] = 1 + max((depth.get(need, 0) for need in step.needs), default=0)
    return sorted(stage.steps, key=lambda step: depth[step.id])


def _migrated(site: ObservedSite, operation: Operation, release: Release) -> ObservedSite:
    names, database = changed(operation, release), site.databases[operation.target]
    applied = database.applied | names if goes_forwards(operation) else database.applied - names
    return _database(site, operation.target, applied=applied, begun=database.begun - names)


def _turned(site: ObservedSite, target: str, action: str) -> ObservedSite:
    """The site once a watchdog, a flush or an access gate was turned."""
    if action in _WATCHED:
        return _node(site, target, watched=_WATCHED[action])
    if action == "application.flushed":
        return _replace(site, outstanding={**site.outstanding, target: "0"})
    if action not in TURNS_ACCESS:
        return site
    admits = frozenset({interlocks.ANYBODY} if action == "access.open" else ())
    return _replace(site, entrances={**site.entrances, target: admits})


def _told(site: ObservedSite, node: str, told: str) -> ObservedSite:
    return _replace(
        site,
        pools={
            balancer: dict(pool)
            | {
                name: _replace(server, told=told, up=told != MAINT)
                for name, server in pool.items()
                if server.node == node
            }
            for balancer, pool in site.pools.items()
        },
    )


def _node(site: ObservedSite, node: str, **changes: Any) -> ObservedSite:
    return _replace(site, nodes={**site.nodes, node: _replace(site.nodes[node], **changes)})


def _database(site: ObservedSite, database: str, **changes: Any) -> ObservedSite:
    return _replace(
        site, databases={**site.databases, database: _replace(site.databases[database], **changes)}
    )
