"""Every command and every exit code is in the documentation, and every help shows an example."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from changeover import errors
from changeover.cli.exits import MEANING, Exit, of_error, of_run
from changeover.cli.main import app
from changeover.model.states import RunState
from tests.terminalkit import Terminal

PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
ROOT: Any = typer.main.get_command(app)
OURS = [name for name in ROOT.commands if name not in ("lab", "probe")]


def table(heading: str) -> dict[str, str]:
    """The rows of the table under a heading, by their first cell."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (\S+) \| (.+) \|$", section, re.MULTILINE)[1:])


PATHS = [f"`changeover {name}" for name in ROOT.commands]
PATHS += [f"`changeover probe {name}" for name in ROOT.commands["probe"].commands]


@pytest.mark.parametrize("command", PATHS)
def test_every_command_is_documented(command: str) -> None:
    """The page names it."""
    assert command in PAGE


def test_every_documented_command_exists() -> None:
    """The page names nothing that is not there."""
    assert set(re.findall(r"^\| `changeover (\w+)", PAGE, re.MULTILINE)) == set(ROOT.commands)


@pytest.mark.parametrize("option", ["--file", "--journal", "--json", "--no-color", "--debug"])
def test_every_command_has_the_common_options(option: str) -> None:
    """None lacks one of the options of every command, and the page explains it."""
    lacking = [name for name in OURS if not any(option in p.opts for p in ROOT.commands[name].params)]
    assert lacking == []
    assert f"`{option}`" in PAGE


@pytest.mark.parametrize("name", OURS)
def test_every_help_shows_an_example(name: str, changeover: Terminal) -> None:
    """The help ends in an example that runs that command."""
    ended = changeover(name, "--help")
    assert ended.code == 0
    assert f"Example: changeover {name}" in " ".join(ended.out.split())


def test_the_exit_codes_are_documented_word_for_word() -> None:
    """The page and the code have the same table, and no two codes share a meaning."""
    assert table("Exit codes") == {str(int(code)): meaning for code, meaning in MEANING.items()}
    assert set(MEANING) == set(Exit)
    assert len(set(MEANING.values())) == len(MEANING)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_an_exit_code_of_its_kind(name: str) -> None:
    """Only the journal, a ledger and the base class come to 1, which otherwise means a fault of our own."""
    code = of_error(getattr(errors, name)("x"))
    assert (code is Exit.TROUBLE) == (name in ("ChangeoverError", "JournalError", "LedgerError"))


@pytest.mark.parametrize(
    ("state", "finalize_left", "code"),
    [
        (RunState.DONE, False, Exit.DONE),
        (RunState.WAITING, True, Exit.DONE),
        (RunState.WAITING, False, Exit.STOPPED),
        (RunState.STOPPED, False, Exit.STOPPED),
        (RunState.PAUSED, False, Exit.STOPPED),
        (RunState.ABORTED, False, Exit.ABORTED),
    ],
)
def test_the_state_of_a_run_decides_its_exit_code(state: RunState, finalize_left: bool, code: Exit) -> None:
    """A run that only waits for finalize is done; every other rest needs a person."""
    assert of_run(state, finalize_left=finalize_left) is code
