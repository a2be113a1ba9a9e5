"""The latest safe moment: until when a run may go on and still be back in time. Pure, from where the run stands."""

from collections.abc import Iterator

from changeover.engine.fold import RunStatus
from changeover.fallback import Reached, direction
from changeover.fallback.timing import lasts_back
from changeover.model.moments import told
from changeover.model.plan import Direction, Stage, Step
from changeover.model.release import Cause, Late
from changeover.model.states import SATISFIED
from changeover.model.values import Value


class Limit(Value, frozen=True):
    """When the run is late, and why: times in seconds since the epoch, durations in seconds.

    `at` is the latest safe moment, and `until` what it is reckoned from: `back`, the way back at worst, and `margin`
    earlier. People are warned `warn` before it. `late` is what becomes of the run then; `zone` is the time zone in
    which people are told, empty where nobody named one.
    """

    at: float
    until: float
    cause: Cause
    late: Late
    back: float = 0.0
    margin: float = 0.0
    warn: float = 0.0
    zone: str = ""

    @property
    def why(self) -> str:
        """In a sentence, for the journal and for people."""
        if self.cause is Cause.DEADLINE:
            return f"it is to be verified by {told(self.until, self.zone)}, as `upgrade.fallback.deadline` wants it"
        margin = f" and a margin of {_lasting(self.margin)}" if self.margin else ""
        return (
            f"the window closes {told(self.until, self.zone)}, and before that there must be time for the way back, "
            f"{_lasting(self.back)} at worst{margin}"
        )


def _lasting(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{round(seconds / 60, 1):g} min"  # noqa: PLR2004 - a minute


def latest(status: RunStatus, *, beginning: Step | None = None) -> Limit | None:
    """The earliest limit that governs the run now; None if none does.

    With `beginning`, as it will be once that step was begun: what is begun has to be taken back too. None does
    once the run goes back or has ended, and past the point of no return; and a limit that was reached does not any more:
    who then goes on has been asked.
    """
    if status.falling_back or status.ended:
        return None
    ahead = (limit for limit in _limits(status, beginning) if limit.cause not in status.late)
    return min(ahead, key=lambda limit: limit.at, default=None)


def _limits(status: RunStatus, beginning: Step | None) -> Iterator[Limit]:
    release = status.plan.release
    policy, window = release.fallback, release.window
    if policy.deadline and not _verified(status):
        until = status.created_at + policy.deadline
        yield Limit(until, until, Cause.DEADLINE, Late.FALL_BACK, zone=window.zone if window else "")
    if window and governed(status):
        reached = status.reached()
        if beginning:
            reached.setdefault(beginning.id, Reached(done=False))
        back = lasts_back(status.plan, reached)
        if back is not None:
            yield Limit(
                window.closes - back - window.margin,
                window.closes,
                Cause.WINDOW,
                window.late,
                back,
                window.margin,
                window.warn,
                window.zone,
            )


def governed(status: RunStatus) -> bool:
    """Whether the window still binds the run: while a stage without service is left or, where none is, up to verified."""
    without = [stage for stage in status.plan.stages if stage.outage]
    return any(_unfinished(status, stage) for stage in without) if without else not _verified(status)


def _verified(status: RunStatus) -> bool:
    """Whether what is left only goes forward: the upgrade was seen well."""
    left = next((stage for stage in status.plan.stages if _unfinished(status, stage)), None)
    return left is None or direction(left, status.plan) is Direction.FORWARD


def _unfinished(status: RunStatus, stage: Stage) -> bool:
    return any(status.steps[step.id].state not in SATISFIED for step in stage.steps)
