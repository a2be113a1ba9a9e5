from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import LedgerError, SpecError
from changeover.probe.ledger import Ledger, Writer, read
from changeover.probe.records import (
    Answered,
    Change,
    Checked,
    Ended,
    Found,
    Kind,
    Outcome,
    Record,
    Sent,
    SessionChanged,
)
from changeover.probe.schedule import Load
from changeover.probe.summary import Summary
from tests.unit.probe.scripted import header

HEADER = header("http://site", Load(rate=10, write_rate=5, sessions=1))


def written(path: Path, *records: Record) -> Ledger:
    """A ledger with these records."""
    with Writer(path, HEADER) as writer:
        writer.append(*records)
    return read(path)


def ten_seconds(outcomes: str) -> list[Record]:
    """A request each second from 100 on: a dot succeeds, an x fails; writes at the even ones."""
    records: list[Record] = []
    for number, outcome in enumerate(outcomes):
        kind = Kind.WRITE if number % 2 == 0 else Kind.USE
        records.append(Sent(number, 100.0 + number, 0.0, kind, 1, f"w{number}" if kind is Kind.WRITE else ""))
        ok = outcome == "."
        records.append(
            Answered(number, number / 100, Outcome.OK if ok else Outcome.SERVER, 200 if ok else 500)
        )
    return [*records, Ended(100.0 + len(outcomes), "time")]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Exchanges come in the order of the schedule with their answers, and the header as it was given."""
    ledger = written(
        tmp_path / "l",
        Sent(1, 100.2, 0.0, Kind.USE, 7),
        Sent(0, 100.1, 0.0, Kind.LOGIN, 7),
        Answered(0, 0.5, Outcome.OK, 200),
        SessionChanged(100.1, 7, Change.OPENED),
        Ended(100.3, "time"),
    )
    assert ledger.header == HEADER
    assert [exchange.sent.number for exchange in ledger.exchanges] == [0, 1]
    assert [exchange.ok for exchange in ledger.exchanges] == [True, False]
    assert ledger.covers == (100.1, 100.3)
    assert ledger.summary().requests.unanswered == 1


@given(cut=st.integers(min_value=1, max_value=400))
def test_a_torn_end_costs_at_most_one_record(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever a kill cuts the file, all whole lines are read and at most one is torn."""
    path = tmp_path_factory.mktemp("ledger") / "l"
    written(path, *ten_seconds("..x.."))
    whole = path.read_bytes()
    body = whole.index(b"\n") + 1
    path.write_bytes(whole[: max(body, len(whole) - cut)])
    ledger = read(path)
    lines = path.read_bytes()[body:].count(b"\n")
    answered = [exchange for exchange in ledger.exchanges if exchange.answer]
    kept = len(ledger.exchanges) + len(answered) + (ledger.ended is not None)
    assert kept - lines in (0, 1)  # a line that only lacks its end is whole
    assert ledger.torn <= 1


def test_a_torn_ledger_can_be_continued(tmp_path: Path) -> None:
    """What is appended after a torn line is read, and the torn line is counted."""
    path = tmp_path / "l"
    written(path, Sent(0, 100.0, 0.0, Kind.WRITE, 0, "w0"), Answered(0, 0.1, Outcome.OK, 201))
    with path.open("ab") as file:
        file.write(b'["s",1,100.')
    with Writer(path) as writer:
        writer.append(Checked("w0", Found.PRESENT, 200))
    ledger = read(path)
    assert (ledger.torn, ledger.checks["w0"].found) == (1, Found.PRESENT)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file that exists is refused, with advice."""
    (tmp_path / "l").touch()
    with pytest.raises(LedgerError, match="exists already"):
        Writer(tmp_path / "l", HEADER)


@pytest.mark.parametrize("content", [b"", b"hello\n", b'{"changeover_probe": 1}\n', b"\xff\xfe\n"])
def test_what_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file of another kind is the operator's mistake, and the error names the file."""
    (tmp_path / "l").write_bytes(content)
    with pytest.raises(SpecError, match=r"l:1: not a ledger of the probe"):
        read(tmp_path / "l")


