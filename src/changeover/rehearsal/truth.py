"""Whether a step's effect is there, by the simulated site itself: no action, driver or engine is asked.

An action that says *done* of what is not is found out by this, and so is one that does not see what is there. Pure.
"""

from collections.abc import Callable, Mapping

import msgspec

from changeover.model.plan import Operation, snapshot_label
from changeover.ports import AdminState, restoring
from changeover.simulation import SimulatedSite
from changeover.simulation.application import starting


def missing(operation: Operation, site: SimulatedSite, run: str) -> str | None:
    """What is not as the operation wants it, empty if all of it is; None of a kind that leaves nothing to see."""
    told = _TOLD.get(operation.action)
    return told(operation, site, run) if told else None


def _node(operation: Operation, site: SimulatedSite, _: str) -> str:
    """A node, by what its step is called."""
    name, params = operation.target, operation.params
    it, wanted = site.nodes[name], params.get("release") or params.get("version", "")
    holds = {
        "node.install": wanted in it.installed,
        "node.uninstall": wanted not in it.installed,
        "node.switch": it.release == wanted,
        "node.start": bool(it.running) or starting(site, name),
        "node.stop": not it.running,
        "node.health": site.well(name),
        "node.version": it.running == wanted,
        "node.check": it.running == wanted and site.well(name),
        "node.verify": it.running == wanted and site.well(name),
    }
    if holds[operation.action]:
        return _traffic(operation, site, _) if operation.action == "node.verify" else ""
    how = "well" if site.well(name) else "not well"
    has = ", ".join(sorted(it.installed))
    return (
        f"{name} is switched to {it.release}, runs {it.running or 'nothing'} and is {how}; installed: {has}"
    )


def _traffic(operation: Operation, site: SimulatedSite, _: str) -> str:
    """The servers of a node, or of a pool."""
    named = operation.params["servers"]
    pairs = named.items() if isinstance(named, Mapping) else [(operation.target, server) for server in named]
    for balancer, name in pairs:
        server = site.pools[balancer].servers[name]
        sessions = server.count(site.clock.now())
        holds = {
            "traffic.drain": server.admin is not AdminState.READY,
            "traffic.remove": server.admin is AdminState.MAINT and not sessions,
        }
        if not holds.get(operation.action, server.in_rotation):
            up = "up" if server.up else "down"
            return f"{name} at {balancer} was told {server.admin}, is {up} and has {sessions} sessions"
    return ""


def _snapshot(operation: Operation, site: SimulatedSite, run: str) -> str:
    """A snapshot of this run."""
    label = snapshot_label(operation.params["label"], run)
    kept = site.stores[operation.target].snapshots.get(label)
    holds = {
        "database.snapshot": kept is not None,
        "database.verify": kept is not None and kept.snapshot.verified,
        "database.drop-snapshot": kept is None,
    }
    if holds[operation.action]:
        return ""
    how = "there is none" if kept is None else "verified" if kept.snapshot.verified else "not verified"
    return f"snapshot {label} of {operation.target}: {how}"


def _schema(operation: Operation, site: SimulatedSite, _: str) -> str:
    """One migration, or those that a restore takes back."""
    store = site.stores[operation.target]
    applied = operation.action == "database.migrate" or operation.params.get("expect") == "yes"
    if any(it.startswith(restoring("")) for it in store.ledger):
        return f"a restore of {operation.target} is half done"
    for name in _migrations(operation, site):
        if name in store.partly:
            return f"{name} is half done in {operation.target}"
        times = store.applied.count(name)
        if times != applied:
            return f"{name} is {times} times in {operation.target}"
    return ""


def _migrations(operation: Operation, site: SimulatedSite) -> list[str]:
    params = operation.params
    if operation.action == "database.restore":
        undone = [Operation(it["action"], it["target"], it["params"]) for it in params["instead_of"]]
        return [name for it in undone for name in _migrations(it, site)]
    if operation.action == "database.command":
        return [site.commands[params["run"]].migration]
    return [params["migration"]["name"]]


def _access(operation: Operation, site: SimulatedSite, _: str) -> str:
    """A gate on each of its hosts, and after the next boot of each."""
    wanted = operation.action == "access.close"
    if operation.action == "access.check":
        wanted = operation.params["state"] == "closed"
    other = [
        f"{operation.target} on {host} is {it.evidence}"
        for host, it in site.gates[operation.target].entrances.items()
        if it.live is not wanted or it.kept is not wanted or it.let_in
    ]
    outside = site.site.gate(operation.target).outside
    other += [f"nobody looks from {host}" for host in outside if not site.hosts[host].reached]
    if outside and not wanted:
        there = {node.host for name, node in site.nodes.items() if site.well(name)}
        there |= {pool.host for pool in site.pools.values()}
        hosts = site.gates[operation.target].entrances.keys() - there
        other += [f"nothing answers on {host}" for host in sorted(hosts)]
    return "; ".join(other)


