"""A document on a terminal, or in a pipe: the same words, as wide as there is room."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text as Styled

from changeover.report.document import Document, Figure, Table, Text, Tone

STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.BAD: "bold red",
    Tone.DOUBT: "yellow",
    Tone.QUIET: "dim",
    Tone.STRONG: "bold",
}


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
            yield _grid(part) if isinstance(part, Table) else styled(part)


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
