"""One document in three forms; what the world said is never taken for markup."""

import io
import re

import pytest
from rich.console import Console

from changeover.report import html, markdown, terminal
from changeover.report.document import Column, Document, Figure, Section, Table, Text, Tone, cells
from changeover.report.formats import Format, rendered
from changeover.report.run import run_report
from changeover.report.told import run_document
from tests.unit.report.made import BEGAN, FINALIZED, PLAN, UPGRADED, a_ledger, history

HOSTILE = "<script>alert(1)</script> | `x` *y* [z](http://q)\nnext"
DOCUMENT = Document(
    "A & B",
    "sub",
    (Figure("lost", Text("0", Tone.GOOD), "of 10"),),
    (
        Section(
            "Part",
            (Text("said", Tone.BAD), Table((Column("k"), Column("n", right=True)), (cells(HOSTILE, "1"),))),
        ),
    ),
)


def on_terminal(document: Document, width: int) -> str:
    """The document as a terminal of that width shows it."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(terminal.render(document))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def test_markdown_shows_hostile_words_as_they_are() -> None:
    """Everything special is escaped, and a cell stays on one line."""
    assert markdown.render(DOCUMENT) == (
        "# A & B\n\nsub\n\n| | | |\n| --- | ---: | --- |\n| lost | **0** | of 10 |\n\n## Part\n\n**said**\n\n"
        "| k | n |\n| --- | ---: |\n"
        "| \\<script\\>alert(1)\\</script\\> \\| \\`x\\` \\*y\\* \\[z\\](http://q) next | 1 |\n"
    )


def test_html_escapes_and_loads_nothing() -> None:
    """No markup out of data, no script, no address of anything to load."""
    page = html.render(DOCUMENT)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "A &amp; B" in page
    assert re.findall(r"(?:src|href|url)\s*[=(]", page) == []
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize("width", [40, 80, 140])
def test_a_terminal_of_any_width_is_not_exceeded(width: int) -> None:
    """Long cells are folded."""
    report = run_report("r", PLAN, history(*FINALIZED), now=BEGAN, ledgers=[a_ledger(0, 20)])
    for document in (DOCUMENT, run_document(report)):
        assert max(map(len, on_terminal(document, width).splitlines())) <= width


def test_what_would_be_squeezed_stands_under_its_row() -> None:
    """In a narrow terminal the last column moves below; in a wide one it stays in its place."""
    columns = (Column("step", whole=True), Column("took", right=True, whole=True), Column("evidence"))
    table = Table(columns, (cells("application1/start", "1.0 s", "word " * 7), cells("b", "10 s", "")))
    document = Document("", sections=(Section("", (table,)),))
    assert on_terminal(document, 40) == (
        "step                 took\napplication1/start  1.0 s\n    word word word word word word word\n"
        "b                    10 s\n"
    )
    assert on_terminal(document, 80).splitlines()[1] == f"application1/start  1.0 s  {'word ' * 7}".rstrip()


def test_the_receipt_comes_first() -> None:
    """The five lines that everybody looks for, in their order."""
    ledger = a_ledger(-1, 20, failed=(6,))
    report = run_report("r", PLAN, history(*UPGRADED), now=BEGAN, ledgers=[ledger])
    assert on_terminal(run_document(report), 100).splitlines()[3:8] == [
        "requests failed              1  of 10 sent",
        "sessions cut                 0  of 0 opened",
        "acknowledged writes lost     0  of 9 acknowledged",
        "seconds without writing    1.0",
        "wall time                 10 s  from 2027-01-15 08:00:00 +00:00",
    ]


def test_a_starved_probe_is_told_of() -> None:
    """A probe that could not keep its own schedule is no ground for calm."""
    ledger = a_ledger(-1, 20, late=3.0)
    report = run_report("r", PLAN, history(*UPGRADED), now=BEGAN, ledgers=[ledger])
    shown = on_terminal(run_document(report), 120).splitlines()[3]
    assert shown.endswith("of 10 sent; the probe was up to 3.0 s behind its schedule")


def test_what_was_not_measured_is_said() -> None:
    """Without a ledger no figure is a number, and no promise kept."""
    report = run_report("r", PLAN, history(*UPGRADED), now=BEGAN)
    shown = on_terminal(run_document(report), 120)
    assert shown.splitlines()[3] == "requests failed           not measured  no ledger of a probe covers it"
    (stage,) = (line for line in shown.splitlines() if line.startswith("stage2"))
    assert stage.split() == ["stage2", "1/1", "3.0", "s", "1.0", "s", "?", "?", "?", "not", "measured"]


@pytest.mark.parametrize("form", list(Format))
def test_every_form_tells_the_same(form: Format) -> None:
    """Who, why, and what came of it are in each."""
    report = run_report("run-7", PLAN, history(*FINALIZED), now=BEGAN)
    text = rendered(report, form)
    assert text.endswith("\n")
    for words in ("run-7", "bob", "by hand", "CHG", "c is there"):
        assert words in text
