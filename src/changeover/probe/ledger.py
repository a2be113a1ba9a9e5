"""The probe's ledger: JSON Lines that survive SIGKILL, a torn last line included."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from changeover.errors import LedgerError, SpecError
from changeover.probe.records import (
    FORMAT,
    Answered,
    Checked,
    Ended,
    Header,
    Kind,
    Record,
    Sent,
    SessionChanged,
)
from changeover.probe.summary import Exchange, Summary, summarise

_encode = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_record = msgspec.json.Decoder(Record).decode


class Writer:
    """Appends records; they are the operating system's, safe from the death of this process, after each `flush`.

    Nothing is synced to the disk before `close`: waiting for a disk would disturb what is measured, and a
    power cut of the probe's own machine ends the measurement anyway.
    """

    def __init__(self, path: Path, header: Header | None = None) -> None:
        """With a header, a new file, which must not exist yet; without, the file of an earlier run is continued."""
        self.path = path
        self._lines: list[bytes] = []
        try:
            self._file = path.open("ab" if header is None else "xb", buffering=0)
        except FileExistsError as error:
            raise LedgerError(
                f"{path}: exists already", hint="give another --ledger, or move it away"
            ) from error
        except OSError as error:
            raise LedgerError(f"{path}: cannot be written: {error.strerror}") from error
        # The process that wrote an earlier run may have died within a line; the blank line is skipped when reading.
        self._lines.append(b"\n" if header is None else _encode(header) + b"\n")
        self.flush()

    def append(self, *records: Record) -> None:
        """Take records; they wait for the next `flush`."""
        self._lines.extend(_encode(record) + b"\n" for record in records)

    def flush(self) -> None:
        """Hand everything to the operating system; `LedgerError` when it does not take it."""
        data, self._lines = b"".join(self._lines), []
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            self._lines.insert(0, data)
            raise LedgerError(f"{self.path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._file.close()


class Ledger(msgspec.Struct, frozen=True):
    """What was read: every exchange and session change in the order of the schedule, and what became of the writes.

    `ended` is None when the probe still runs or was killed; `torn` counts lines that cannot be read.
    """

    header: Header
    exchanges: list[Exchange]
    changes: list[SessionChanged]
    checks: dict[str, Checked]
    ended: Ended | None
    torn: int

    def summary(self, start: float | None = None, end: float | None = None) -> Summary:
        """The figures for requests *scheduled* in [start, end), epoch seconds; None is the ledger's own bound."""
        begin, stop = self.covers
        first = begin if start is None else min(max(start, begin), stop)
        last = stop if end is None else max(min(end, stop), first)
        return summarise(self.exchanges, self.changes, self.checks, first, last)

    @property
    def to_verify(self) -> list[str]:
        """The ids of the writes that were acknowledged or may have happened."""
        writes = (exchange for exchange in self.exchanges if exchange.sent.kind is Kind.WRITE)
        return [write.sent.id for write in writes if write.ok or write.unknown]

    @property
    def covers(self) -> tuple[float, float]:
        """From the first scheduled moment to the end of the schedule, as far as it is known."""
        if not self.exchanges:
            return self.header.begin, self.header.begin
        end = self.ended.at if self.ended else self.exchanges[-1].sent.due + 1 / self.header.rate
        return self.exchanges[0].sent.due, end


def read(path: Path) -> Ledger:
    """The ledger in a file, of a running probe too; `SpecError` if it is none, `LedgerError` if it cannot be read."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        header = _decode_header(lines[0])
    except (IndexError, msgspec.MsgspecError) as error:
        raise SpecError(f"{path}:1: not a ledger of the probe") from error
    if header.changeover_probe != FORMAT:
        raise SpecError(f"{path}:1: ledger format {header.changeover_probe}, expected {FORMAT}")
    records: list[Record] = []
    torn = 0
    for line in filter(None, lines[1:]):
        try:
            records.append(_decode_record(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            torn += 1
    return _assemble(header, records, torn)


def _assemble(header: Header, records: Iterable[Record], torn: int) -> Ledger:
    sent: list[Sent] = []
    answers: dict[int, Answered] = {}
    changes: list[SessionChanged] = []
    checks: dict[str, Checked] = {}
    ended: Ended | None = None
    for record in records:
        match record:
            case Sent():
                sent.append(record)
            case Answered(number=number):
                answers[number] = record
            case SessionChanged():
                changes.append(record)
            case Checked(id=written):
                checks[written] = record
            case Ended():
                ended = record
    exchanges = [Exchange(request, answers.get(request.number)) for request in sent]
    exchanges.sort(key=lambda exchange: exchange.sent.due)
    changes.sort(key=lambda change: change.due)
    return Ledger(header, exchanges, changes, checks, ended, torn)
