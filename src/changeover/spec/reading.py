"""From a file's bytes to values with places. Whatever the bytes are, what comes back is a value or a problem."""

import re
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from changeover.spec.located import Located, Map, Seq, Text, moved, size
from changeover.spec.problems import Place, Problems

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 40
MAX_VALUES = 100_000

_SECRET_KEYS = frozenset({"password", "passphrase"})
_REFERENCE_KEYS = frozenset({"env", "file", "command"})


def read_text(path: Path, file: str, problems: Problems, *, named_at: Place | None = None) -> str | None:
    """The file's text, or None and a problem, at the place that names the file if there is one."""
    at = named_at or Place(file)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else "no legal file name"
        problems.add(at, f"cannot read {file}: {reason.lower()}")
        return None
    if len(data) > MAX_BYTES:
        problems.add(at, f"{file} is larger than {MAX_BYTES // 1024 // 1024} MiB")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(data[: error.start].decode("utf-8", "replace"))
        problems.add(Place(file, line, column), "this is not UTF-8 text")
        return None
    if "\0" in text:
        problems.add(Place(file, *_position(text[: text.index("\0")])), "a NUL byte: this is not a text file")
        return None
    return text


def read_yaml(
    text: str, file: str, problems: Problems, *, tags: frozenset[str] = frozenset()
) -> Located | None:
    """The one document in `text` (nothing is null), or None and a problem. Of other tags than YAML's own, `tags` are allowed."""
    composer = _Composer(text, file, problems, tags)
    try:
        return composer.document()
    except _StopError:
        pass
    except ReaderError as error:
        problems.add(Place(file, *_position(text[: error.position])), "a character that YAML does not allow")
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Place(file, mark.line + 1, mark.column + 1) if mark else composer.at
        problems.add(at, _explain(error))
    except (YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError):
        # The parser's own slips on hostile input, such as an escape beyond Unicode.
        problems.add(composer.at, "this cannot be read as YAML")
    return None


class _StopError(Exception):
    """The rest of the document is not worth reading."""


class _Composer:
    def __init__(self, text: str, file: str, problems: Problems, tags: frozenset[str]) -> None:
        self._events: Iterator[Event] = iter(YAML(typ="safe", pure=True).parse(text))
        self._problems = problems
        self._tags = tags
        self._anchors: dict[str, Located | None] = {}
        self._count = 0
        self.at = Place(file)

    def document(self) -> Located:
        found: Located | None = None
        for event in self._events:
            if not isinstance(event, DocumentStartEvent):
                continue
            self._move(event, ())
            if found is not None:
                self._problems.add(self.at, "a second document begins here; only one is read")
                break
            found = self._value(next(self._events), (), 0)
        return Text("", self.at, plain=True) if found is None else found

    def _move(self, event: Event, path: tuple[str, ...]) -> Place:
        mark = event.start_mark
        self.at = Place(self.at.file, mark.line + 1, mark.column + 1, path)
        return self.at

    def _value(self, event: Event, path: tuple[str, ...], depth: int) -> Located:
        place = self._move(event, path)
        if depth > MAX_DEPTH:
            self._problems.add(place, f"nested deeper than {MAX_DEPTH} levels")
            raise _StopError
        if isinstance(event, AliasEvent):
            return self._alias(event, place)
        self._take(1, place)
        anchor = getattr(event, "anchor", None)
        if anchor:
            self._anchors[anchor] = None
        value: Located
        match event:
            case ScalarEvent():
                value = self._scalar(event, place)
            case SequenceStartEvent():
                value = self._sequence(place, path, depth)
            case _:
                value = self._mapping(place, path, depth)
        if anchor:
            self._anchors[anchor] = value
        return value

    def _take(self, count: int, place: Place) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            self._problems.add(place, f"more than {MAX_VALUES} values, aliases counted in full")
            raise _StopError

    def _alias(self, event: AliasEvent, place: Place) -> Located:
        value = self._anchors.get(event.anchor)
        if value is None:
            # The name is not shown: a secret that begins with an asterisk looks like an alias.
            self._problems.add(place, "an alias (*) to an anchor (&) that is not there, or not complete here")
            return Text("", place)
        self._take(size(value), place)
        return moved(value, place.path)

    def _scalar(self, event: ScalarEvent, place: Place) -> Text:
        tag = str(event.tag or "")
        if tag and not tag.startswith(("tag:yaml.org,2002:", "!!")) and tag not in self._tags:
            self._problems.add(place, "an unknown tag: quote text that begins with '!'")
            tag = ""
        value = event.value
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            self._problems.add(place, "a character that is no text (NUL, or half of a surrogate pair)")
            value = ""
        own = tag if tag in self._tags else ""
        return Text(value, place, plain=event.implicit[0], tag=own)

    def _sequence(self, place: Place, path: tuple[str, ...], depth: int) -> Seq:
        found = Seq(place)
        while not isinstance(event := next(self._events), SequenceEndEvent):
            found.append(self._value(event, (*path, str(len(found))), depth + 1))
        return found

    def _mapping(self, place: Place, path: tuple[str, ...], depth: int) -> Map:
        found, merged = Map(place), list[Map]()
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path, depth)
            value = self._value(next(self._events), path if key is None else key.place.path, depth + 1)
            if key is None:
                continue
            if key == "<<" and key.plain:
                merged += self._merged(value, path)
            elif key in found:
                self._problems.add(
                    key.place, f"this key was already given in line {found.key(key).place.line}"
                )
            else:
                found[key] = value
        for other in merged:
            for key, value in other.items():
                found.setdefault(key, value)
        return found

    def _key(self, event: Event, path: tuple[str, ...], depth: int) -> Text | None:
        if not isinstance(event, ScalarEvent):
            self._problems.add(self._move(event, path), "a key has to be text")
            if not isinstance(event, AliasEvent):
                self._value(event, path, depth + 1)
            return None
        inner = (*path, event.value)
        if path and path[-1] in _SECRET_KEYS and event.value not in _REFERENCE_KEYS:
            inner = path  # it may be the secret itself
        key = self._scalar(event, self._move(event, inner))
        if not key:
            self._problems.add(key.place, "a key is missing before the colon")
            return None
        return key

    def _merged(self, value: Located, path: tuple[str, ...]) -> list[Map]:
        others = list(value) if isinstance(value, Seq) else [value]
        good = [moved(other, path) for other in others if isinstance(other, Map)]
        if len(good) < len(others):
            self._problems.add(value.place, "what is merged here has to be a mapping, or a list of mappings")
        return good  # type: ignore[return-value]  # a moved Map is a Map


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _explain(error: MarkedYAMLError) -> str:
    """The parser's words, without what it quotes from the file: that may be a secret."""
    words = re.sub(r"'([^']*)'|\"([^\"]*)\"", _harmless, error.problem or "")
    if "\\t" in words:
        return "a tab: YAML is indented with spaces"
    if "',' or" in words:
        return f"no valid YAML: {words}; text with brackets, braces or commas in it is quoted here"
    return f"no valid YAML: {words}"


def _harmless(quoted: re.Match[str]) -> str:
    """One character, or a word of the parser's own."""
    inside = quoted[1] or quoted[2] or ""
    return quoted[0] if len(inside) <= 2 or inside.startswith("<") else "…"  # noqa: PLR2004  # `\t` is two
