"""The building blocks that strategies share: one step each, with its way back.

Estimates are seconds, stated here as defaults: the spec's timeouts bound them, measured runs replace them.
"""

from collections.abc import Iterable

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import CommandMigration, Migrations, Release, SqlMigration
from changeover.model.site import Node

ROTATION = "rotation"
"""The limit with one place that every step takes which makes a pool smaller, so that the floor is exact."""

INSTALLS = "installs"
"""The limit on how many nodes are staged at once."""


def _timeout(release: Release, name: str, default: float) -> float:
    return release.limits.timeouts.get(name, default)


def _look(step: str, operation: Operation, summary: str, *, unit: str = "") -> Step:
    """A step that only looks: there is nothing to undo, and a first look that is bad is repeated once."""
    return Step(
        id=step,
        do=operation,
        summary=summary,
        undo_note="changes nothing",
        timeout=30,
        attempts=2,
        retry_wait=1,
        estimate=0.1,
        unit=unit,
    )


def _removal(node: Node, release: Release) -> Operation:
    """Take the node out of rotation, as patiently as the release declares."""
    limits = release.limits
    patience = {"quiet": limits.quiet, "deadline": limits.drain, "escalation": limits.drain_escalation}
    return Operation("traffic.remove", node.name, {"servers": dict(node.servers), **patience})


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


def check_pool(balancer: str, servers: Iterable[str]) -> Step:
    """See that the servers are all in rotation."""
    names = list(servers)
    return _look(
        f"{balancer}/pool-check",
        Operation("traffic.check", balancer, {"servers": names}),
        f"see all {len(names)} servers of {balancer} in rotation",
    )


def check_database(database: str) -> Step:
    """See that the database can be worked with."""
    return _look(
        f"{database}/database-check",
        Operation("database.check", database),
        f"see that {database} grants what is needed and holds no half-done migration",
    )


def install(node: Node, release: Release) -> Step:
    """Stage the new release beside the running one."""
    return Step(
        id=f"{node.name}/install",
        do=Operation("node.install", node.name, {"release": release.to_version}),
        undo=Operation("node.uninstall", node.name, {"release": release.to_version}),
        summary=f"put {release.to_version} in place on {node.name}, beside what runs",
        limits=(INSTALLS,),
        timeout=_timeout(release, "install", 600),
        attempts=2,
        retry_wait=2,
        estimate=5,
        unit=node.name,
    )


def snapshot(database: str, label: str, release: Release, suffix: str = "") -> tuple[Step, Step]:
    """Take a snapshot, and verify it by restoring it."""
    take = Step(
        id=f"{database}/snapshot{suffix}",
        do=Operation("database.snapshot", database, {"label": label}),
        undo=Operation("database.drop-snapshot", database, {"label": label}),
        summary=f"take the snapshot {label} of {database} while it is written to",
        timeout=_timeout(release, "snapshot", 3600),
        attempts=2,
        retry_wait=2,
        estimate=10,
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
        estimate=20,
    )
    return take, verify


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
    return Step(
        id=f"{change.database}/{phase}/{migration.name}",
        do=Operation("database.migrate", change.database, params),
        undo=Operation("database.revert", change.database, params) if migration.down else None,
        undo_note="" if migration.down else f"restore the snapshot {label}",
        summary=f"{phase} {change.database}: {migration.name}, waiting at most {change.lock_timeout:g} s for a lock",
        needs=needs,
        timeout=_timeout(release, "migrate", 3600),
        attempts=change.attempts,
        retry_wait=change.retry_wait,
        estimate=2,
    )


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
    forwards = {**params, "run": migration.run, "expect": "yes"}
    backwards = {**params, "run": migration.undo, "expect": "no"}
    return Step(
        id=f"{change.database}/{phase}/{migration.name}",
        do=Operation("database.command", change.database, forwards),
        undo=Operation("database.command", change.database, backwards) if migration.undo else None,
        undo_note="" if migration.undo else f"restore the snapshot {label}",
        summary=f"{phase} {change.database}: the application's own {migration.run}, run on {migration.node}, "
        f"waiting at most {change.lock_timeout:g} s for a lock",
        needs=needs,
        timeout=_timeout(release, "migrate", 3600),
        attempts=change.attempts,
        retry_wait=change.retry_wait,
        estimate=5,
    )


