"""What the engine's page says of the journal."""

import re
from pathlib import Path
from typing import get_args

from changeover.engine.events import Event

PAGE = Path(__file__).parents[3] / "docs" / "engine.md"


def test_the_table_of_events_has_each_of_them() -> None:
    """By the name under which it is stored, and no other."""
    table = PAGE.read_text().partition("| event | says |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [
        kind.__struct_config__.tag for kind in get_args(Event)
    ]
