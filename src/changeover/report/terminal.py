"""A document on a terminal, or in a pipe: the same words, as wide as there is room."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text as Styled

from changeover.report.document import Code, Column, Document, Figure, Table, Text, Tone

STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.BAD: "bold red",
    Tone.DOUBT: "yellow",
    Tone.QUIET: "dim",
    Tone.STRONG: "bold",
}

_GAP = 2
_LEAST = 30
"""Columns that are left for the last column of a table before it moves under the row."""


def render(document: Document) -> RenderableType:
    """What rich prints."""
    return Group(*_parts(document))


def _parts(document: Document) -> Iterator[RenderableType]:
    if document.title:
        yield Styled(document.title, style="bold")
    if document.subtitle:
        yield Styled(document.subtitle)
    if document.figures:
        yield Padding(_figures(document.figures), (1, 0, 0, 0))
    for section in document.sections:
        if section.title:
            yield Styled(f"\n{section.title}", style="bold")
        for part in section.body:
            yield from _part(part)


def _part(part: Text | Table | Code) -> Iterator[RenderableType]:
    match part:
        case Table():
            yield _Fitting(part)
        case Code():
            if part.where:
                yield Padding(Styled(part.where, style="dim"), (0, 0, 0, 2))
            yield Padding(Styled(part.text), (0, 0, 0, 4))
        case Text():
            yield styled(part)


def styled(text: Text) -> Styled:
    """The text in its tone; nothing in it is taken for markup."""
    return Styled(text.text, style=STYLES[text.tone])


def _figures(figures: tuple[Figure, ...]) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column()
    for figure in figures:
        grid.add_row(Styled(figure.label), styled(figure.value), Styled(figure.note, style="dim"))
    return grid


class _Fitting:
    """A table; where its last column would be squeezed, what is in it stands under each row instead."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it as wide as there is room."""
        *columns, last = self._table.columns
        widths = [
            max(cell_len(text) for text in (column.title, *(row[number].text for row in self._table.rows)))
            for number, column in enumerate(columns)
        ]
        wanted = max((cell_len(row[-1].text) for row in self._table.rows), default=0)
        room = options.max_width - sum(widths) - _GAP * len(widths)
        if (
            last.whole
            or not all(column.whole or column.right for column in columns)
            or room >= min(wanted, _LEAST)
        ):
            yield _grid(self._table)
            return
        yield _line([Text(column.title, Tone.QUIET) for column in columns], columns, widths)
        for row in self._table.rows:
            yield _line(row[:-1], columns, widths)
            if row[-1].text:
                yield Padding(styled(row[-1]), (0, 0, 0, 4))


def _line(row: Sequence[Text], columns: Sequence[Column], widths: Sequence[int]) -> Styled:
    line = Styled()
    for text, column, width in zip(row, columns, widths, strict=True):
        cell = styled(text)
        cell.align("right" if column.right else "left", width)
        line.append_text(cell)
        line.append(" " * _GAP)
    line.rstrip()
    return line


def _grid(table: Table) -> Grid:
    headed = any(column.title for column in table.columns)
    grid = Grid(box=None, pad_edge=False, show_header=headed, header_style="dim", padding=(0, 2, 0, 0))
    for column in table.columns:
        grid.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=column.whole,
            overflow="fold",
            vertical="top",
        )
    for row in table.rows:
        grid.add_row(*(styled(cell) for cell in row))
    return grid
