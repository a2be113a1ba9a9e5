"""Finding the value that was asked for in what a binding brought back."""

import json
import re

from changeover.model.values import Json
from changeover.ports import Result


def matched(pattern: str, text: str) -> str | None:
    """What group 1 of the pattern (or all of it) matches, stripped; without a pattern the whole text. None: nothing."""
    if not pattern:
        return text.strip()
    found = re.search(pattern, text)
    if found is None:
        return None
    return (found[1] if found.re.groups else found[0] or "").strip()


def at_path(path: str, text: str) -> str | None:
    """What the dotted path leads to in a JSON text (`versions.0.id`); None if nothing is there."""
    try:
        value: Json = json.loads(text)
    except ValueError:
        return None
    for part in path.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return None
    return value if isinstance(value, str) else json.dumps(value)


def said(result: Result) -> str:
    """What a command said of itself: the exit status, and its complaint or its output."""
    words = result.stderr.strip() or result.stdout.strip()
    return f"exit status {result.status}: {words}" if words else f"exit status {result.status}"
