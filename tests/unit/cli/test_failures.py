"""What an operator sees when something goes wrong."""

import io
import os
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest

from changeover.cli import failures
from changeover.cli.exits import Exit
from changeover.cli.failures import explain, without_secrets
from changeover.cli.output import Output
from changeover.cli.plans import save
from changeover.errors import FencedError, HostError, SpecError
from changeover.spec import reference, starter
from tests.terminalkit import Terminal


def said(error: BaseException, **options: bool) -> tuple[Exit, str]:
    """The exit code and the words for an error."""
    err = io.StringIO()
    code = explain(error, Output(err=err, out=io.StringIO(), json=options.get("json", False)), debug=False)
    return code, err.getvalue()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError("x", hint="do y"), Exit.BAD_INPUT),
        (FencedError("x", hint="do y"), Exit.FENCED),
        (HostError("x", hint="do y"), Exit.UNREACHABLE),
    ],
)
def test_an_error_is_said_with_its_hint(error: Exception, code: Exit) -> None:
    """A line for what happened, a line for what to do next, and the code of its kind."""
    assert said(error) == (code, "error: x\nhint: do y\n")


def test_an_error_is_json_where_json_is_asked_for() -> None:
    """The same as one JSON document."""
    code, text = said(SpecError("x", hint="do y"), json=True)
    assert msgspec.json.decode(text) == {
        "error": "SpecError",
        "message": "x",
        "hint": "do y",
        "problems": [],
        "exit": int(code),
    }


def test_a_fault_of_our_own_goes_to_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The traceback is in a file that only its owner can read, without secrets; the words name the file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("DB_PASSWORD", "correct-horse")
    code, text = said(ZeroDivisionError("correct-horse 1/0"))
    (crash,) = tmp_path.iterdir()
    assert code is Exit.TROUBLE
    assert str(crash) in text
    assert "Traceback" not in text
    assert crash.stat().st_mode & 0o077 == 0
    assert "ZeroDivisionError: *** 1/0" in crash.read_text()


def test_a_fault_that_cannot_be_kept_is_still_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written the hint says how to see it."""
    monkeypatch.setattr("tempfile.mkstemp", Mock(side_effect=OSError(30, "Read-only file system")))
    code, words = said(ZeroDivisionError("oops"))
    assert code is Exit.TROUBLE
    assert "could not be saved (Read-only file system); --debug shows it" in words


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """A pipe gets the bytes; behind a symbolic link the file changes, and the link stays."""
    reading, writing = os.pipe()
    save(Path(f"/dev/fd/{writing}"), b"saved")
    assert os.read(reading, 10) == b"saved"
    os.close(reading)
    os.close(writing)
    (tmp_path / "link").symlink_to("file")
    save(tmp_path / "link", b"saved")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"saved"


def test_a_traceback_is_shown_only_on_request(changeover: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --debug it comes before the words; without, never."""
    assert "Traceback" not in changeover("run", "missing.json").err
    assert "Traceback" in changeover("run", "missing.json", "--debug").err
    monkeypatch.setenv("CHANGEOVER_DEBUG", "1")
    assert "Traceback" in changeover("run", "missing.json").err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["plan", "--stepz"], "No such option: --stepz"),
        (["skip", "app1/start"], "Missing option '--reason'"),
        (["retry"], "Missing argument 'STEP'"),
        (["run", "missing.json"], "missing.json: cannot be read: No such file or directory"),
    ],
)
def test_bad_arguments_are_bad_input(changeover: Terminal, arguments: list[str], words: str) -> None:
    """Each ends with 2, says what is wrong and where help is."""
    ended = changeover(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert "\nhint: " in ended.err


def test_a_file_that_is_no_plan_is_bad_input(changeover: Terminal) -> None:
    """Anything else in it is refused by name, one of another format too."""
    Path("plan.json").write_text('{"site": 1}')
    assert changeover("run", "plan.json").err.startswith("error: plan.json: not a plan: ")
    changeover("plan", "-o", "plan.json")
    fresh = msgspec.json.decode(Path("plan.json").read_bytes())
    Path("plan.json").write_bytes(msgspec.json.encode({**fresh, "format": 99}))
    assert "a plan of format 99" in changeover("run", "plan.json").err


@pytest.mark.parametrize(("more", "text"), [((), starter()), (("--reference",), reference())])
def test_init_writes_what_was_asked(changeover: Terminal, more: tuple[str, ...], text: str) -> None:
    """What most sites need, or every key there is."""
    assert changeover("init", *more).code == 0
    assert Path("changeover.yaml").read_text() == text


def test_init_never_overwrites_unasked(changeover: Terminal) -> None:
    """The second time it is refused, until --force."""
    assert changeover("init").code == 0
    Path("changeover.yaml").write_text("mine")
    assert changeover("init").code == 4
    assert Path("changeover.yaml").read_text() == "mine"
    assert changeover("init", "--force").code == 0
    assert Path("changeover.yaml").read_text() != "mine"


def test_values_of_secret_variables_are_blotted_out() -> None:
    """By the name of the variable; short values are left, for they would tear holes into words."""
    environ = {"API_TOKEN": "abcdef", "PIN_KEY": "12", "HOME": "/home/ann"}
    assert without_secrets("abcdef 12 /home/ann", environ) == "*** 12 /home/ann"


def test_usage_errors_are_recognised() -> None:
    """The class that typer raises for wrong arguments is the one that is caught."""
    assert failures.USAGE_ERROR.__name__ == "UsageError"
