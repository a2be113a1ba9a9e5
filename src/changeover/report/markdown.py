"""A document as Markdown, for a ticket or a wiki."""

import re
from collections.abc import Iterator

from changeover.report.document import Code, Document, Figure, Table, Text, Tone

_TICKS = re.compile("`+")
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")


def render(document: Document) -> str:
    """The document in the Markdown of GitHub, ending in a newline."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield f"# {escaped(document.title)}"
    if document.subtitle:
        yield from ("", escaped(document.subtitle))
    if document.figures:
        yield from ("", "| | | |", "| --- | ---: | --- |", *map(_figure, document.figures))
    for section in document.sections:
        yield from ("", f"## {escaped(section.title)}")
        for part in section.body:
            yield ""
            yield from _part(part)


def _part(part: Text | Table | Code) -> Iterator[str]:
    match part:
        case Table():
            yield from _table(part)
        case Code():
            fence = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(part.text)), default=0))
            yield from ([escaped(part.where), ""] if part.where else [])
            yield from (fence, part.text, fence)
        case Text():
            yield _text(part)


def _figure(figure: Figure) -> str:
    return f"| {escaped(figure.label)} | **{escaped(figure.value.text)}** | {escaped(figure.note)} |"


def _table(table: Table) -> Iterator[str]:
    yield _row(escaped(column.title) for column in table.columns)
    yield _row("---:" if column.right else "---" for column in table.columns)
    for row in table.rows:
        yield _row(map(_text, row))


def _row(texts: Iterator[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _text(text: Text) -> str:
    strong = text.tone in (Tone.BAD, Tone.STRONG) and text.text
    return f"**{escaped(text.text)}**" if strong else escaped(text.text)


def escaped(text: str) -> str:
    """Plain text as Markdown that shows it: nothing in it is markup, and it stays on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
