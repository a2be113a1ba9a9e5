"""Moments as people read them, in the time zone that they are told in."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def told(at: float, zone: str = "") -> str:
    """`23:12 PDT` for seconds since the epoch; in UTC if no time zone is named."""
    return f"{local(at, zone):%H:%M %Z}"


def dated(at: float, zone: str = "") -> str:
    """`2026-11-21 23:12 PDT`."""
    return f"{local(at, zone):%Y-%m-%d %H:%M %Z}"


def local(at: float, zone: str = "") -> datetime:
    """The moment in that IANA time zone."""
    return datetime.fromtimestamp(at, ZoneInfo(zone) if zone else UTC)