def leave(node: Node, release: Release) -> tuple[Step, Step]:
    """Drain the node, then take it out of rotation once nobody is on it."""
    limits = release.limits
    servers = {"servers": dict(node.servers)}
    patience = limits.drain + 60 if limits.drain_escalation != "wait" else 86400.0
    drain = Step(
        id=f"{node.name}/drain",
        do=Operation("traffic.drain", node.name, servers),
        undo=Operation("traffic.enter", node.name, servers),
        summary=f"give {node.name} no new sessions",
        limits=(ROTATION,),
        timeout=30,
        attempts=2,
        retry_wait=1,
        estimate=0.1,
        unit=node.name,
    )
    remove = Step(
        id=f"{node.name}/out",
        do=_removal(node, release),
        undo=Operation("traffic.enter", node.name, servers),
        summary=f"wait until nobody is on {node.name}, at most {limits.drain:g} s, then take it out",
        needs=(drain.id,),
        timeout=patience,
        estimate=5,
        unit=node.name,
    )
    return drain, remove


def replace(node: Node, release: Release, after: Step) -> tuple[Step, Step, Step, Step, Step]:
    """Stop, switch, start, and see the node well and of the new version."""

    def step(
        verb: str, operation: Operation, undo: Operation | None, summary: str, *, needs: str, **times: float
    ) -> Step:
        return Step(
            id=f"{node.name}/{verb}",
            do=operation,
            undo=undo,
            undo_note="" if undo else "changes nothing",
            summary=summary,
            needs=(needs,),
            unit=node.name,
            timeout=_timeout(release, verb, times["timeout"]),
            estimate=times["estimate"],
        )

    name, old, new = node.name, release.from_version, release.to_version
    servers = {"servers": dict(node.servers)}
    start_it, stop_it = Operation("node.start", name), Operation("node.stop", name, servers)
    to_new = Operation("node.switch", name, {"release": new, **servers})
    to_old = Operation("node.switch", name, {"release": old, **servers})
    stop = step("stop", stop_it, start_it, f"stop {name}", needs=after.id, timeout=300, estimate=2)
    switch = step(
        "switch",
        to_new,
        to_old,
        f"switch {name} from {old} to {new}",
        needs=stop.id,
        timeout=60,
        estimate=0.2,
    )
    start = step("start", start_it, stop_it, f"start {name}", needs=switch.id, timeout=300, estimate=1)
    health = step(
        "health",
        Operation("node.health", name),
        None,
        f"wait until {name} is well",
        needs=start.id,
        timeout=300,
        estimate=10,
    )
    version = step(
        "version",
        Operation("node.version", name, {"version": new}),
        None,
        f"see that {name} runs {new}",
        needs=health.id,
        timeout=30,
        estimate=0.1,
    )
    return stop, switch, start, health, version


def enter(node: Node, release: Release, after: Step) -> Step:
    """Bring the node back into rotation and see it there."""
    servers = {"servers": dict(node.servers)}
    return Step(
        id=f"{node.name}/enter",
        do=Operation("traffic.enter", node.name, servers),
        undo=_removal(node, release),
        summary=f"bring {node.name} back and see the balancer send it sessions",
        needs=(after.id,),
        timeout=_timeout(release, "enter", 120),
        attempts=2,
        retry_wait=1,
        estimate=2,
        unit=node.name,
    )


def approve(gate: str, summary: str) -> Step:
    """Wait for a person."""
    return Step(
        id=f"{gate}/approve",
        do=Operation("people.approve", gate),
        summary=summary,
        undo_note="changes nothing",
        person=True,
        timeout=0,
    )


def hold(gate: str, node: Node, seconds: float) -> Step:
    """Keep watching a node for a while."""
    return Step(
        id=f"{gate}/hold-{node.name}",
        do=Operation("node.hold", node.name, {"seconds": seconds}),
        summary=f"watch {node.name} for {seconds:g} s; stop if it is not well",
        undo_note="changes nothing",
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


def uninstall(node: Node, version: str) -> Step:
    """Remove the old release."""
    return Step(
        id=f"{node.name}/remove-old",
        do=Operation("node.uninstall", node.name, {"release": version}),
        summary=f"remove {version} from {node.name}",
        undo=Operation("node.install", node.name, {"release": version}),
        timeout=300,
        attempts=2,
        retry_wait=2,
        estimate=1,
    )
