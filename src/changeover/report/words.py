"""Numbers and moments as people read them."""

from datetime import datetime

_MINUTE, _HOUR = 60, 3600


def seconds(value: float) -> str:
    """A duration: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if value < 10:  # noqa: PLR2004 -- one digit after the point is worth reading only below ten
        return f"{value:.1f} s"
    whole = round(value)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole // _MINUTE, "min", whole % _MINUTE, "s")
    minutes = round(value / _MINUTE)
    return _two(minutes // 60, "h", minutes % 60, "min")


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large} {unit} {small} {small_unit}" if small else f"{large} {unit}"


def moment(at: float) -> str:
    """A moment in seconds since the epoch, in local time with its offset: `2026-03-01 14:05:09 +01:00`."""
    local = datetime.fromtimestamp(at).astimezone()
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def clock(at: float) -> str:
    """The time of day of a moment, to the tenth of a second: `14:05:09.3`."""
    local = datetime.fromtimestamp(at).astimezone()
    return f"{local:%H:%M:%S}.{local.microsecond // 100_000}"


def listed(names: list[str], most: int = 4) -> str:
    """Names after one another, the rest counted: `app1, app2, app3, app4 and 12 more`."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
