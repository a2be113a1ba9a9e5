"""The simulated site that a rehearsal begins with, made from a plan alone."""

from typing import Any

from changeover.fallback.timing import best_beginning
from changeover.model.plan import Plan
from changeover.model.release import SqlMigration
from changeover.ports import AdminState, Applied, Clock
from changeover.simulation import EPOCH, Durations, SimulatedSite, Traffic, storage

SPARE = 600.0
"""Seconds that a run begins before it would have to, so that it waits for the window."""

WARM_UP = 30.0
"""Seconds that the clients have been there when the run begins."""

_TAKES = {
    "node.install": "install",
    "node.uninstall": "remove",
    "node.switch": "switch",
    "node.start": "start",
    "node.health": "well",
    "node.stop": "stop",
    "database.snapshot": "snapshot",
    "database.verify": "verify",
    "database.drop-snapshot": "drop",
    "database.restore": "restore",
    "database.migrate": "migrate",
    "database.command": "migrate",
    "files.keep": "copy",
}
"""Kind of action → the duration in the simulation that is the longest estimate of such a step."""


def start(plan: Plan, clock: Clock, kind: type[SimulatedSite] = SimulatedSite) -> SimulatedSite:
    """The site as the facts of the plan have it; where nothing was seen it is taken to be well, and the old version's."""
    release = plan.release
    site = kind(
        plan.site,
        release.from_version,
        clock,
        release=release,
        traffic=traffic(plan),
        durations=_durations(plan),
    )
    for name, version in plan.facts.versions.items():
        node = site.nodes[name]
        node.running = version
        node.watchdog = node.watched and bool(version)
        if version:
            node.release = version
            node.installed.add(version)
    for balancer, servers in plan.facts.pools.items():
        for name, state in servers.items():
            if name in site.pools[balancer].servers:
                site.pools[balancer].servers[name].admin = AdminState(state)
    checksums = {
        migration.name: migration.checksum
        for change in release.migrations
        for migration in (*change.expand, *change.contract)
        if isinstance(migration, SqlMigration)
    }
    for database, applied in plan.facts.schemas.items():
        store = site.stores[database]
        store.applied = list(applied)
        store.ledger = {
            name: Applied(name, checksums.get(name, ""), clock.now(), clock.now()) for name in applied
        }
    if plan.facts.deployments:
        site.deployments = storage.deployed(
            plan.facts.deployments, [name for name, node in site.nodes.items() if node.running]
        )
    _files(plan, site)
    site.settle()
    return site


def _files(plan: Plan, site: SimulatedSite) -> None:
    """What the plan keeps, edits and reads. Every switch takes what is kept with it, until it is put back."""
    properties: dict[tuple[str, str], dict[str, str]] = {}
    for step in plan.steps():
        if step.do.action == "node.property":
            place = (step.unit, step.do.params["file"])
            properties.setdefault(place, {})[step.do.params["key"]] = "as it was"
    for step in plan.steps():
        node = site.nodes.get(step.unit)
        if node is None:
            continue
        machine = site.hosts[node.host]
        if step.do.action == "files.keep":
            edited = {file for unit, file in properties if unit == step.unit}
            files = _files_at(step.do.params["paths"], edited)
            for path in files:
                machine.make_above(path)
                lines = properties.get((step.unit, path), {}).items()
                machine.files[path] = "".join(
                    f"{line}\n"
                    for line in (f"# of {step.unit}", *(f"{key} = {value}" for key, value in lines))
                ).encode()
                machine.owned[path] = "640 0:33"
            node.settings = tuple(dict.fromkeys((*node.settings, *files)))
        if step.do.action == "log.mark":
            node.logs = tuple(dict.fromkeys((*node.logs, *step.do.params["paths"])))
            for path in node.logs:
                machine.log(path, f"ERROR of {step.unit}, from before\n".encode())


def _files_at(paths: list[str], files: set[str]) -> list[str]:
    """The files that are there: a kept path is a directory if others of the files lie below it, else a file itself."""
    return [
        file for path in paths for file in sorted(it for it in files if it.startswith(f"{path}/")) or [path]
    ]


def begins(plan: Plan) -> float:
    """When the run is begun: early enough for what comes before its window, with some time to spare."""
    return best_beginning(plan, 0.0) - WARM_UP - SPARE if plan.release.window else EPOCH


def traffic(plan: Plan) -> Traffic:
    """Clients that are there all the time. A session lasts as long as the plan thinks that a drain takes."""
    lasts = [step.estimate for step in plan.steps() if step.do.action == "traffic.remove"]
    return Traffic(
        requests=20,
        sessions=2,
        writes=5 if plan.site.databases else 0,
        session_seconds=max(lasts, default=5.0),
    )


def _durations(plan: Plan) -> Durations:
    took: dict[str, Any] = {}
    for step in plan.steps():
        name = _TAKES.get(step.do.action)
        if name and step.estimate:
            took[name] = max(took.get(name, 0.0), step.estimate)
    return Durations(**took)


def described(plan: Plan) -> str:
    """What the clients of a rehearsal do, in a sentence."""
    it = traffic(plan)
    return (
        f"at each balancer {it.requests:g} requests, {it.sessions:g} sessions of {it.session_seconds:g} s "
        f"and {it.writes:g} writes arrive in a second"
    )
