"""When two plays have come to the same state of site and run: they go on alike from there, and one of them is enough.

What a site was told, runs and holds counts exactly; times count by how far away they are, to a tenth of a second. When
an open session ends does not count, only whether there are any: it moves the end of a drain, nothing else.
"""

from collections.abc import Hashable, Iterable

from changeover.engine.fold import RunStatus
from changeover.model.states import SATISFIED, StepState
from changeover.rehearsal.striking import Armed
from changeover.simulation import SimulatedSite

Key = Hashable


def of(status: RunStatus, site: SimulatedSite, armed: Iterable[Armed], agreed: Iterable[str]) -> Key:
    """`agreed` are the databases whose restore a person has agreed to."""
    now = site.clock.now()
    faults = tuple((it.strike, bool(it.hit)) for it in armed if not it.over and _matters(status, it))
    return (*_of_run(status, now), of_site(site, now), faults, tuple(sorted(agreed)))


def _matters(status: RunStatus, armed: Armed) -> bool:
    """Whether its step may still be struck."""
    at = status.steps.get(armed.strike.step)
    return at is None or at.state not in SATISFIED


def _of_run(status: RunStatus, now: float) -> tuple[Hashable, ...]:
    """Where it stands. On the way back only what is still to be done counts."""
    states: list[Hashable] = []
    remaining = {step.id for step in status.plan.steps() if status.steps[step.id].state not in SATISFIED}
    for step in status.plan.steps():
        at = status.steps[step.id]
        if step.id in remaining:
            since = round(now - at.since, 1) if at.since and at.failures else 0.0
            needs = tuple(need for need in step.needs if need in remaining)
            doing = len(step.do.params.get("instead_of", ()))
            states.append((step.id, at.state, at.attempt > 0, at.failures, since, needs, doing))
        elif not status.falling_back:
            states.append((step.id, at.state, at.set_aside))
        elif at.state is StepState.SKIPPED:
            states.append((step.id, at.state))
    return (status.falling_back, status.state, status.cause, bool(status.aborting), tuple(states))


def of_site(site: SimulatedSite, now: float) -> Hashable:
    """What it is like, as far as it decides how it goes on."""
    return (
        tuple(
            (it.up, it.frozen, it.cut, it.full, tuple(sorted(it.files.items()))) for it in site.hosts.values()
        ),
        tuple(
            (
                it.release,
                frozenset(it.installed),
                it.running,
                _ahead(it.well_at, now) if it.running else 0,
                frozenset(it.broken),
            )
            for it in site.nodes.values()
        ),
        tuple(
            (
                pool.process,
                tuple(
                    (s.admin, s.up, _ahead(s.turns_at, now), s.count(now) > 0) for s in pool.servers.values()
                ),
            )
            for pool in site.pools.values()
        ),
        tuple(
            (
                tuple((entry.name, entry.checksum, bool(entry.finished_at)) for entry in it.ledger.values()),
                tuple(it.applied),
                tuple(
                    (label, kept.snapshot.verified, len(kept.applied)) for label, kept in it.snapshots.items()
                ),
                tuple(it.drafts),
                tuple(sorted((name, rows) for name, rows in it.tables.items())),
                it.closed,
                _ahead(it.locked_until, now),
            )
            for it in site.stores.values()
        ),
        tuple(
            (_ahead(orphan.at, now), orphan.host, orphan.locks, str(orphan.end)) for orphan in site.orphans
        ),
    )


def _ahead(at: float, now: float) -> float:
    """How far away it is; what is past is past."""
    return round(at - now, 1) if at > now else 0.0
