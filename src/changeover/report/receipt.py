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
    """One kind of loss: how many were seen (None: nobody looked), and how many were promised at the most (None: any).

    `note` says what keeps the number from being the whole truth.
    """

    what: str
    seen: int | None
    promised: int | None
    note: str = ""

    @property
    def held(self) -> Held:
        """Kept only if all of it was measured."""
        if self.seen is not None and self.promised is not None and self.seen > self.promised:
            return Held.BROKEN
        return Held.NOT_MEASURED if self.seen is None or self.note else Held.KEPT


class Window(Value, frozen=True):
    """From `start` up to `end`, epoch seconds."""

    start: float
    end: float

    @property
    def lasts(self) -> float:
        """Seconds."""
        return self.end - self.start


class Cost(Value, frozen=True):
    """What these windows cost together.

    `unwritten` is the seconds without a write, None where nobody looked. `late` is by how many seconds a probe
    was behind its own schedule at the most: a probe that was starved saw less than it would have.
    """

    windows: tuple[Window, ...]
    requests: Loss
    sessions: Loss
    writes: Loss
    sent: int = 0
    opened: int = 0
    acknowledged: int = 0
    unwritten: float | None = None
    late: float = 0.0

    @property
    def losses(self) -> tuple[Loss, Loss, Loss]:
        """The three that promises are about."""
        return self.requests, self.sessions, self.writes

    @property
    def held(self) -> Held:
        """Broken if one is, kept if all are."""
        all_held = {loss.held for loss in self.losses}
        return next(held for held in (Held.BROKEN, Held.NOT_MEASURED, Held.KEPT) if held in all_held)


def cost(ledgers: Iterable[Ledger], windows: Sequence[Window], promise: Promise) -> Cost:
    """The cost of the windows by every ledger that reaches into one of them."""
    reaching = [ledger for ledger in ledgers if any(_reaches(ledger, window) for window in windows)]
    figures = {
        id(ledger): [
            ledger.summary(window.start, window.end) for window in windows if _reaches(ledger, window)
        ]
        for ledger in reaching
    }

    def figures_of(some: Sequence[Ledger]) -> list[Summary]:
        return [summary for ledger in some for summary in figures[id(ledger)]]

    writing = [ledger for ledger in reaching if ledger.header.write_rate]
    visiting = [ledger for ledger in reaching if ledger.header.sessions]
    seen, written = figures_of(reaching), figures_of(writing)
    unanswered = sum(summary.requests.unanswered for summary in seen)
    unverified = sum(summary.writes.unverified for summary in written)
    none_looked_for = unverified > 0 and unverified == sum(it.writes.acknowledged for it in written)
    return Cost(
        tuple(windows),
        requests=Loss(
            "requests failed",
            _sum(summary.requests.failed for summary in seen),
            promise.requests_failed,
            _note(reaching, windows, unanswered, "without an answer when the probe ended"),
        ),
        sessions=Loss(
            "sessions cut",
            _sum(summary.sessions.cut for summary in figures_of(visiting)),
            promise.sessions_cut,
            _note(visiting, windows),
        ),
        writes=Loss(
            "acknowledged writes lost",
            None if none_looked_for else _sum(summary.writes.missing for summary in written),
            promise.writes_lost,
            _note(writing, windows, unverified, "acknowledged but not looked for afterwards"),
        ),
        sent=sum(summary.requests.sent for summary in seen),
        opened=sum(summary.sessions.opened for summary in seen),
        acknowledged=sum(summary.writes.acknowledged for summary in seen),
        unwritten=round(sum(summary.without_write for summary in written), 3) if written else None,
        late=max((summary.probe_late for summary in seen), default=0.0),
    )


def covered(ledgers: Iterable[Ledger], window: Window) -> float:
    """How many seconds of the window at least one ledger covers."""
    total, reached = 0.0, window.start
    for begin, stop in sorted(ledger.covers for ledger in ledgers):
        first, last = max(begin, reached), min(stop, window.end)
        if last > first:
            total, reached = total + last - first, last
    return total


def _reaches(ledger: Ledger, window: Window) -> bool:
    begin, stop = ledger.covers
    return begin < window.end and stop > window.start


def _note(ledgers: Sequence[Ledger], windows: Sequence[Window], number: int = 0, what: str = "") -> str:
    notes = [f"{number} {what}"] if number else []
    whole = sum(window.lasts for window in windows)
    measured = sum(covered(ledgers, window) for window in windows)
    if ledgers and measured < whole - TOLERANCE * len(windows):
        notes.append(f"measured {measured:.1f} of {whole:.1f} s")
    return "; ".join(notes)


def _sum(numbers: Iterable[int]) -> int | None:
    found = list(numbers)
    return sum(found) if found else None
