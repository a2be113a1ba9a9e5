"""A window that keeps a whole directory, and edits a file in it."""

import pytest

from changeover.model.release import Kept, Property
from changeover.rehearsal import End, replay
from tests.unit.rehearsal.plans import a_window

PLAN = a_window(
    kept=(Kept(("/etc/app",), "/var/lib/kept"),),
    properties=(Property("/etc/app/app.properties", "auto.ddl", "true", "false"),),
)


@pytest.mark.parametrize(
    ("case", "end"),
    [
        ("nothing", End.DONE),
        ("app1/property:fails-before:abort", End.FELL_BACK),
        ("app1/keep:conductor-dies-effect-dies", End.DONE),
        ("app1/put-back:broken-off:retry", End.DONE),
    ],
)
def test_a_file_within_what_is_kept_is_edited_and_put_back(case: str, end: End) -> None:
    """The directory is there with that file, and is as it was wherever it must be."""
    again = replay(PLAN, case)
    assert (again.end, again.findings) == (end, ())
