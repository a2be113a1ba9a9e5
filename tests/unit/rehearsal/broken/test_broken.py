"""A rehearsal finds out what is broken, by the rule that was broken, and finds nothing where nothing is."""

from pathlib import Path

import pytest

from tests.unit.rehearsal.broken.actions import ACTIONS
from tests.unit.rehearsal.broken.breaking import Broken, of_broken, of_sound
from tests.unit.rehearsal.broken.closed import CLOSED
from tests.unit.rehearsal.broken.drivers import DRIVERS
from tests.unit.rehearsal.broken.engines import ENGINES
from tests.unit.rehearsal.broken.fallbacks import FALLBACKS
from tests.unit.rehearsal.broken.plans import PLANS

DOCUMENT = Path(__file__).parents[4] / "docs" / "rehearsal.md"

BROKEN = {**PLANS, **ACTIONS, **DRIVERS, **FALLBACKS, **ENGINES, **CLOSED}


@pytest.mark.parametrize("it", [pytest.param(it, id=name) for name, it in BROKEN.items()])
def test_what_is_broken_is_found(it: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """It breaks the rule that it should, in the way that it should; unbroken, the same case breaks none."""
    assert of_sound(it) == []
    for name, value in it.patches.items():
        monkeypatch.setattr(name, value)
    found = of_broken(it)
    assert any(one.rule == it.rule and it.says in one.what for one in found), found


def test_what_was_shown_to_be_caught_is_what_is() -> None:
    """The table in the documentation has these, by these rules, and no others."""
    section = DOCUMENT.read_text().partition("## What it was shown to catch")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows == [f"| {it.what} | {it.rule} |" for it in BROKEN.values()]
