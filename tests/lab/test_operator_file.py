"""The file that an operator of the lab would write is one that Changeover reads."""

from pathlib import Path

import pytest

from changeover.lab import operations
from changeover.lab.apps import find_application
from changeover.lab.directory import Directory
from changeover.lab.layout import Form, Layout
from changeover.lab.operator_file import write_operator_file
from changeover.spec import load


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(("nodes", "floor"), [(1, 0), (2, 1), (4, 3)])
def test_all_nodes_but_one_keep_serving(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: Form, nodes: int, floor: int
) -> None:
    """It loads in both forms, and the only node of a lab is allowed to be away."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Directory("lab").create(Layout(nodes=nodes, form=form))
    spec = load(write_operator_file(operations.find("lab").site()))
    assert len(spec.site.application.nodes) == nodes
    assert spec.release.keep_serving == floor


def test_courier_is_flushed_and_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its file loads: a full stop of what the pack binds, with the installation's own files kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory = Directory("lab")
    directory.create(Layout(app="courier", nodes=3))
    site = operations.find("lab").site()
    assert directory.database_password.read_text() not in str(site)
    path = find_application("courier").write_operator_file(site)
    assert path is not None
    spec = load(path)
    assert spec.release.strategy == "full-stop"
    assert [it.to for it in spec.release.kept] == ["/var/lib/changeover/kept"]
    assert {"deployments", "flush_on", "watchdog_stop", "clean"} <= set(spec.site.application.capabilities)
