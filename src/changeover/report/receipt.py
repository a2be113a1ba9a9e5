"""What the upgrade cost, as the probes measured it, against what each stage promised.

Figures of several ledgers are added up. What no ledger covers is *not measured*: it is never zero.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from changeover.model.plan import Promise
from changeover.model.values import Value
from changeover.probe.ledger import Ledger
from changeover.probe.summary import Summary

TOLERANCE = 0.5
"""Seconds at a window's ends that a ledger may miss: the first request comes a moment after the probe began."""


class Held(StrEnum):
    """What became of a promise."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_MEASURED = "not measured"


class Loss(Value, frozen=True):
    """One kind of loss: how many were seen (None: nobody looked), and how many were promised at the most.

    `note` says what keeps the number from being the whole truth.
    """

    what: str
    seen: int | None
    promised: int
    note: str = ""

    @property
    def held(self) -> Held:
        """Kept only if all of it was measured."""
        if self.seen is not None and self.seen > self.promised:
            return Held.BROKEN
        return Held.NOT_MEASURED if self.seen is None or self.note else Held.KEPT


class Cost(Value, frozen=True):
    """What the window [start, end), epoch seconds, cost. Times are seconds, None where nobody looked.

    `unwritten` is the time without a successful write.
    """

    start: float
    end: float
    requests: Loss
    sessions: Loss
    writes: Loss
    sent: int = 0
    opened: int = 0
    acknowledged: int = 0
    unwritten: float | None = None

    @property
    def losses(self) -> tuple[Loss, Loss, Loss]:
        """The three that promises are about."""
        return self.requests, self.sessions, self.writes

    @property
    def held(self) -> Held:
        """Broken if one is, kept if all are."""
        all_held = {loss.held for loss in self.losses}
        return next(held for held in (Held.BROKEN, Held.NOT_MEASURED, Held.KEPT) if held in all_held)


def cost(ledgers: Iterable[Ledger], start: float, end: float, promise: Promise) -> Cost:
    """The cost of [start, end) by every ledger that reaches into it."""
    reaching = [ledger for ledger in ledgers if _reaches(ledger, start, end)]
    writing = [ledger for ledger in reaching if ledger.header.write_rate]
    visiting = [ledger for ledger in reaching if ledger.header.sessions]
    figures = {id(ledger): ledger.summary(start, end) for ledger in reaching}
    seen = list(figures.values())
    of_writers = [figures[id(ledger)] for ledger in writing]
    unanswered = sum(summary.requests.unanswered for summary in seen)
    unverified = sum(summary.writes.unverified for summary in of_writers)
    return Cost(
        start,
        end,
        requests=Loss(
            "requests failed",
            _sum(summary.requests.failed for summary in seen),
            promise.requests_failed,
            _note(reaching, start, end, unanswered, "without an answer when the probe ended"),
        ),
        sessions=Loss(
            "sessions cut",
            _sum(figures[id(ledger)].sessions.cut for ledger in visiting),
            promise.sessions_cut,
            _note(visiting, start, end, 0, ""),
        ),
        writes=Loss(
            "acknowledged writes lost",
            _sum(summary.writes.missing for summary in of_writers),
            promise.writes_lost,
            _note(writing, start, end, unverified, "acknowledged but not looked for afterwards"),
        ),
        sent=sum(summary.requests.sent for summary in seen),
        opened=sum(summary.sessions.opened for summary in seen),
        acknowledged=sum(summary.writes.acknowledged for summary in seen),
        unwritten=_unwritten(of_writers),
    )


def covered(ledgers: Iterable[Ledger], start: float, end: float) -> float:
    """How many seconds of [start, end) at least one ledger covers."""
    total, reached = 0.0, start
    for begin, stop in sorted(ledger.covers for ledger in ledgers):
        first, last = max(begin, reached), min(stop, end)
        if last > first:
            total, reached = total + last - first, last
    return total


def _reaches(ledger: Ledger, start: float, end: float) -> bool:
    begin, stop = ledger.covers
    return begin < end and stop > start


def _note(ledgers: Sequence[Ledger], start: float, end: float, number: int, what: str) -> str:
    notes = [f"{number} {what}"] if number else []
    measured = covered(ledgers, start, end)
    if ledgers and measured < end - start - TOLERANCE:
        notes.append(f"measured {measured:.1f} of {end - start:.1f} s")
    return "; ".join(notes)


def _sum(numbers: Iterable[int]) -> int | None:
    found = list(numbers)
    return sum(found) if found else None


def _unwritten(writers: Sequence[Summary]) -> float | None:
    return round(sum(summary.without_write for summary in writers), 3) if writers else None
