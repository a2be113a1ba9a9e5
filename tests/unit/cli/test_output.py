"""What reaches the terminal, a pipe, and a pipe whose reader has gone."""

import io
import subprocess
import sys

import pytest

from changeover.cli.live import JsonLines, Lines
from changeover.cli.output import PIPE_CLOSED, Output
from changeover.engine.events import StepChanged
from changeover.engine.fold import RunStatus
from changeover.model.states import StepState
from changeover.report.document import Column, Document, Section, Table, Text, Tone, cells
from tests.enginekit import a_plan, a_step
from tests.terminalkit import Tty

LONG = "word " * 60
DOCUMENT = Document(
    "Title", sections=(Section("", (Table((Column("a"), Column("b")), (cells("1", LONG),)),)),)
)


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_pipe_gets_whole_lines_without_control_sequences() -> None:
    """However long, a row stays one line."""
    out = io.StringIO()
    Output(out=out).answer(None, lambda: DOCUMENT)
    assert out.getvalue() == f"Title\na  b\n1  {LONG.strip()}\n"


def test_a_terminal_gets_colours_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """By --no-color and by NO_COLOR alike."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    bad = Text("no", Tone.BAD)
    coloured, plain, asked = Tty(), Tty(), Tty()
    Output(out=coloured).line(bad)
    Output(out=plain, color=False).line(bad)
    monkeypatch.setenv("NO_COLOR", "1")
    Output(out=asked).line(bad)
    assert "\x1b[1;31m" in coloured.getvalue()
    assert "31m" not in plain.getvalue() + asked.getvalue()


def test_nothing_is_taken_for_markup() -> None:
    """Words of the world are printed as they are."""
    out = io.StringIO()
    Output(out=out).line(Text("[bold]x[/bold] :smile:"))
    assert out.getvalue() == "[bold]x[/bold] :smile:\n"


@pytest.mark.parametrize("kind", [Lines, JsonLines])
def test_a_reader_who_has_gone_does_not_disturb_the_run(kind: type[Lines]) -> None:
    """The events are still taken in."""
    status = RunStatus("r", a_plan([a_step("a")]))
    display = kind(status, Output(out=Closed(), err=io.StringIO()))
    display.see(StepChanged(seq=3, at=1.0, step="a", state=StepState.RUNNING, attempt=1))
    display.see(StepChanged(seq=4, at=2.0, step="a", state=StepState.DONE))
    assert status.steps["a"].state is StepState.DONE


def test_a_reader_who_has_gone_ends_a_command_quietly() -> None:
    """As `changeover schema | head -1` does: no word on standard error."""
    program = "from changeover.cli import main; main(['schema'])"
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.close()
    with writer.stderr as stream:
        assert stream.read() == b""
    assert writer.wait() == PIPE_CLOSED
