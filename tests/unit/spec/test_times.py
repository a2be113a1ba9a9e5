"""The window and the schedule, as moments."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import SpecError
from changeover.model.release import Duty, Late, Person, Release, Window
from changeover.spec import load
from changeover.spec.times import LocalTime, day, time_zone
from tests.unit.spec.conftest import Written


def release(files: Written, **sections: str) -> Release:
    """The release of the file with these sections in it."""
    text = "".join(f"  {name}: {value}\n" for name, value in sections.items())
    files.change("  timeouts: {start: 2m}\n", text)
    return load(files.path, environ={}).release


def window(files: Written, text: str) -> Window:
    """The window of that text."""
    found = release(files, window=f"{{{text}}}").window
    assert found
    return found


def utc(at: float) -> str:
    """A moment as `2026-11-22 06:00`, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def test_a_window_may_pass_midnight(files: Written) -> None:
    """It closes at the first such time after it opens."""
    found = window(files, "date: 2026-11-21, opens: '22:00', closes: '03:30', zone: America/Los_Angeles")
    assert (utc(found.opens), utc(found.closes)) == ("2026-11-22 06:00", "2026-11-22 11:30")
    assert (found.margin, found.warn, found.late) == (300, 900, Late.ASK)


def test_a_window_is_as_long_as_its_night(files: Written) -> None:
    """In the night in which clocks go back there is an hour more between the same times."""
    found = window(files, "date: 2026-10-31, opens: '22:00', closes: '06:00', zone: America/Los_Angeles")
    assert found.closes - found.opens == 9 * 3600


def test_a_window_of_a_night_in_which_clocks_go_forward(files: Written) -> None:
    """There is an hour less."""
    found = window(
        files, "opens: 2027-03-13 22:00, closes: '06:00', zone: America/Los_Angeles, late: fall-back"
    )
    assert found.closes - found.opens == 7 * 3600
    assert found.late is Late.FALL_BACK


def test_a_time_that_is_there_twice_is_told_apart_by_its_offset(files: Written) -> None:
    """The choices that the refusal names are those that are taken."""
    found = window(
        files, "date: 2026-10-31, opens: '22:00', closes: '01:30-08:00', zone: America/Los_Angeles"
    )
    assert utc(found.closes) == "2026-11-01 09:30"


def test_a_window_may_close_in_the_second_of_two_hours_in_which_it_opened(files: Written) -> None:
    """The clock shows no later a time then; an offset that is not of that day means the next."""
    found = window(
        files,
        "opens: 2026-11-01 01:30-07:00, closes: '01:15-08:00', zone: America/Los_Angeles, margin: 1m",
    )
    assert found.closes - found.opens == 45 * 60
    night = window(files, "opens: 2026-11-21 22:00, closes: '03:30-08:00', zone: America/Los_Angeles")
    assert utc(night.closes) == "2026-11-22 11:30"


def test_a_window_may_last_for_days(files: Written) -> None:
    """Where the day is written with the time."""
    found = window(files, "opens: 2026-11-21 22:00, closes: 2026-11-23 05:00, zone: UTC")
    assert found.closes - found.opens == 31 * 3600


def test_a_schedule_is_told_within_the_window(files: Written) -> None:
    """Before midnight, after it, and ahead of the window; with its owner, who is one of the people."""
    found = release(
        files,
        window="{date: 2026-11-21, opens: '22:00', closes: '03:30', zone: UTC}",
        schedule="{canary: {owner: kim, at: '22:10'}, verify: {at: '01:15'}, install: {at: '17:00'}, expand: kim}",
        people="{kim: '+1 555 0100'}",
        channel="'#night'",
    )
    assert {name: (duty.owner, duty.at and utc(duty.at)) for name, duty in found.duties.items()} == {
        "canary": ("kim", "2026-11-21 22:10"),
        "verify": ("", "2026-11-22 01:15"),
        "install": ("", "2026-11-21 17:00"),
        "expand": ("kim", 0.0),
    }
    assert found.duties["expand"] == Duty("kim")
    assert (found.people, found.channel) == ((Person("kim", "+1 555 0100"),), "#night")


def test_a_scheduled_time_that_another_day_has_not_is_taken(files: Written) -> None:
    """In the night after the one in which clocks went forward; in that night itself it is refused."""
    sunday, monday = (
        f"{{opens: {day} 22:00, closes: '05:00', zone: America/Los_Angeles}}"
        for day in ("2027-03-13", "2027-03-14")
    )
    found = release(files, window=monday, schedule="{verify: {at: '02:30'}}")
    assert utc(found.duties["verify"].at) == "2027-03-15 09:30"
    with pytest.raises(SpecError, match="02:30 on 2027-03-14 in America/Los_Angeles does not exist"):
        release(files, window=sunday, schedule="{verify: {at: '02:30'}}")


ZONES = ("America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")


@given(
    zone=st.sampled_from(ZONES),
    at=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_every_moment_has_a_name_that_means_it(zone: str, at: datetime) -> None:
    """With its offset any minute can be written, in the hour that is there twice too; without, it is that or refused."""
    local = at.replace(second=0, microsecond=0).astimezone(ZoneInfo(zone))
    offset = local.strftime("%z")
    text = f"{local:%H:%M}{offset[:3]}:{offset[3:]}"
    assert LocalTime(text).on(local.date(), time_zone(zone)) == local.timestamp()
    plain = LocalTime(f"{local:%H:%M}")
    other = local.replace(fold=not local.fold)
    if other.utcoffset() == local.utcoffset():
        assert plain.on(local.date(), time_zone(zone)) == local.timestamp()
    else:
        with pytest.raises(
            ValueError, match=re.escape(f" is there twice, as clocks go back: choose {local:%H:%M}")
        ):
            plain.on(local.date(), time_zone(zone))


@pytest.mark.parametrize("name", ["America", "Mars/Olympus", "", "/etc/passwd", "../UTC", "PDT"])
def test_what_is_no_time_zone(name: str) -> None:
    """Neither a directory of them, nor an abbreviation, nor a path."""
    with pytest.raises(ValueError, match="expected an IANA time zone such as"):
        time_zone(name)


@pytest.mark.parametrize("text", ["2026-13-01", "26-11-21", "tomorrow", "2026-11-31"])
def test_what_is_no_day(text: str) -> None:
    """Refused with an example."""
    with pytest.raises(ValueError, match="2026-11-21"):
        day(text)
