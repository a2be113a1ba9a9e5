"""The simulated site as the interlocks see a real one. Pure.

What a fault itself has taken away is left out of it: of an excused host the node is not looked at, and counts as serving
where the run has not taken it out.
"""

from collections.abc import Hashable, Iterable
from collections.abc import Set as AbstractSet

from changeover import interlocks
from changeover.interlocks import ObservedDatabase, ObservedNode, ObservedServer, ObservedSite
from changeover.ports import AdminState
from changeover.simulation import SimulatedSite, storage


def observed(site: SimulatedSite, excused: AbstractSet[str] = frozenset()) -> ObservedSite:
    """Every part of it at this moment. `excused` are the hosts on which a fault has struck."""
    return ObservedSite(
        pools={
            name: {
                server: ObservedServer(
                    it.node,
                    it.admin,
                    it.up or (it.admin is AdminState.READY and site.nodes[it.node].host in excused),
                )
                for server, it in pool.servers.items()
            }
            for name, pool in site.pools.items()
        },
        nodes={
            name: ObservedNode(
                running=bool(it.running),
                ailment=_ailment(site, name),
                version=it.running,
                release=it.release,
                unflushed=str(it.unflushed + storage.unflushed(site, name)),
                watched=it.watchdog,
            )
            for name, it in site.nodes.items()
            if it.host not in excused
        },
        databases={
            name: ObservedDatabase(
                applied=frozenset(store.applied),
                begun=frozenset(
                    [*store.partly, *(entry.name for entry in store.ledger.values() if not entry.finished_at)]
                ),
                verified=frozenset(label for label, it in store.snapshots.items() if it.snapshot.verified),
                writable=not store.closed,
            )
            for name, store in site.stores.items()
        },
        outstanding={name: str(it.outstanding) for name, it in site.deployments.items() if it.active},
    )


def entrances(site: SimulatedSite, gates: Iterable[str]) -> dict[str, frozenset[str]]:
    """Who is let in by each host of these access gates: what is in force decides, not what is kept for a boot."""
    return {
        f"{gate} on {host}": frozenset(filter(None, [it.let_in, "" if it.live else interlocks.ANYBODY]))
        for gate in gates
        for host, it in site.gates[gate].entrances.items()
        if site.hosts[host].reached
    }


def outline(site: SimulatedSite) -> Hashable:
    """Differs whenever what is observed of the site does, and costs less."""
    now = site.moment
    return (
        tuple((s.admin, s.up) for pool in site.pools.values() for s in pool.servers.values()),
        tuple(
            (
                (it.running, it.release, it.well_at <= now, it.ill, "health" in it.broken),
                (it.unflushed, it.watchdog, it.clean),
            )
            for it in site.nodes.values()
        ),
        tuple((it.flush, it.outstanding > 0, it.lost) for it in site.deployments.values()),
        tuple(
            (
                tuple(it.applied),
                tuple(it.partly),
                tuple((entry.name, bool(entry.finished_at)) for entry in it.ledger.values()),
                tuple((label, kept.snapshot.verified) for label, kept in it.snapshots.items()),
                it.closed,
            )
            for it in site.stores.values()
        ),
    )


def _ailment(site: SimulatedSite, name: str) -> str:
    it = site.nodes[name]
    if it.running and it.well_at > site.moment:
        return "it has not started up"
    return "it says so itself" if "health" in it.broken or it.ails else ""
