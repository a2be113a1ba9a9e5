"""The latest safe moment of a run, for people and as JSON."""

from collections.abc import Iterator

from changeover.engine import clock
from changeover.engine.fold import RunStatus
from changeover.model.moments import told
from changeover.model.release import Late
from changeover.model.values import Json
from changeover.report.document import Text, Tone
from changeover.report.words import seconds

_MINUTE = 60.0


def clock_words(status: RunStatus, now: float) -> Iterator[Text]:
    """`latest safe moment 11:12 PDT (in 23 min), then it falls back by itself`; on the way back when the window closes."""
    window = status.plan.release.window
    if window and status.falling_back and not status.ended and any(it.outage for it in status.plan.stages):
        tone = Tone.STRONG if now < window.closes else Tone.BAD
        yield Text(
            f"the window closes {told(window.closes, window.zone)} ({_away(window.closes - now)})", tone
        )
    limit = clock.latest(status)
    if limit is None:
        return
    then = "it falls back by itself" if limit.late is Late.FALL_BACK else "it stops and asks"
    near = now >= limit.at - limit.warn
    yield Text(
        f"latest safe moment {told(limit.at, limit.zone)} ({_away(limit.at - now)}), then {then}",
        Tone.BAD if now >= limit.at else Tone.DOUBT if near else Tone.STRONG,
    )


def clock_summary(status: RunStatus) -> Json:
    """The same as values: times in seconds since the epoch, durations in seconds; None where nothing limits the run."""
    limit = clock.latest(status)
    if limit is None:
        return None
    return {
        "at": limit.at,
        "until": limit.until,
        "way_back": limit.back,
        "margin": limit.margin,
        "late": limit.late,
        "cause": limit.cause,
        "zone": limit.zone,
    }


def untold(status: RunStatus) -> Iterator[str]:
    """Who could not be told of what, and why."""
    moments = {it.of: it.moment for it in status.occasions}
    for (notice, of), error in status.untold.items():
        yield f"{notice} could not be told of {moments.get(of, 'ended')}: {error}"


def _away(left: float) -> str:
    if left < 0:
        return f"{_about(-left)} ago"
    return f"in {_about(left)}"


def _about(left: float) -> str:
    """Seconds count only when there are few minutes left."""
    return seconds(left - left % _MINUTE if left >= 10 * _MINUTE else left)
