"""The window as moments, and the schedule within it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from zoneinfo import ZoneInfo

from changeover.model.release import Duty, Late, Person, Window
from changeover.spec.located import Text
from changeover.spec.problems import Problems
from changeover.spec.sections import timing as written
from changeover.spec.times import DAY, LocalTime, day, time_zone


def build_window(section: written.Window | None, problems: Problems) -> Window | None:
    """The model's window; None where there is none, or a mistake in it."""
    if section is None:
        return None
    zone = time_zone(section.zone)
    opens = _opens(section, zone, problems)
    closes = _closes(section, zone, opens, problems) if opens is not None else None
    if opens is None or closes is None:
        return None
    if closes <= opens:
        problems.add(section.where("closes"), "the window closes before it opens")
    elif section.margin >= closes - opens:
        problems.add(section.where("margin"), "nothing is left of the window but the margin")
    return Window(
        opens=opens,
        closes=closes,
        zone=str(section.zone),
        margin=section.margin,
        warn=section.warn,
        late=Late(section.late),
    )


def _opens(section: written.Window, zone: ZoneInfo, problems: Problems) -> float | None:
    time = LocalTime(section.opens)
    if (section.date is None) == (time.date is None):
        what = "give the day once: as `date: 2026-11-21`, or in `opens: 2026-11-21 22:00`"
        problems.add(section.where("date"), what)
        return None
    return _moment(time, time.date or day(section.date or ""), zone, section.opens, problems)


def _closes(section: written.Window, zone: ZoneInfo, opens: float, problems: Problems) -> float | None:
    """On the day of the opening, or on the next if that time of day is no later."""
    time, began = LocalTime(section.closes), datetime.fromtimestamp(opens, zone)
    later = time.time > began.time().replace(second=0)
    if time.offset and not later:
        with suppress(ValueError):  # where clocks go back it may be there a second time
            later = time.on(began.date(), zone) > opens
    return _moment(time, began.date() if later else began.date() + DAY, zone, section.closes, problems)


def _moment(time: LocalTime, date: date, zone: ZoneInfo, text: Text, problems: Problems) -> float | None:
    try:
        return time.on(date, zone)
    except ValueError as error:
        problems.add(text.place, str(error))
        return None


def build_people(section: Mapping[Text, Text]) -> tuple[Person, ...]:
    """Who takes part, in the order of the file."""
    return tuple(Person(str(name), str(contact)) for name, contact in section.items())


def check_people(names: Iterable[Text], people: Sequence[Person], problems: Problems) -> None:
    """Where people are listed, each is one of them."""
    known = [person.name for person in people]
    for name in names:
        if known and name not in known:
            problems.unknown(name.place, f"there is nobody called {name} in `people`", name, known)


def build_duties(
    section: written.Schedule,
    window: Window | None,
    people: Sequence[Person],
    problems: Problems,
    *,
    windowed: bool,
) -> Mapping[str, Duty]:
    """Stage or step → its duty. That there is such a stage or step is seen when the plan is made.

    `windowed`: a window is written, though it may hold a mistake. Then no time is told to lack one.
    """
    duties: dict[str, Duty] = {}
    for name, duty in section.items():
        if duty.owner is not None:
            check_people([duty.owner], people, problems)
        at = _planned(duty.at, window, problems) if duty.at is not None and (window or not windowed) else 0.0
        duties[str(name)] = Duty(str(duty.owner or ""), at or 0.0)
    return duties


def _planned(text: Text, window: Window | None, problems: Problems) -> float | None:
    """The moment of that name within the window or, if there is none, the last one before it opens."""
    time = LocalTime(text)
    if window is None:
        problems.add(text.place, "a time is told in the time zone of the `window`, and there is none")
        return None
    zone = ZoneInfo(window.zone)
    first = datetime.fromtimestamp(window.opens, zone).date()
    last = datetime.fromtimestamp(window.closes, zone).date()
    if time.date:
        return _moment(time, time.date, zone, text, problems)
    found: float | None = None
    wrong = ""
    for days in range(-1, (last - first).days + 1):
        try:
            at = time.on(first + days * DAY, zone)
        except ValueError as error:  # it matters unless a later day has such a time
            found, wrong = None, str(error)
            continue
        if window.opens <= at <= window.closes:
            return at
        if at < window.opens:
            found, wrong = at, ""
    if wrong:
        problems.add(text.place, wrong)
    return found
