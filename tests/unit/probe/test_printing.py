import pytest

from changeover.errors import SpecError
from changeover.probe.arguments import duration, moment
from changeover.probe.printing import progress_line, summary_text
from changeover.probe.records import Change, Kind, Outcome, Tally
from changeover.probe.summary import Latency, Requests, Sessions, Summary, Writes

SUMMARY = Summary(
    start=1_795_244_985.0,
    end=1_795_244_995.5,
    requests=Requests(2100, 2090, 8, 2, {"connect": 5, "5xx": 3}),
    sessions=Sessions(100, 60, 1),
    writes=Writes(210, 200, 7, 3, 1, 2, 2),
    latency=Latency(0.00123, 0.0456, 1.5),
    longest_gap=0.25,
    longest_without_write=0.3,
    without_write=0.5,
    probe_late=0.002,
)


def test_the_summary_as_text() -> None:
    """Every figure of the summary is in the text, with its unit."""
    assert summary_text(SUMMARY).splitlines() == [
        "time      2026-11-21 07:09:45.000Z to 2026-11-21 07:09:55.500Z (10.5 s)",
        "requests  2100 sent, 2090 ok, 8 failed (connect 5, 5xx 3), 2 unanswered",
        "sessions  100 opened, 60 ended, 1 cut",
        "writes    210 attempted, 200 acknowledged, 7 failed, 3 unknown (2 of them present)",
        "          acknowledged and missing 1, acknowledged and not verified 2",
        "latency   p50 1.2 ms, p99 45.6 ms, max 1500.0 ms",
        "without   success: 0.250 s at most",
        "          an acknowledged write: 0.500 s in all, 0.300 s at most",
        "probe     at most 2.0 ms behind its schedule",
        "lost      8 requests failed, 1 session cut, 1 acknowledged write missing, 2 acknowledged writes not verified",
    ]


def test_progress_in_a_line() -> None:
    """Answers, failures, what is under way, sessions and writes."""
    tally: Tally = Tally({Outcome.OK: 90, Outcome.RESET: 2, Change.OPENED: 5, Change.CUT: 1, Kind.WRITE: 9})
    expected = "    7s  92 answered, 2 failed, 3 in flight; sessions 5, cut 1; writes 9"
    assert progress_line(tally, 3, 7.2) == expected


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("0.5s", 0.5), ("1.5m", 90), ("2h", 7200)])
def test_durations(text: str, seconds: float) -> None:
    """Seconds, minutes and hours; a bare number is seconds."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1s", "5 d", "1e3", "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(SpecError, match="expected a duration such as 90s"):
        duration(text)


@pytest.mark.parametrize(
    "text", ["1795244985", "2026-11-21T07:09:45Z", "2026-11-21T08:09:45+01:00", "2026-11-21 07:09:45"]
)
def test_moments(text: str) -> None:
    """Epoch seconds or ISO 8601, UTC unless it says otherwise."""
    assert moment(text) == 1_795_244_985.0
