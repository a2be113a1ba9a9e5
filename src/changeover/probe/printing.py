"""The summary for people, and the line that shows how a run fares."""

from datetime import UTC, datetime

from changeover.probe.records import Change, Kind, Outcome, Tally
from changeover.probe.summary import Summary


def summary_text(summary: Summary) -> str:
    """A few lines without colour, right for a terminal and for a file."""
    requests, sessions, writes, latency = summary.requests, summary.sessions, summary.writes, summary.latency
    reasons = ", ".join(f"{reason} {count}" for reason, count in requests.failures.items())
    unanswered = f", {requests.unanswered} unanswered" if requests.unanswered else ""
    longest = f"{summary.longest_without_write:.3f} s"
    lines = [
        f"time      {_moment(summary.start)} to {_moment(summary.end)} ({summary.end - summary.start:.1f} s)",
        f"requests  {requests.sent} sent, {requests.ok} ok, {requests.failed} failed"
        + (f" ({reasons})" if reasons else "")
        + unanswered,
        f"sessions  {sessions.opened} opened, {sessions.ended} ended, {sessions.cut} cut",
        f"writes    {writes.attempted} attempted, {writes.acknowledged} acknowledged, {writes.failed} failed, "
        f"{writes.unknown} unknown"
        + (f" ({writes.unknown_present} of them present)" if writes.unknown else ""),
        f"          acknowledged and missing {writes.missing}, acknowledged and not verified {writes.unverified}",
        f"latency   p50 {_ms(latency.p50)}, p99 {_ms(latency.p99)}, max {_ms(latency.max)}",
        f"without   success: {summary.longest_gap:.3f} s at most",
        f"          an acknowledged write: {summary.without_write:.3f} s in all, {longest} at most",
        f"probe     at most {_ms(summary.probe_late)} behind its schedule",
        "lost      " + (", ".join(summary.losses) or "nothing"),
    ]
    return "\n".join(lines)


def progress_line(tally: Tally, in_flight: int, seconds: float) -> str:
    """How the run fares, in one line of at most 100 characters or so."""
    answered = sum(tally[outcome] for outcome in Outcome)
    return (
        f"{seconds:5.0f}s  {answered} answered, {answered - tally[Outcome.OK]} failed, {in_flight} in flight; "
        f"sessions {tally[Change.OPENED]}, cut {tally[Change.CUT]}; writes {tally[Kind.WRITE]}"
    )


def _moment(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(sep=" ", timespec="milliseconds")
        .removesuffix("+00:00")
        + "Z"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
