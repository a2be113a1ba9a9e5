"""The labs that cases are played on."""

from pathlib import Path

import pytest

from changeover.lab import LabError, Layout, find
from changeover.lab.directory import Directory
from changeover.labrehearsal.ground import Ground


def test_a_lab_of_another_application_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its faults and its state are unknown to a case: that is said before anything is touched."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Directory("other").create(Layout(name="other", app="courier"))
    with pytest.raises(LabError, match="lab other holds courier; cases are played where there are notes"):
        Ground(find("other"))
