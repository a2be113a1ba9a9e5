"""Where a command's words go: answers to standard output, everything else to standard error."""

import codecs
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import msgspec
from rich.console import Console, RenderableType

from changeover.report import terminal
from changeover.report.document import Document, Text

WIDE = 100_000
"""Columns of what is no terminal: lines are as long as they are, for `grep` and files."""

PIPE_CLOSED = 141
"""128 + SIGPIPE: the exit code, in a shell, of every program whose reader has gone."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to us: rich would end the process, and with it a run."""
        raise BrokenPipeError


def reader_gone() -> int:
    """The exit code then; what is still to be written goes nowhere, so that the interpreter does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


_PLAIN = {"✓": "+", "✗": "x", "▸": ">", "·": ".", "→": "->", "…": ".."}


def spelled(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: our signs in an encoding that has none of them. `?` would say *waiting*."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def prepare_streams() -> None:
    """What is printed is never a reason to fail: not in an odd encoding, nor with a stream that is closed."""
    codecs.register_error("changeover", spelled)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 -- for the whole process
        elif mode == "w":
            stream.reconfigure(errors="changeover")


@dataclass(frozen=True)
class Output:
    """Prints documents for people, or JSON when `json`: one value, or a line for each item of a stream."""

    json: bool = False
    color: bool = True
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)

    @property
    def terminal(self) -> bool:
        """Whether a person watches standard output."""
        return self.out.isatty()

    @property
    def interactive(self) -> bool:
        """Whether somebody can be asked."""
        return self.terminal and sys.stdin.isatty()

    def console(self, stream: TextIO) -> Console:
        """A rich console for one of the streams, that takes nothing for markup."""
        return _Console(
            file=stream,
            no_color=True if not self.color else None,
            width=None if stream.isatty() else WIDE,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def answer(self, value: Any, document: Callable[[], Document | Text]) -> None:
        """Say one thing: as JSON, or as the document that is made only then."""
        if self.json:
            self.item(value)
            return
        said = document()
        self.print(terminal.render(said) if isinstance(said, Document) else terminal.styled(said), self.out)

    def last_words(self, value: Any, document: Callable[[], Document]) -> None:
        """Say what a run came to, for which nobody may be listening any more: the exit code is the run's all the same.

        Where standard output leads nowhere, a person is told on standard error.
        """
        try:
            self.answer(value, document)
        except OSError:
            reader_gone()
            if not self.json:
                with suppress(OSError):
                    self.print(terminal.render(document()), self.err)

    def item(self, value: Any) -> None:
        """One value as a line of JSON."""
        self.out.write(msgspec.json.encode(value).decode() + "\n")
        self.out.flush()

    def raw(self, content: bytes) -> None:
        """A whole document as it is."""
        self.out.write(content.decode())
        self.out.flush()

    def line(self, text: Text) -> None:
        """One line on standard output, never wrapped."""
        self.print(terminal.styled(text), self.out, soft_wrap=True)

    def note(self, text: Text | str) -> None:
        """One line for the person at the keyboard, on standard error."""
        said = terminal.styled(text if isinstance(text, Text) else Text(text))
        self.print(said, self.err, soft_wrap=True)

    def print(self, content: RenderableType, stream: TextIO, *, soft_wrap: bool = False) -> None:
        """Print with rich; what is no terminal gets no control sequence and no blank at a line's end."""
        console = self.console(stream)
        if stream.isatty():
            console.print(content, soft_wrap=soft_wrap)
            return
        with console.capture() as captured:
            console.print(content, soft_wrap=soft_wrap)
        stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
        stream.flush()
