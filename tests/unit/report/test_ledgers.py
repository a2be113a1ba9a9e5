"""Which ledgers tell about a run."""

from pathlib import Path

import pytest

from changeover.errors import SpecError
from changeover.probe.ledger import Ledger, Writer
from changeover.report.ledgers import named, overlapping
from tests.unit.report.made import BEGAN, a_ledger


def written(path: Path, ledger: Ledger) -> Path:
    """The ledger in a file, as the probe writes it."""
    with Writer(path, ledger.header) as writer:
        for exchange in ledger.exchanges:
            writer.append(exchange.sent, *([exchange.answer] if exchange.answer else []))
        writer.append(*([ledger.ended] if ledger.ended else []))
    return path


def test_those_that_overlap_in_time_are_taken(tmp_path: Path) -> None:
    """Not those before or after; one that cannot be read is named with the reason."""
    written(tmp_path / "before.jsonl", a_ledger(-20, -10))
    written(tmp_path / "during.jsonl", a_ledger(5, 15))
    (tmp_path / "other.jsonl").write_text("not a ledger\n")
    ledgers, sources = overlapping(tmp_path, BEGAN, BEGAN + 10)
    assert [ledger.header.begin for ledger in ledgers] == [BEGAN + 5]
    assert [(source.file, bool(source.error)) for source in sources] == [
        ("during.jsonl", False),
        ("other.jsonl", True),
    ]


def test_no_directory_means_no_ledger(tmp_path: Path) -> None:
    """Then nothing is measured, and nothing is wrong."""
    assert overlapping(tmp_path / "missing", 0, 1) == ([], [])


def test_a_named_file_must_be_a_ledger(tmp_path: Path) -> None:
    """Anything else is bad input."""
    (tmp_path / "x").write_text("{}")
    with pytest.raises(SpecError):
        named([tmp_path / "x"])


def test_no_password_of_the_site_is_shown(tmp_path: Path) -> None:
    """The address of a source comes without name and password."""
    (source,) = named([written(tmp_path / "a.jsonl", a_ledger(0, 5))])[1]
    assert (source.url, source.ended, source.rate) == ("http://10.0.0.1/", True, 1.0)
