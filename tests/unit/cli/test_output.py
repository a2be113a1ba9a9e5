"""What reaches the terminal, a pipe, and a pipe whose reader has gone."""

import asyncio
import codecs
import io
import os
import subprocess
import sys

import pytest

from changeover.cli import live
from changeover.cli.live import JsonLines, Lines
from changeover.cli.output import PIPE_CLOSED, Output, spelled
from changeover.engine.events import StepChanged
from changeover.engine.fold import RunStatus
from changeover.engine.memory import MemoryJournal
from changeover.model.states import StepState
from changeover.report.document import Column, Document, Section, Table, Text, Tone, cells
from tests.enginekit import PATIENCE, a_plan, a_step
from tests.terminalkit import Closed, Tty

LONG = "word " * 60
DOCUMENT = Document(
    "Title", sections=(Section("", (Table((Column("a"), Column("b")), (cells("1", LONG),)),)),)
)


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
    display = kind(status, Output(out=Closed(), err=io.StringIO()), MemoryJournal(float).notes)
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


def _changeover(redirected: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What the program comes to in a shell, with its streams as written there."""
    line = f'"{sys.executable}" -c "from changeover.cli import main; main()" {redirected}'
    # A shell line on purpose: only a shell closes streams and points them at devices.
    return subprocess.run(
        line, shell=True, capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )


def test_a_full_disk_is_said_and_is_no_fault_of_ours() -> None:
    """It ends with 1 and one line."""
    ended = _changeover("schema > /dev/full")
    assert (ended.returncode, ended.stderr) == (
        1,
        "error: the answer could not be written: No space left on device\n",
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_reason_to_fail(closed: str) -> None:
    """Started by something that closed them, it does its work and leaves no word about it."""
    ended = _changeover(f"schema {closed}")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "+ x ? ->"), ("utf-8", "✓ ✗ ? →")])
def test_signs_are_spelled_where_the_encoding_has_none(encoding: str, shown: str) -> None:
    """A question mark is our sign for waiting, and stands for nothing else."""
    codecs.register_error("changeover", spelled)
    assert "✓ ✗ ? →".encode(encoding, "changeover").decode(encoding) == shown
    assert "ж".encode("ascii", "changeover") == b"?"


async def test_in_a_pipe_too_what_is_in_flight_says_how_far_it_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line for each new word of a step that runs, and none for what was said before or is over."""
    monkeypatch.setattr(live, "NOTES_SECONDS", 0.0)
    said = [{"a": "12 left", "b": "over"}, {"a": "12 left"}, {"a": "3 left"}]
    out, asked = io.StringIO(), asyncio.Event()

    async def notes(_: str) -> dict[str, str]:
        if not said:
            asked.set()
            return {"a": "3 left"}
        return said.pop(0)

    display = Lines(RunStatus("r", a_plan([a_step("a"), a_step("b")])), Output(out=out), notes)
    display.see(StepChanged(seq=3, at=1.0, step="a", state=StepState.RUNNING, attempt=1))
    telling = asyncio.create_task(display.tell())
    async with asyncio.timeout(PATIENCE):
        await asked.wait()
    telling.cancel()
    lines = [line.split(maxsplit=2)[1:] for line in out.getvalue().splitlines()]
    assert lines[1:] == [["a", "12 left"], ["a", "3 left"]]
