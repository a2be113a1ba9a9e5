"""A terminal for every test."""

from pathlib import Path

import pytest

from tests.terminalkit import Terminal, a_terminal


@pytest.fixture
def changeover(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Terminal:
    """Runs commands against a site in memory."""
    return a_terminal(monkeypatch, capsys, tmp_path)
