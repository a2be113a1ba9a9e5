"""What was written to a log since it was marked: errors, known issues, and nothing held in memory but what is shown.

A line that is indented, or that goes on with a stack trace, belongs to the one before it: together they are an entry.
"""

import re
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol

from changeover.model.release import KnownIssue, LogWatch
from changeover.model.values import Outcome, Value, Verdict
from changeover.model.words import count
from changeover.ports import LogFile

HEAD = 1024
"""By so many of its first bytes a log is known again when it was copied elsewhere."""

PART = 1024 * 1024
"""Bytes that are read at once."""

LONGEST = 64 * 1024
"""Bytes of a line that are looked at; the rest of a longer one is passed over."""

ENTRY_LINES = 200
"""What goes on for longer is an entry of its own: it is looked at like any other."""

FINDINGS = 5
SHOWN = 400
"""Characters of a line that are shown."""

SOON = 14 * 86400.0
"""A known issue that expires within so many seconds is warned of."""

LOOKS = 3
"""How often a log that is rotated while it is read is read anew."""

NUMBERED = 3
"""So many digits at the end of a name are a number; more are a day."""

COMPRESSED = (".gz", ".xz", ".bz2", ".zst")

_GOES_ON = re.compile(r"\s|Caused by:|\.\.\. \d|[\w.$]+(?:Exception|Error)\b")
_SECRET = re.compile(
    r"((?:pass(?:word|phrase|wd)?|secret|token|api[-_]?key|authorization|cookie)[\"']?\s*[:=]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|(?:(?:basic|bearer|digest)\s+)?[^\s,;&\"']+)",
    re.IGNORECASE,
)
_USER = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")


class Reader(Protocol):
    """What is asked of the host that the log is on."""

    async def beside(self, path: str) -> Sequence[LogFile]:
        """The file, and those beside it whose names begin with its name."""
        ...

    async def read_part(self, path: str, start: int, size: int) -> bytes:
        """At most so many bytes of the file from there on."""
        ...


class Mark(Value, frozen=True):
    """Where a log stood: it and all beside it, and the checksum of the first bytes of it."""

    files: tuple[LogFile, ...] = ()
    head: str = ""


class Found(Value, frozen=True):
    """What a log holds since a mark: how often each known issue was seen, and what nobody knows, in context."""

    read: int = 0
    lines: int = 0
    counted: Mapping[int, int] = {}
    errors: int = 0
    shown: tuple[str, ...] = ()
    lost: str = ""


async def mark(reader: Reader, path: str) -> Mark:
    """Where the log stands now."""
    files = tuple(await reader.beside(path))
    size = next((it.size for it in files if it.path == path), 0)
    return Mark(files, await _head(reader, path, size) if size else "")


async def look(reader: Reader, watch: LogWatch, marked: Mark, known: Sequence[KnownIssue]) -> Found:
    """What was written since the mark, also to files that the log was rotated into meanwhile; no log is never good."""
    for _ in range(LOOKS):
        files = await reader.beside(watch.path)
        if not files:
            return Found(lost=f"there is no {watch.path}")
        starts, lost = await _starts(reader, watch.path, marked, files)
        scan = _Scan(watch, known)
        for file in sorted(starts, key=lambda it: _age(it.path, watch.path)):
            await scan.read(_lines(reader, file, starts[file]))
        now = {it.path: it.inode for it in await reader.beside(watch.path)}
        if all(now.get(file.path) == file.inode for file in starts):
            read = sum(file.size - start for file, start in starts.items())
            return scan.found(read, lost)
    return Found(lost=f"{watch.path} was rotated {LOOKS} times while it was read")


def applying(known: Iterable[KnownIssue], version: str, step: str, now: float) -> tuple[KnownIssue, ...]:
    """Those that count for this version and step, and have not expired. A step is named in full, or without its node."""
    return tuple(
        it
        for it in known
        if it.version in ("", version)
        and it.step in ("", step, step.rpartition("/")[2])
        and (not it.expires or now < it.expires)
    )


def verdict(watch: LogWatch, found: Found, known: Sequence[KnownIssue], now: float) -> Verdict:
    """Good when the log holds no error that is not known, none more often than is known of it, and nothing is lost."""
    subject = f"log {watch.path}"
    if found.lost:
        return Verdict(subject, Outcome.UNKNOWN, found.lost, "read the log by hand")
    seen = [f"{count(found.lines, 'line')} written since the mark"]
    wrong: list[str] = []
    for place, times in found.counted.items():
        issue = known[place]
        said = f"known: {issue.pattern!r} {count(times, 'time')}, at most {issue.most}"
        (wrong if times > issue.most else seen).append(f"{said}{_owned(issue, now)}")
    if found.errors:
        wrong.append(f"{count(found.errors, 'error')} that nobody knows:")
        wrong += found.shown
    if wrong:
        return Verdict(
            subject,
            Outcome.BAD,
            "\n".join(wrong),
            "mend it, or have it accepted with a reason; what may stand there belongs under `upgrade.logs.known`",
        )
    return Verdict(subject, Outcome.GOOD, "; ".join(seen))


def masked(text: str) -> str:
    """The text without what looks like a secret."""
    return _USER.sub(r"\1***@", _SECRET.sub(r"\1***", text))


