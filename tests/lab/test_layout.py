"""What a lab consists of."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from changeover.lab import DatabaseKind, Form, LabError, Layout
from changeover.lab.layout import read_layout


def test_the_hosts_have_fixed_addresses() -> None:
    """A balancer, a database host and the nodes, each where the documentation says."""
    members = {member.name: member.address for member in Layout(nodes=2).members()}
    assert members == {"lb1": "10.77.0.11", "db1": "10.77.0.12", "app1": "10.77.0.21", "app2": "10.77.0.22"}


def test_embedded_labs_share_the_loopback() -> None:
    """Two embedded labs have different addresses, all of the loopback."""
    first, second = (Layout(name=name, form=Form.EMBEDDED).member("lb1").address for name in ("a", "b"))
    assert first != second
    assert first.startswith("127.")
    assert second.startswith("127.")


@pytest.mark.parametrize(
    "change", [{"name": "../x"}, {"name": ""}, {"nodes": 0}, {"nodes": 201}, {"release": "v9"}]
)
def test_an_impossible_layout_is_refused(change: dict[str, object]) -> None:
    """What cannot be built is refused before anything is."""
    with pytest.raises(LabError):
        replace(Layout(), **change)  # type: ignore[arg-type]


def test_an_unknown_host_is_refused_with_the_known() -> None:
    """The error for a mistyped host names the hosts there are."""
    with pytest.raises(LabError) as error:
        Layout(nodes=1).member("app2")
    assert error.value.hint == "one of lb1, db1, app1"


def test_a_layout_survives_its_file(tmp_path: Path) -> None:
    """What is read back equals what was written."""
    layout = Layout(name="x", database=DatabaseKind.MARIADB, form=Form.EMBEDDED, keep_balancer_state=False)
    layout.write(tmp_path / "lab.json")
    assert read_layout(tmp_path / "lab.json") == layout


def test_an_unknown_application_is_refused_with_the_known() -> None:
    """The error for a mistyped application names those there are."""
    with pytest.raises(LabError) as error:
        Layout(app="note")
    assert error.value.message == "there is no application 'note'"
    assert error.value.hint is not None
    assert "notes" in error.value.hint


def test_a_lab_of_before_there_were_several_is_one_of_notes(tmp_path: Path) -> None:
    """A layout stored without an application is read."""
    path = tmp_path / "lab.json"
    Layout().write(path)
    stored = json.loads(path.read_text())
    del stored["app"]
    path.write_text(json.dumps(stored))
    assert read_layout(path) == Layout()
