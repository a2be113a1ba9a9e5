from pathlib import Path

import pytest
from typer.testing import CliRunner

from changeover.probe.cli import app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ftp://site/",), "ftp://site/: expected a URL such as https://www.example.org/"),
        (("site.example.org",), "site.example.org: expected a URL"),
        (("http://u:p@site/",), "the URL contains a user name or password"),
        (("http://site/", "--rate", "1000000"), "--rate 1e+06: expected more than 0 and at most 2000"),
        (("http://site/", "--for", "soon"), "soon: expected a duration such as 90s, 5m or 2h"),
        (("http://site/", "--writes", "5"), "--writes: only a profile can say what a write is"),
        (("http://site/", "--profile", "labb"), "labb: no such profile; did you mean 'lab'?"),
        (
            ("http://site/?a=1", "--profile", "lab"),
            "http://site/?a=1: with a profile the URL cannot have a query",
        ),
        (("show", "notes.yaml"), "notes.yaml:1: not a ledger of the probe"),
        (("show", "notes.yaml", "--from", "noon"), "noon: expected epoch seconds or a time such as"),
    ],
)
def test_bad_input_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    """What makes no sense is said plainly with exit code 2, before anything is sent or written."""
    monkeypatch.chdir(tmp_path)
    Path("notes.yaml").write_text("{}")
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.yaml"]


def test_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    """A ledger that cannot be read is trouble, not bad input."""
    result = CliRunner().invoke(app, ["show", str(tmp_path / "none")])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be read: No such file or directory" in result.stderr
