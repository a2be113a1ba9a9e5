"""A report in each of the forms that it can be written in."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec
from rich.console import Console

from changeover.report import markdown, terminal
from changeover.report.document import Document
from changeover.report.run import RunReport
from changeover.report.told import run_document

_WIDTH = 120
"""Columns of a report for the terminal that is written to a file."""


class Format(StrEnum):
    """How a report is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"


def rendered(report: RunReport, form: Format) -> str:
    """The report of a run as text."""
    return written(report, lambda: run_document(report), form)


def written(value: Any, document: Callable[[], Document], form: Format) -> str:
    """The value as text, ending in a newline. JSON is the value itself, with its format's number."""
    match form:
        case Format.JSON:
            return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
        case Format.MARKDOWN:
            return markdown.render(document())
        case Format.HTML:
            from changeover.report import html  # its templates are not for every command to load

            return html.render(document()) + "\n"
        case Format.TERMINAL:
            console = Console(width=_WIDTH, color_system=None, force_terminal=False)
            with console.capture() as captured:
                console.print(terminal.render(document()))
            return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