def _owned(issue: KnownIssue, now: float) -> str:
    said = [f"of {issue.owner}"] if issue.owner else []
    if issue.expires:
        when = datetime.fromtimestamp(issue.expires, UTC).strftime("%Y-%m-%d")
        said.append(f"EXPIRES SOON, on {when}" if issue.expires - now < SOON else f"until {when}")
    return f" ({', '.join(said)})" if said else ""


def _age(path: str, log: str) -> tuple[bool, int, str]:
    """What sorts the files of a log by their age: `app.log.2` is older than `app.log.1`, a day than the next one."""
    number = path.removeprefix(f"{log}.")
    return path == log, -int(number) if number.isdecimal() and len(number) <= NUMBERED else 0, path


async def _head(reader: Reader, path: str, size: int) -> str:
    return sha256(await reader.read_part(path, 0, min(size, HEAD))).hexdigest()


async def _starts(
    reader: Reader, path: str, marked: Mark, files: Sequence[LogFile]
) -> tuple[dict[LogFile, int], str]:
    """From which byte on each file is new; and why something may be lost, if it may."""
    before = {it.inode: it for it in marked.files}
    main = next((it for it in marked.files if it.path == path), None)
    starts: dict[LogFile, int] = {}
    located = False
    for file in files:
        if file.path.endswith(COMPRESSED):
            continue
        was, start = before.get(file.inode), 0
        if was and was.path != path:
            start = was.size if file.size >= was.size else 0
        elif main and file.size >= main.size > 0 and (was or not located):
            # It is the log itself, or what it was copied to before it was emptied.
            same = await _head(reader, file.path, main.size) == marked.head
            start, located = (main.size, True) if same else (0, located)
        elif was:
            located = located or not was.size
        if start < file.size:
            starts[file] = start
    packed = sorted(it.path for it in files if it.path.endswith(COMPRESSED) and it.inode not in before)
    gone = main and main.size and all(it.inode != main.inode for it in files)
    if located or not (packed or gone):
        return starts, ""
    where = f"packed into {', '.join(packed)}" if packed else "gone"
    return (
        starts,
        f"what {path} held when it was marked is {where}: what was written after that cannot be read",
    )


async def _lines(reader: Reader, file: LogFile, start: int) -> AsyncIterator[str]:
    """The lines up to where the file ended when it was looked for."""
    rest = b""
    while start < file.size:
        part = await reader.read_part(file.path, start, min(PART, file.size - start))
        if not part:
            break
        start += len(part)
        *whole, rest = (rest + part).split(b"\n")
        rest = rest[:LONGEST]
        for line in whole:
            yield line[:LONGEST].decode(errors="replace").rstrip("\r")
    if rest:
        yield rest.decode(errors="replace")


class _Scan:
    """Goes through the entries of a log."""

    def __init__(self, watch: LogWatch, known: Sequence[KnownIssue]) -> None:
        self._errors = [re.compile(pattern) for pattern in watch.errors]
        self._known = [re.compile(issue.pattern, re.MULTILINE) for issue in known]
        self._context = watch.context
        self._before: deque[str] = deque(maxlen=watch.context)
        self._entry: list[str] = []
        self._open: list[tuple[list[str], int]] = []
        self._shown: list[list[str]] = []
        self._counted: dict[int, int] = {}
        self._wrong = self._read = 0

    async def read(self, lines: AsyncIterator[str]) -> None:
        """Every line of a file; no entry goes on in another, and none is the context of what is there."""
        async for line in lines:
            self._read += 1
            if 0 < len(self._entry) < ENTRY_LINES and _GOES_ON.match(line):
                self._entry.append(line)
                continue
            self._end()
            self._entry = [line]
        self._end()
        self._before.clear()
        self._open.clear()

    def found(self, read: int, lost: str) -> Found:
        """What came of it."""
        shown = tuple("\n".join(f"  {masked(line)[:SHOWN]}" for line in lines) for lines in self._shown)
        return Found(read, self._read, dict(sorted(self._counted.items())), self._wrong, shown, lost)

    def _end(self) -> None:
        """Judge the entry that has ended."""
        entry, self._entry = self._entry, []
        if not entry:
            return
        for lines, left in self._open:
            lines.extend(entry[:left])
        self._open = [(lines, left - len(entry)) for lines, left in self._open if left > len(entry)]
        first = (place for place, line in enumerate(entry) if any(it.search(line) for it in self._errors))
        if (error := next(first, None)) is not None:
            self._judge(entry, error)
        self._before.extend(entry)

    def _judge(self, entry: list[str], error: int) -> None:
        """It is told by its beginning, and by the line that is an error."""
        text = "\n".join(entry)
        place = next((place for place, it in enumerate(self._known) if it.search(text)), None)
        if place is not None:
            self._counted[place] = self._counted.get(place, 0) + 1
            return
        self._wrong += 1
        if len(self._shown) < FINDINGS:
            told = entry[: 1 + self._context] + entry[max(error, 1 + self._context) : error + 1]
            shown = [*self._before, *(f"> {line}" for line in told)]
            self._shown.append(shown)
            if self._context:
                self._open.append((shown, self._context))
