"""Which of the probe's ledgers tell about a run."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from changeover.errors import LedgerError, SpecError
from changeover.model.values import Value
from changeover.probe import ledger
from changeover.probe.ledger import Ledger


class Source(Value, frozen=True):
    """A ledger that was looked at. `error` says why it could not be used."""

    file: str
    url: str = ""
    start: float = 0.0
    end: float = 0.0
    rate: float = 0.0
    ended: bool = True
    torn: int = 0
    error: str = ""


def named(paths: Iterable[Path]) -> tuple[list[Ledger], list[Source]]:
    """The ledgers in these files; `SpecError` or `LedgerError` for the first that is none."""
    found = [(path, ledger.read(path)) for path in paths]
    return [read for _, read in found], [_source(path, read) for path, read in found]


def overlapping(directory: Path, start: float, end: float) -> tuple[list[Ledger], list[Source]]:
    """The ledgers in a directory that reach into [start, end), and those that cannot be read."""
    ledgers: list[Ledger] = []
    sources: list[Source] = []
    for path in sorted(directory.glob("*.jsonl")):
        try:
            read = ledger.read(path)
        except (SpecError, LedgerError) as error:
            sources.append(Source(path.name, error=error.message))
            continue
        begin, stop = read.covers
        if begin < end and stop > start:
            ledgers.append(read)
            sources.append(_source(path, read))
    return ledgers, sources


def _source(path: Path, read: Ledger) -> Source:
    begin, stop = read.covers
    header = read.header
    return Source(
        path.name,
        url=_without_user(header.url),
        start=begin,
        end=stop,
        rate=header.rate,
        ended=read.ended is not None,
        torn=read.torn,
    )


def _without_user(url: str) -> str:
    """The URL without the name and password that may stand in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
