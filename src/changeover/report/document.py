"""A document to be read: written once, shown on a terminal, as Markdown or as HTML."""

from enum import StrEnum

from changeover.model.values import Value


class Tone(StrEnum):
    """How a text is meant; never the only thing that says so."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    DOUBT = "doubt"
    QUIET = "quiet"
    STRONG = "strong"


class Text(Value, frozen=True):
    """A piece of text, with its tone. It is data: no renderer finds markup in it."""

    text: str
    tone: Tone = Tone.PLAIN


class Figure(Value, frozen=True):
    """One of the few numbers that a document opens with."""

    label: str
    value: Text
    note: str = ""


class Column(Value, frozen=True):
    """A column of a table. `right` aligns numbers, `whole` keeps ids and times on one line."""

    title: str
    right: bool = False
    whole: bool = False


class Table(Value, frozen=True):
    """Rows under columns; every row has as many cells as there are columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Text, ...], ...]


class Code(Value, frozen=True):
    """What is typed as it stands, line by line; `where` says at which machine, or in which program."""

    text: str
    where: str = ""


class Section(Value, frozen=True):
    """A title, and what stands under it."""

    title: str
    body: tuple[Text | Table | Code, ...] = ()


class Document(Value, frozen=True):
    """A title with a line under it, the figures that matter most, and the sections."""

    title: str
    subtitle: str = ""
    figures: tuple[Figure, ...] = ()
    sections: tuple[Section, ...] = ()


def cells(*values: str | Text) -> tuple[Text, ...]:
    """A row of a table."""
    return tuple(value if isinstance(value, Text) else Text(value) for value in values)