def _flush(operation: Operation, site: SimulatedSite, _: str) -> str:
    """A deployment, and what of it was not written out."""
    it = site.deployments[operation.target]
    holds = {
        "application.flush": it.flush,
        "application.unflush": not it.flush,
        "application.flushed": it.outstanding == 0,
    }
    flushing = "on" if it.flush else "off"
    return "" if holds[operation.action] else f"its flush is {flushing}, {it.outstanding} are outstanding"


def _at_rest(operation: Operation, site: SimulatedSite, _: str) -> str:
    """A node that does not run, its watchdog, its storage; and what was built on it."""
    it = site.nodes[operation.target]
    holds = {
        "node.stopped": not it.running and not it.watchdog,
        "node.watchdog-stop": not it.watchdog,
        "node.watchdog-start": it.watchdog,
        "application.clean": it.clean,
        "node.build": operation.params.get("release") in it.built,
    }
    if holds[operation.action]:
        return ""
    runs, watched = it.running or "nothing", "is" if it.watchdog else "is not"
    return f"{operation.target} runs {runs}, {watched} watched and is {'clean' if it.clean else 'not clean'}"


def _at(path: str, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """What is there: a file, or all of a directory; by the path within it."""
    return {
        it.removeprefix(path): content
        for it, content in files.items()
        if it == path or it.startswith(f"{path}/")
    }


def _files(operation: Operation, site: SimulatedSite, run: str) -> str:
    """Files on the host of a node: kept elsewhere, back in their places, let go of; a line in one of them."""
    params, files = operation.params, site.hosts[site.nodes[operation.target].host].files
    if operation.action == "node.property":
        lines = files.get(params["file"], b"").decode().splitlines()
        wanted = any(it.replace(" ", "") == f"{params['key']}={params['value']}" for it in lines)
        return "" if wanted else f"{params['file']} says: {'; '.join(lines)}"
    if operation.action in ("log.mark", "log.forget"):
        marks = [it for it in files if f"/{run}-{operation.target}/" in it]
        marked = any(it.endswith(f"/{params.get('label')}.json") for it in marks)
        holds = marked if operation.action == "log.mark" else not marks
        return "" if holds else f"marks: {', '.join(marks) or 'none'}"
    kept = f"{params['to']}/{operation.target}"
    if operation.action == "files.let-go":
        left = [it for it in files if it.startswith(f"{kept}/")]
        return f"{', '.join(left)} are left" if left else ""
    wrong = [
        it for it in params["paths"] if not _at(it, files) or _at(it, files) != _at(f"{kept}{it}", files)
    ]
    if operation.action == "files.keep":  # what is in its place may have been edited since
        listed = msgspec.json.decode(files.get(f"{kept}/changeover.json", b"{}"))
        wrong = [
            it for it in params["paths"] if it not in listed.get("trees", {}) or not _at(f"{kept}{it}", files)
        ]
    return f"{', '.join(wrong)} differ from what was kept" if wrong else ""


_TOLD: Mapping[str, Callable[[Operation, SimulatedSite, str], str]] = {
    **dict.fromkeys(
        (
            "node.install", "node.uninstall", "node.switch", "node.start", "node.stop",
            "node.health", "node.version", "node.check", "node.verify",
        ),
        _node,
    ),
    **dict.fromkeys(("application.flush", "application.unflush", "application.flushed"), _flush),
    **dict.fromkeys(
        ("node.stopped", "node.watchdog-stop", "node.watchdog-start", "application.clean", "node.build"),
        _at_rest,
    ),
    **dict.fromkeys(
        ("files.keep", "files.put-back", "files.let-go", "node.property", "log.mark", "log.forget"), _files
    ),
    **dict.fromkeys(("access.close", "access.open", "access.check"), _access),
    **dict.fromkeys(("traffic.drain", "traffic.remove", "traffic.enter", "traffic.check"), _traffic),
    **dict.fromkeys(("database.snapshot", "database.verify", "database.drop-snapshot"), _snapshot),
    **dict.fromkeys(
        ("database.migrate", "database.revert", "database.command", "database.restore"), _schema
    ),
}  # fmt: skip

KINDS = frozenset(_TOLD)
"""Of these kinds of steps there is something to see."""
