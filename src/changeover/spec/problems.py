"""What is wrong with the operator's files, said like a compiler does: file, line, column, key, what to write."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches

from changeover.errors import SpecError

_SHOWN = 16
"""So many of the names that would have been right are listed; more would hide the message."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written. Lines and columns count from 1; `path` is the keys that lead to it."""

    file: str
    line: int = 1
    column: int = 1
    path: tuple[str, ...] = ()

    def under(self, key: str) -> "Place":
        """The same spot, one key deeper: for what should have been there."""
        return replace(self, path=(*self.path, key))


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `expected` lists what would have been right, `nearest` the likeliest of it."""

    place: Place
    message: str
    expected: tuple[str, ...] = ()
    nearest: str = ""

    @property
    def file(self) -> str:
        """The file as the operator named it."""
        return self.place.file

    @property
    def line(self) -> int:
        """From 1."""
        return self.place.line

    @property
    def column(self) -> int:
        """From 1."""
        return self.place.column

    @property
    def key(self) -> str:
        """The keys that lead to it, joined by dots; empty for the file as a whole."""
        return ".".join(self.place.path)

    def __str__(self) -> str:
        """Render it as `file:line:column  key: message; did you mean 'x'? expected one of …`."""
        key = f"{_printable(self.key)}: " if self.key else ""
        text = f"{_printable(self.file)}:{self.line}:{self.column}  {key}{_printable(self.message)}"
        if self.nearest:
            text += f"; did you mean {_printable(self.nearest)!r}?"
        if self.expected:
            shown = ", ".join(_printable(name) for name in self.expected[:_SHOWN])
            more = ", …" if len(self.expected) > _SHOWN else ""
            text += f"{'' if self.nearest else ';'} expected {'one of ' if len(self.expected) > 1 else ''}{shown}{more}"
        return text


class InvalidSpecError(SpecError):
    """The operator's files hold mistakes: all of them, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "\n".join(map(str, self.problems)),
            hint="docs/reference.md explains every key",
        )


class Problems:
    """Collects problems while the files are read, so that one reading tells them all."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place, message: str, *, expected: Iterable[str] = (), nearest: str = "") -> None:
        """Note one; the same one twice counts once."""
        self._found[Problem(place, message, tuple(expected), nearest)] = None

    def within(self, place: Place) -> bool:
        """Whether one was noted there, or deeper: what else is wrong there may only follow from it."""
        depth = len(place.path)
        return any(
            problem.file == place.file and problem.place.path[:depth] == place.path for problem in self._found
        )

    def unknown(self, place: Place, what: str, name: str, candidates: Iterable[str]) -> None:
        """Note a name that is none of `candidates`, with the nearest that is."""
        known = tuple(candidates)
        self.add(place, what, expected=known, nearest=nearest(name, known))

    def raise_any(self) -> None:
        """Raise `InvalidSpecError` if there is any."""
        if self._found:
            raise InvalidSpecError(sorted(self._found, key=lambda p: (p.file, p.line, p.column)))


def nearest(name: str, candidates: Iterable[str]) -> str:
    """The candidate that was probably meant, or nothing."""
    return next(iter(get_close_matches(name, list(candidates), n=1)), "")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
