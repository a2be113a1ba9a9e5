"""When two plays have come to the same state of site and run: they go on alike from there, and one of them is enough.

What a site was told, runs and holds counts exactly; times count by how far away they are, to a tenth of a second. When
an open session ends does not count, only whether there are any: it moves the end of a drain, nothing else.
"""

import math
from collections.abc import Hashable, Iterable

from changeover.actions.logs import MARKS
from changeover.engine.fold import RunStatus
from changeover.model.states import SATISFIED, StepState
from changeover.rehearsal.striking import Armed
from changeover.simulation import SimulatedSite

Key = Hashable


_CODE = {state: number for number, state in enumerate(StepState)}
_SET_ASIDE, _BEGUN = 16, 32


class Standing:
    """How far a run has come. It is told of each step that has changed, so that it never looks at all of them.

    On the way there every step counts, since the way back is derived from all of them; on the way back only those that
    are left to do, and those that were skipped.
    """

    def __init__(self, status: RunStatus) -> None:
        self._status = status
        self._back = status.falling_back
        self._place = {step.id: place for place, step in enumerate(status.plan.steps())}
        self._does = {step.id: len(step.do.params.get("instead_of", ())) for step in status.plan.steps()}
        self._codes = bytearray(len(self._place))
        self._left: dict[str, Hashable] = {}
        self._failed: set[str] = set()
        for step in self._place:
            self._left[step] = None
            self.changed(step)

    def changed(self, step: str) -> None:
        """That step, just now."""
        at = self._status.steps[step]
        code = _CODE[at.state] + _SET_ASIDE * at.set_aside
        if at.state not in SATISFIED:
            code += _BEGUN * (at.attempt > 0)
        if self._back and at.state is StepState.DONE:
            self._left.pop(step, None)
        elif self._back:
            self._left[step] = (code, self._does[step])
        else:
            self._codes[self._place[step]] = code
        if at.failures and at.state not in SATISFIED:
            self._failed.add(step)
        else:
            self._failed.discard(step)

    def key(self, now: float) -> tuple[Hashable, ...]:
        """Where it stands; a step that has failed also counts by how often, and by how long it was tried."""
        status = self._status
        tried = tuple(
            (step, at.failures, round(now - at.since, 1) if at.since else 0.0)
            for step in sorted(self._failed)
            for at in [status.steps[step]]
        )
        steps = tuple(self._left.items()) if self._back else bytes(self._codes)
        return (self._back, str(status.state), str(status.cause), bool(status.aborting), steps, tried)


def faults(status: RunStatus, armed: Iterable[Armed]) -> Hashable:
    """Those that may still strike."""
    return tuple((it.strike, bool(it.hit)) for it in armed if not it.over and _matters(status, it))


def _matters(status: RunStatus, armed: Armed) -> bool:
    """Whether its step may still be struck."""
    at = status.steps.get(armed.strike.step)
    return at is None or at.state not in SATISFIED


def of_site(site: SimulatedSite) -> Hashable:
    """What it is like, as far as it decides how it goes on."""
    now = site.clock.now()
    mutters = any(
        it.mutters for it in site.nodes.values()
    )  # where none does, no log holds anything new to find
    return (
        tuple(
            (
                it.up,
                it.frozen,
                it.cut,
                it.full,
                tuple((path, path.startswith(MARKS) or text) for path, text in sorted(it.files.items())),
                tuple(sorted(it.owned.items())),
                tuple(sorted(it.logs.items())) if mutters else (),
            )
            for it in site.hosts.values()
        ),
        tuple(
            (
                it.release,
                frozenset(it.installed),
                it.running,
                _ahead(it.well_at, now) if it.running else 0,
                frozenset(it.broken),
                it.ill,
                (it.watchdog, it.clean, frozenset(it.built), it.settings),
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
                frozenset(it.partly),
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
            tuple((it.live, it.kept, it.let_in) for it in gate.entrances.values())
            for gate in site.gates.values()
        ),
        tuple(
            (
                it.active,
                it.flush,
                it.lost,
                tuple((name, math.ceil(left)) for name, left in it.left.items()),
                tuple(it.stale),
                tuple(it.ignored),
            )
            for it in site.deployments.values()
        ),
        tuple(
            (_ahead(orphan.at, now), orphan.host, orphan.locks, str(orphan.end)) for orphan in site.orphans
        ),
    )


def _ahead(at: float, now: float) -> float:
    """How far away it is; what is past is past."""
    return round(at - now, 1) if at > now else 0.0
