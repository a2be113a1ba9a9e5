"""The figures for a stretch of time. What each one means is in `docs/probe.md`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from changeover.model.words import count
from changeover.probe.records import (
    Answered,
    Change,
    Checked,
    Found,
    Kind,
    Outcome,
    Sent,
    SessionChanged,
)


class Exchange(msgspec.Struct, frozen=True):
    """A request and its answer, None while there is none (in flight, or the probe was killed)."""

    sent: Sent
    answer: Answered | None

    @property
    def ok(self) -> bool:
        """Whether it was answered as hoped."""
        return self.answer is not None and self.answer.outcome is Outcome.OK

    @property
    def unknown(self) -> bool:
        """For a write: whether it may have happened, though nobody acknowledged it."""
        return self.answer is None or self.answer.undecided


class Requests(msgspec.Struct, frozen=True):
    """All requests, writes and logins included: sent = ok + failed + unanswered; `failures` by reason."""

    sent: int
    ok: int
    failed: int
    unanswered: int
    failures: dict[str, int]


class Sessions(msgspec.Struct, frozen=True):
    """Sessions opened by a visitor, ended by the visitor, cut by the site."""

    opened: int
    ended: int
    cut: int


class Writes(msgspec.Struct, frozen=True):
    """Attempted = acknowledged + failed + unknown.

    `missing` and `unverified` are of the acknowledged ones, `unknown_present` is of the unknown ones.
    """

    attempted: int
    acknowledged: int
    failed: int
    unknown: int
    missing: int
    unverified: int
    unknown_present: int


class Latency(msgspec.Struct, frozen=True):
    """Seconds from the scheduled moment to the whole answer, of the requests that succeeded (nearest rank)."""

    p50: float
    p99: float
    max: float


class Summary(msgspec.Struct, frozen=True):
    """The figures for [start, end), epoch seconds; durations in seconds."""

    start: float
    end: float
    requests: Requests
    sessions: Sessions
    writes: Writes
    latency: Latency
    longest_gap: float
    longest_without_write: float
    without_write: float
    probe_late: float

    @property
    def losses(self) -> list[str]:
        """What was lost, or cannot be shown not to be; empty is what an upgrade hopes for."""
        counted = (
            (self.requests.failed, "request", "failed"),
            (self.sessions.cut, "session", "cut"),
            (self.writes.missing, "acknowledged write", "missing"),
            (self.writes.unverified, "acknowledged write", "not verified"),
        )
        return [f"{count(number, what)} {how}" for number, what, how in counted if number]


def summarise(
    exchanges: Sequence[Exchange],
    changes: Iterable[SessionChanged],
    checks: Mapping[str, Checked],
    start: float,
    end: float,
) -> Summary:
    """The figures for what was scheduled in [start, end), from everything that was, in the order of the schedule."""
    within = [exchange for exchange in exchanges if start <= exchange.sent.due < end]
    writes = [exchange for exchange in exchanges if exchange.sent.kind is Kind.WRITE]
    unwritten = list(_stretches(writes, start, end))
    changed = Counter(change.change for change in changes if start <= change.due < end)
    return Summary(
        start=start,
        end=end,
        requests=_requests(within),
        sessions=Sessions(changed[Change.OPENED], changed[Change.ENDED], changed[Change.CUT]),
        writes=_writes([write for write in writes if start <= write.sent.due < end], checks),
        latency=_latency(within),
        longest_gap=round(max(_stretches(exchanges, start, end), default=0.0), 6),
        longest_without_write=round(max(unwritten, default=0.0), 6),
        without_write=round(sum(unwritten), 6),
        probe_late=max((exchange.sent.late for exchange in within), default=0.0),
    )


def _stretches(exchanges: Iterable[Exchange], start: float, end: float) -> Iterator[float]:
    """The stretches of [start, end) without success: each from a failure's due moment to the next success's.

    A failure before `start` reaches into the range, so that adjacent ranges add up to the whole.
    """
    since: float | None = None
    for exchange in exchanges:
        due = min(max(exchange.sent.due, start), end)
        if not exchange.ok:
            since = due if since is None else since
        elif since is not None:
            if due > since:
                yield due - since
            since = None
    if since is not None and end > since:
        yield end - since


def _requests(exchanges: Sequence[Exchange]) -> Requests:
    outcomes = Counter(exchange.answer.outcome for exchange in exchanges if exchange.answer is not None)
    answered, succeeded = outcomes.total(), outcomes.pop(Outcome.OK, 0)
    return Requests(
        sent=len(exchanges),
        ok=succeeded,
        failed=answered - succeeded,
        unanswered=len(exchanges) - answered,
        failures={reason.value: outcomes[reason] for reason in Outcome if outcomes[reason]},
    )


def _writes(writes: Sequence[Exchange], checks: Mapping[str, Checked]) -> Writes:
    acknowledged = [write.sent.id for write in writes if write.ok]
    unknown = [write.sent.id for write in writes if not write.ok and write.unknown]
    found = [checks[key].found if key in checks else Found.UNVERIFIED for key in acknowledged]
    return Writes(
        attempted=len(writes),
        acknowledged=len(acknowledged),
        failed=len(writes) - len(acknowledged) - len(unknown),
        unknown=len(unknown),
        missing=found.count(Found.MISSING),
        unverified=found.count(Found.UNVERIFIED),
        unknown_present=sum(key in checks and checks[key].found is Found.PRESENT for key in unknown),
    )


def _latency(exchanges: Sequence[Exchange]) -> Latency:
    took = sorted(
        exchange.answer.took for exchange in exchanges if exchange.answer is not None and exchange.ok
    )
    if not took:
        return Latency(0.0, 0.0, 0.0)
    return Latency(_rank(took, 50), _rank(took, 99), took[-1])


def _rank(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