def test_another_format_is_refused(tmp_path: Path) -> None:
    """A ledger of a later format is not guessed at."""
    (tmp_path / "l").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(HEADER, changeover_probe=2)) + b"\n"
    )
    with pytest.raises(SpecError, match="ledger format 2, expected 1"):
        read(tmp_path / "l")


def test_a_missing_ledger_is_an_error_with_a_name(tmp_path: Path) -> None:
    """A path that leads nowhere is said, not raised from the depths."""
    with pytest.raises(LedgerError, match="cannot be read: No such file"):
        read(tmp_path / "none")


def test_a_stretch_counts_what_was_scheduled_in_it(tmp_path: Path) -> None:
    """A request at the start belongs to the stretch, one at the end does not, however late its answer."""
    ledger = written(tmp_path / "l", *ten_seconds("..x......."))
    summary = ledger.summary(102.0, 104.0)
    assert (summary.requests.sent, summary.requests.failed) == (2, 1)
    assert (summary.start, summary.end) == (102.0, 104.0)


def test_a_stretch_is_clipped_to_the_run(tmp_path: Path) -> None:
    """Before the first request and after the end of the schedule nothing was measured, so nothing is claimed."""
    ledger = written(tmp_path / "l", *ten_seconds("...."))
    assert (ledger.summary(0, 1e12).start, ledger.summary(0, 1e12).end) == (100.0, 104.0)
    assert ledger.summary(0, 50).requests.sent == 0


def test_gaps_run_from_a_failure_to_the_next_success(tmp_path: Path) -> None:
    """The longest gap, and the time without an acknowledged write, by the schedule."""
    summary = written(tmp_path / "l", *ten_seconds("..xx.xx...")).summary()
    assert summary.longest_gap == 2.0
    assert (summary.without_write, summary.longest_without_write) == (4.0, 2.0)


@given(outcomes=st.text(".x", min_size=2, max_size=20), at=st.floats(100, 120))
def test_adjacent_stretches_add_up(
    tmp_path_factory: pytest.TempPathFactory, outcomes: str, at: float
) -> None:
    """Cut in two anywhere, the parts have the requests, failures and seconds without writing of the whole."""
    ledger = written(tmp_path_factory.mktemp("ledger") / "l", *ten_seconds(outcomes))
    whole, parts = ledger.summary(), [ledger.summary(end=at), ledger.summary(start=at)]
    assert sum(part.requests.sent for part in parts) == whole.requests.sent
    assert sum(part.requests.failed for part in parts) == whole.requests.failed
    assert sum(part.without_write for part in parts) == pytest.approx(whole.without_write, abs=1e-5)


def test_percentiles_are_of_the_requests_that_succeeded(tmp_path: Path) -> None:
    """Nearest rank: of 0.00 to 0.09 s without the failed 0.02, the median is the fifth of nine."""
    latency = written(tmp_path / "l", *ten_seconds("..x.......")).summary().latency
    assert (latency.p50, latency.p99, latency.max) == (0.05, 0.09, 0.09)


def test_the_last_look_at_a_write_counts(tmp_path: Path) -> None:
    """A write that was missing and is found later is no loss; one that nobody could look for is not verified."""
    checks = [
        Checked("w0", Found.MISSING, 404),
        Checked("w0", Found.PRESENT, 200),
        Checked("w2", Found.MISSING, 404),
    ]
    summary = written(tmp_path / "l", *ten_seconds("....."), *checks).summary()
    assert (summary.writes.acknowledged, summary.writes.missing, summary.writes.unverified) == (3, 1, 1)
    assert summary.losses == ["1 acknowledged write missing", "1 acknowledged write not verified"]


def test_a_summary_survives_json(tmp_path: Path) -> None:
    """The summary as JSON and back is the same."""
    summary = written(tmp_path / "l", *ten_seconds("..x.")).summary()
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary
