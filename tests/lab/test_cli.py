"""What `changeover lab` tells its user."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from changeover.lab.cli import app
from changeover.lab.directory import Directory
from changeover.lab.layout import Layout


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Labs of these tests are in a directory of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("CHANGEOVER_LAB", raising=False)


@pytest.mark.parametrize(
    "command", [["status"], ["site"], ["ssh", "app1"], ["break", "app1", "power"], ["mend", "app1"]]
)
def test_a_lab_that_is_down_is_told_in_two_lines(command: list[str]) -> None:
    """Every command on a lab that is not there says so, and what to do."""
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert result.stderr == "error: no lab 'lab' is up\nhint: `changeover lab up` starts one\n"


def test_a_bad_name_is_refused() -> None:
    """A name that could leave the state's directory is no name."""
    result = CliRunner().invoke(app, ["up", "--name", "../etc", "--embedded"])
    assert result.exit_code == 1
    assert "is no name for a lab" in result.stderr


def test_down_twice_is_fine() -> None:
    """Taking down what is not up ends well."""
    result = CliRunner().invoke(app, ["down"])
    assert (result.exit_code, result.stderr) == (0, "lab lab was not up\n")


def test_a_site_holds_no_secret() -> None:
    """The description names the files of the passwords, never the passwords."""
    directory = Directory("lab")
    directory.create(Layout())
    result = CliRunner().invoke(app, ["site"])
    site = json.loads(result.stdout)
    assert site["database"]["password_file"] == str(directory.database_password)
    assert directory.database_password.read_text() not in result.stdout
    assert directory.sudo_password.read_text() not in result.stdout


@pytest.mark.parametrize(
    "command",
    [["status"], ["break", "app1", "power"], ["mend", "app1"], ["reset"]],
    ids=lambda command: command[0],
)
def test_a_lab_that_is_down_is_told_in_json(command: list[str]) -> None:
    """Programs get the same error on standard error, and no answer."""
    result = CliRunner().invoke(app, [*command, "--json"])
    assert (result.exit_code, result.stdout) == (1, "")
    said = json.loads(result.stderr)
    assert (said["message"], said["hint"]) == ("no lab 'lab' is up", "`changeover lab up` starts one")


def test_answers_in_json() -> None:
    """What is there, and what was done, as values on standard output."""
    Directory("a").create(Layout(name="a"))
    assert json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout) == ["a"]
    down = CliRunner().invoke(app, ["down", "--json"])
    assert (json.loads(down.stdout), down.stderr) == ({"lab": "lab", "was_up": False}, "")


def test_labs_are_listed_by_name() -> None:
    """One name a line."""
    for name in ("b", "a"):
        Directory(name).create(Layout(name=name))
    assert CliRunner().invoke(app, ["list"]).stdout == "a\nb\n"
