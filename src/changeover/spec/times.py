"""Local times as operators write them, and the moments that they name."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from changeover.spec.problems import nearest

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"(?:(\d{4}-\d\d-\d\d)[ T])?(\d{1,2}):(\d\d)(?: ?([+-]\d\d:\d\d))?", re.ASCII)

DAY = timedelta(days=1)


class LocalTime:
    """A time of day, with its date and its offset from UTC where they were written."""

    def __init__(self, text: str) -> None:
        found = _TIME.fullmatch(text.strip())
        if not found:
            raise ValueError("expected a local time such as 22:30, or 2026-11-21 22:30")
        self.text = text.strip()
        self.date = day(found[1]) if found[1] else None
        self.offset = found[4]
        try:
            self.time = time(int(found[2]), int(found[3]))
        except ValueError:
            raise ValueError("expected a time of day between 00:00 and 23:59") from None

    def on(self, date: date, zone: ZoneInfo) -> float:
        """The moment on that day, or on its own; `ValueError` with the choices if there is none, or if there are two."""
        local = datetime.combine(self.date or date, self.time)
        found = [it for it in _both(local, zone) if it.astimezone(UTC).astimezone(zone) == it]
        instants = {it.astimezone(UTC): it for it in found}
        what = f"{self.time:%H:%M} on {local:%Y-%m-%d} in {zone}"
        if self.offset:
            fitting = [it for it in instants.values() if _offset(it) == self.offset]
            if not fitting:
                offsets = " or ".join(_offset(it) for it in instants.values()) or "no offset at all"
                raise ValueError(f"{what} is not {self.offset} from UTC but {offsets}")
            return fitting[0].timestamp()
        if not found:
            early, late = sorted(it.astimezone(UTC).astimezone(zone) for it in _both(local, zone))
            raise ValueError(
                f"{what} does not exist, as clocks go forward there: choose {early:%H:%M} ({early:%Z}) or {late:%H:%M} ({late:%Z})"
            )
        if len(instants) > 1:
            choices = " or ".join(f"{it:%H:%M}{_offset(it)} ({it:%Z})" for it in instants.values())
            raise ValueError(f"{what} is there twice, as clocks go back: choose {choices}")
        return found[0].timestamp()


def _both(local: datetime, zone: ZoneInfo) -> list[datetime]:
    return [local.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]


def _offset(moment: datetime) -> str:
    text = moment.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def day(text: str) -> date:
    """The date of `2026-11-21`; `ValueError` for anything else."""
    if not _DATE.fullmatch(text.strip()):
        raise ValueError("expected a date such as 2026-11-21")
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("there is no such day: expected a date such as 2026-11-21") from None


def time_zone(name: str) -> ZoneInfo:
    """The IANA time zone; `ValueError` with the nearest name if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        meant = nearest(name, sorted(available_timezones()))
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(f"expected an IANA time zone such as Europe/Berlin or UTC{hint}") from None
