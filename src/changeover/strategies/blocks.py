"""The building blocks that strategies share: one step each, with its way back.

Estimates are seconds, stated here as defaults: the operator's file replaces them, and measured runs both.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from changeover.model.plan import BACK, Operation, Stage, Step
from changeover.model.release import CommandMigration, Migrations, Release, SqlMigration
from changeover.model.site import Node
from changeover.model.words import count

ROTATION = "rotation"
"""The limit with one place that every step takes which makes a pool smaller, so that the floor is exact."""

INSTALLS = "installs"
"""The limit on how many nodes are staged at once."""

CHANGES_NOTHING = "changes nothing"

SERVES_AGAIN = frozenset({"node.start", "node.health", "node.version", "traffic.enter"})
"""What brings a node back that served."""


def as_found(stage: Stage, idle: Sequence[Node]) -> Stage:
    """The stage, whose way back leaves a node that did not serve when the plan was made stopped and out of rotation."""
    names = {node.name for node in idle}
    return msgspec.structs.replace(
        stage, steps=tuple(_idle_again(step) if step.unit in names else step for step in stage.steps)
    )


def _idle_again(step: Step) -> Step:
    undo = tuple(it for it in step.undo if it.do.action not in SERVES_AGAIN)
    note = "" if undo else f"{step.unit} did not serve when the plan was made"
    return msgspec.structs.replace(step, undo=undo, undo_note=step.undo_note or note)


def unless_applied(step: Step, applied: Sequence[str], *, needed: bool = False) -> Step:
    """The step, which is not taken back if its migration had been applied, or was needed, when the plan was made."""
    if step.id.rpartition("/")[2] not in applied and not needed:
        return step
    note = "it had been applied when the plan was made"
    return msgspec.structs.replace(step, undo=(), restore="", undo_note=note)


def chain(*steps: Step) -> tuple[Step, ...]:
    """The steps, each needing the one before it."""
    before: tuple[str, ...] = ()
    chained: list[Step] = []
    for step in steps:
        chained.append(msgspec.structs.replace(step, needs=(*step.needs, *before)))
        before = (step.id,)
    return tuple(chained)


def _back(*steps: Step) -> tuple[Step, ...]:
    """The steps as those of a way back, which is not taken back itself."""
    names = {step.id for step in steps}
    return tuple(
        msgspec.structs.replace(
            step,
            id=f"{BACK}{step.id}",
            needs=tuple(f"{BACK}{need}" for need in step.needs if need in names),
            undo=(),
            restore="",
            undo_note="",
        )
        for step in steps
    )


def _timeout(release: Release, name: str, default: float) -> float:
    return release.limits.timeouts.get(name, default)


def _estimate(release: Release, name: str, default: float) -> dict[str, Any]:
    if name in release.estimates:
        return {"estimate": release.estimates[name], "basis": "the file"}
    return {"estimate": default}


def _look(step: str, operation: Operation, summary: str, *, unit: str = "") -> Step:
    """A step that only looks: there is nothing to undo, and a first look that is bad is repeated once."""
    return Step(
        id=step,
        do=operation,
        summary=summary,
        undo_note=CHANGES_NOTHING,
        timeout=30,
        attempts=2,
        retry_wait=1,
        estimate=0.1,
        unit=unit,
    )


def check_host(host: str, release: Release) -> Step:
    """See that the host has room and the right time."""
    limits = release.limits
    params = {"path": "/", "disk_free": limits.disk_free, "clock_skew": limits.clock_skew}
    return _look(
        f"{host}/host-check",
        Operation("host.check", host, params),
        f"see that {host} has room on its disk and the right time",
    )


def check_node(node: Node, version: str) -> Step:
    """See that the node is well and of that version."""
    return _look(
        f"{node.name}/check",
        Operation("node.check", node.name, {"version": version}),
        f"see that {node.name} is well and runs {version}",
    )


def check_pool(balancer: str, servers: Iterable[str], release: Release) -> Step:
    """See that the servers are all in rotation, once the balancer has noticed those that just came up."""
    names = list(servers)
    wait = _timeout(release, "pool_check", 30)
    look = _look(
        f"{balancer}/pool-check",
        Operation("traffic.check", balancer, {"servers": names, "wait": wait}),
        f"see all {count(len(names), 'server')} of {balancer} in rotation",
    )
    return msgspec.structs.replace(look, timeout=look.timeout + wait)


def check_database(database: str) -> Step:
    """See that the database can be worked with."""
    return _look(
        f"{database}/database-check",
        Operation("database.check", database),
        f"see that {database} grants what is needed and holds no half-done migration",
    )


def install(node: Node, release: Release) -> Step:
    """Stage the new release beside the running one. Taken back, it is set aside with its node."""
    taken_out = uninstall(node, release.to_version, "uninstall")
    return Step(
        id=f"{node.name}/install",
        do=Operation("node.install", node.name, {"release": release.to_version}),
        undo=_back(msgspec.structs.replace(taken_out, unit=node.name)),
        summary=f"put {release.to_version} in place on {node.name}, beside what runs",
        limits=(INSTALLS,),
        timeout=_timeout(release, "install", 600),
        attempts=2,
        retry_wait=2,
        **_estimate(release, "install", 5),
        unit=node.name,
    )


def snapshot(database: str, label: str, release: Release, suffix: str = "") -> tuple[Step, Step]:
    """Take a snapshot, and verify it by restoring it."""
    take = Step(
        id=f"{database}/snapshot{suffix}",
        do=Operation("database.snapshot", database, {"label": label}),
        undo=_back(_drop(database, label, suffix)),
        summary=f"take the snapshot {label} of {database} while it is written to",
        timeout=_timeout(release, "snapshot", 3600),
        attempts=2,
        retry_wait=2,
        **_estimate(release, "snapshot", 10),
    )
    verify = Step(
        id=f"{database}/verify-snapshot{suffix}",
        do=Operation("database.verify", database, {"label": label}),
        summary=f"restore {label} into a scratch database and compare every table",
        undo_note="changes nothing but the mark on the snapshot",
        needs=(take.id,),
        timeout=_timeout(release, "verify_snapshot", 7200),
        attempts=2,
        retry_wait=2,
        **_estimate(release, "verify_snapshot", 20),
    )
    return take, verify


def _drop(database: str, label: str, suffix: str) -> Step:
    return Step(
        id=f"{database}/drop-snapshot{suffix}",
        do=Operation("database.drop-snapshot", database, {"label": label}),
        summary=f"remove the snapshot {label} of {database}",
        timeout=300,
        attempts=2,
        retry_wait=2,
        estimate=1,
    )


def migrations(change: Migrations, phase: str, label: str, release: Release) -> list[Step]:
    """The migrations of one phase (`expand` or `contract`), one after another."""
    steps: list[Step] = []
    todo = change.expand if phase == "expand" else change.contract
    for migration in todo:
        needs = (steps[-1].id,) if steps else ()
        if isinstance(migration, SqlMigration):
            steps.append(_sql(change, migration, phase, label, release=release, needs=needs))
        else:
            steps.append(_command(change, migration, phase, label, release=release, needs=needs))
    return steps


def _sql(
    change: Migrations,
    migration: SqlMigration,
    phase: str,
    label: str,
    *,
    release: Release,
    needs: tuple[str, ...],
) -> Step:
    params = {
        "migration": msgspec.to_builtins(migration),
        "lock_timeout": change.lock_timeout,
        "backup": label,
    }
    step = Step(
        id=f"{change.database}/{phase}/{migration.name}",
        do=Operation("database.migrate", change.database, params),
        restore=label,
        summary=f"{phase} {change.database}: {migration.name}, waiting at most {change.lock_timeout:g} s for a lock",
        needs=needs,
        timeout=_timeout(release, "migrate", 3600),
        attempts=change.attempts,
        retry_wait=change.retry_wait,
        **_estimate(release, "migrate", 2),
    )
    if not migration.down:
        return step
    down = msgspec.structs.replace(
        step,
        do=Operation("database.revert", change.database, params),
        summary=f"take {migration.name} back from {change.database} by its down script",
    )
    return msgspec.structs.replace(step, undo=_back(down))


def _command(
    change: Migrations,
    migration: CommandMigration,
    phase: str,
    label: str,
    *,
    release: Release,
    needs: tuple[str, ...],
) -> Step:
    params = {
        "observe": migration.observe,
        "node": migration.node,
        "release": release.to_version,
        "lock_timeout": change.lock_timeout,
        "backup": label,
    }
    step = Step(
        id=f"{change.database}/{phase}/{migration.name}",
        do=Operation("database.command", change.database, {**params, "run": migration.run, "expect": "yes"}),
        restore=label,
        summary=f"{phase} {change.database}: the application's own {migration.run}, run on {migration.node}, "
        f"waiting at most {change.lock_timeout:g} s for a lock",
        needs=needs,
        timeout=_timeout(release, "migrate", 3600),
        attempts=change.attempts,
        retry_wait=change.retry_wait,
        **_estimate(release, "migrate", 5),
    )
    if not migration.undo:
        return step
    down = msgspec.structs.replace(
        step,
        do=Operation("database.command", change.database, {**params, "run": migration.undo, "expect": "no"}),
        summary=f"take {migration.name} back from {change.database}: the application's own {migration.undo}, "
        f"run on {migration.node}",
    )
    return msgspec.structs.replace(step, undo=_back(down))


def leave(node: Node, release: Release) -> tuple[Step, Step]:
    """Drain the node, then take it out of rotation once nobody is on it. Both are undone by its coming back."""
    drain, out = _leaving(node, release)
    return (
        msgspec.structs.replace(drain, undo=_back(enter(node, release))),
        msgspec.structs.replace(out, undo_note="by what undoes the drain"),
    )


def _leaving(node: Node, release: Release) -> tuple[Step, Step]:
    limits = release.limits
    servers = {"servers": dict(node.servers)}
    patience = {"quiet": limits.quiet, "deadline": limits.drain, "escalation": limits.drain_escalation}
    drain = Step(
        id=f"{node.name}/drain",
        do=Operation("traffic.drain", node.name, servers),
        summary=f"give {node.name} no new sessions",
        limits=(ROTATION,),
        timeout=30,
        attempts=2,
        retry_wait=1,
        estimate=0.1,
        unit=node.name,
    )
    out = Step(
        id=f"{node.name}/out",
        do=Operation("traffic.remove", node.name, {**servers, **patience}),
        summary=f"wait until nobody is on {node.name}, at most {limits.drain:g} s, then take it out",
        timeout=limits.drain + 60 if limits.drain_escalation != "wait" else 86400.0,
        **_estimate(release, "drain", 5),
        unit=node.name,
    )
    return drain, out


def replace(node: Node, release: Release) -> tuple[Step, Step, Step, Step, Step]:
    """Stop, switch, start, and see the node well and of the new version; the way back is the same, reversed."""
    old, new = release.from_version, release.to_version
    undone = msgspec.structs.replace
    started = chain(_start(node, release), _health(node, release), _version(node, old, release))
    stop = undone(_stop(node, release), undo=_back(*started))
    switch = undone(_switch(node, old, new, release), undo=_back(_switch(node, new, old, release)))
    start = undone(_start(node, release), undo=_back(_stop(node, release)))
    return stop, switch, start, _health(node, release), _version(node, new, release)


def _stop(node: Node, release: Release) -> Step:
    return Step(
        id=f"{node.name}/stop",
        do=Operation("node.stop", node.name, {"servers": dict(node.servers)}),
        summary=f"stop {node.name}",
        timeout=_timeout(release, "stop", 300),
        **_estimate(release, "stop", 2),
        unit=node.name,
    )


def _switch(node: Node, old: str, new: str, release: Release) -> Step:
    return Step(
        id=f"{node.name}/switch",
        do=Operation("node.switch", node.name, {"release": new, "servers": dict(node.servers)}),
        summary=f"switch {node.name} from {old} to {new}",
        timeout=_timeout(release, "switch", 60),
        **_estimate(release, "switch", 0.2),
        unit=node.name,
    )


def _start(node: Node, release: Release) -> Step:
    return Step(
        id=f"{node.name}/start",
        do=Operation("node.start", node.name),
        summary=f"start {node.name}",
        timeout=_timeout(release, "start", 300),
        **_estimate(release, "start", 1),
        unit=node.name,
    )


def _health(node: Node, release: Release) -> Step:
    return Step(
        id=f"{node.name}/health",
        do=Operation("node.health", node.name),
        summary=f"wait until {node.name} is well",
        undo_note=CHANGES_NOTHING,
        timeout=_timeout(release, "health", 300),
        **_estimate(release, "health", 10),
        unit=node.name,
    )


def _version(node: Node, version: str, release: Release) -> Step:
    return Step(
        id=f"{node.name}/version",
        do=Operation("node.version", node.name, {"version": version}),
        summary=f"see that {node.name} runs {version}",
        undo_note=CHANGES_NOTHING,
        timeout=_timeout(release, "version", 30),
        **_estimate(release, "version", 0.1),
        unit=node.name,
    )


def enter(node: Node, release: Release) -> Step:
    """Bring the node back into rotation and see it there."""
    return Step(
        id=f"{node.name}/enter",
        do=Operation("traffic.enter", node.name, {"servers": dict(node.servers)}),
        summary=f"bring {node.name} back and see the balancer send it sessions",
        undo=_back(*chain(*_leaving(node, release))),
        timeout=_timeout(release, "enter", 120),
        attempts=2,
        retry_wait=1,
        **_estimate(release, "enter", 2),
        unit=node.name,
    )


def approve(gate: str, summary: str) -> Step:
    """Wait for a person."""
    return Step(
        id=f"{gate}/approve",
        do=Operation("people.approve", gate),
        summary=summary,
        undo_note=CHANGES_NOTHING,
        person=True,
        timeout=0,
    )


def hold(gate: str, node: Node, seconds: float) -> Step:
    """Keep watching a node for a while."""
    return Step(
        id=f"{gate}/hold-{node.name}",
        do=Operation("node.hold", node.name, {"seconds": seconds}),
        summary=f"watch {node.name} for {seconds:g} s; stop if it is not well",
        undo_note=CHANGES_NOTHING,
        timeout=seconds + 60,
        estimate=seconds,
        unit=node.name,
    )


def verify(node: Node, version: str) -> Step:
    """See that the node is well, of that version, and in rotation."""
    return _look(
        f"{node.name}/verify",
        Operation("node.verify", node.name, {"version": version, "servers": dict(node.servers)}),
        f"see that {node.name} is well, runs {version}, and is in rotation",
        unit=node.name,
    )


def uninstall(node: Node, version: str, name: str = "remove-old") -> Step:
    """Remove a release that the node does not run."""
    return Step(
        id=f"{node.name}/{name}",
        do=Operation("node.uninstall", node.name, {"release": version}),
        summary=f"remove {version} from {node.name}",
        undo_note="install it again",
        timeout=300,
        attempts=2,
        retry_wait=2,
        estimate=1,
    )
