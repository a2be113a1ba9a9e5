"""What the probe's commands take on the command line, read."""

import re
from datetime import UTC, datetime

from changeover.errors import SpecError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600}


def duration(text: str) -> float:
    """Seconds from `90`, `90s`, `1.5m` or `2h`."""
    if (match := _DURATION.fullmatch(text.strip())) is None:
        raise SpecError(f"{text}: expected a duration such as 90s, 5m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def moment(text: str) -> float:
    """Epoch seconds from a number or an ISO 8601 time, which is UTC unless it says otherwise."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError(f"{text}: expected epoch seconds or a time such as 2026-11-21T06:50:00Z") from error
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
