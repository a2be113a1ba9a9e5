"""Who may append to a run: a lease with an epoch, on the journal's clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from changeover.engine.events import Claimed
from changeover.errors import FencedError

SECONDS = 15.0
"""How long a lease lasts by default; it is renewed every third of it."""

_SAFE = 0.9
"""The part of a lease that its owner uses: two clocks do not run alike."""

Clock = Callable[[], float]


def boottime() -> float:
    """Seconds that go on while the machine sleeps, and that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Lease:
    """The right to append to a run under one epoch, for `seconds` from each time that it is renewed.

    `asked` is when it was last asked for, by `clock`: that of its owner, not the journal's.
    """

    run: str
    epoch: int
    seconds: float
    asked: float
    claimed: Claimed
    clock: Clock = boottime

    def check(self) -> None:
        """Raise `FencedError` once it may have ended, without asking the journal."""
        if self.over:
            raise self.lost()

    @property
    def until(self) -> float:
        """When its owner stops relying on it."""
        return self.asked + self.seconds * _SAFE

    @property
    def over(self) -> bool:
        """Whether it may have ended, as far as its owner can tell alone."""
        return self.clock() >= self.until

    def lost(self) -> FencedError:
        """What to raise when it is no longer ours."""
        return FencedError(
            f"this conductor no longer owns run {self.run} (epoch {self.epoch})",
            hint=f"`changeover status {self.run}` says who does",
        )
