"""`changeover rehearse`: with a saved plan, without a site."""

from pathlib import Path

import msgspec
import pytest

from changeover.cli.plans import save_plan
from changeover.model.plan import Facts
from changeover.rehearsal import Finding, Rehearsal
from changeover.report.formats import Format, written
from changeover.report.rehearsal import rehearsal_document
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site
from tests.terminalkit import Terminal, a_terminal

pytestmark = pytest.mark.slow


@pytest.fixture
def changeover(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Terminal:
    """A terminal in a directory with a saved plan of two nodes; no file describes a site."""
    terminal = a_terminal(monkeypatch, capsys, tmp_path)
    save_plan(tmp_path / "plan.json", STRATEGIES["rolling"](a_site(2), a_release(keep_serving=1), Facts()))
    return terminal


def test_a_rehearsal_without_findings_ends_with_zero(changeover: Terminal) -> None:
    """It is one JSON document, of which nothing is left out."""
    ended = changeover("rehearse", "plan.json", "--pairs", "3", "--seed", "4", "--json")
    assert ended.code == 0, ended.out
    made = msgspec.convert(ended.json, Rehearsal)
    assert (made.findings, made.pairs, made.seed) == ((), 3, 4)
    assert made.way_back is not None
    assert "What a person is asked" in written(made, lambda: rehearsal_document(made), Format.HTML)


def test_a_finding_is_told_first_and_with_its_trace(changeover: Terminal) -> None:
    """Before the table, with the command that plays it again."""
    made = msgspec.convert(changeover("rehearse", "plan.json", "--pairs", "0", "--json").json, Rehearsal)
    found = Finding("app2/stop:hangs", "capacity floor", "1 of public are in rotation", 12.0, cases=3)
    bad = msgspec.structs.replace(made, findings=(found,))
    text = written(bad, lambda: rehearsal_document(bad), Format.MARKDOWN)
    assert text.index("Finding 1: capacity floor") < text.index("What came of each fault")
    assert "--replay 'app2/stop:hangs'" in text


def test_a_case_is_played_again(changeover: Terminal) -> None:
    """Its trace says what was struck, what was asked and what was answered."""
    ended = changeover("rehearse", "plan.json", "--replay", "app2/start:hangs:abort")
    assert ended.code == 0
    for said in ("struck: hangs at application.start of app2", "a person is asked:", "answered: abort"):
        assert said in ended.out


@pytest.mark.parametrize("case", ["app2/start", "app9/start:hangs", "app2/start:refused"])
def test_a_case_that_there_is_not_is_refused(changeover: Terminal, case: str) -> None:
    """With what there is instead; nothing ends in a traceback."""
    ended = changeover("rehearse", "plan.json", "--replay", case)
    assert ended.code == 4
    assert "app2/start" in ended.err or "app9/start" in ended.err
