"""Waiting for a moment."""

from typing import ClassVar

from changeover.actions.base import Context, Params
from changeover.model.moments import dated, local
from changeover.model.plan import Operation
from changeover.model.timetable import WAITS
from changeover.model.values import Observation, absent, done


class Moment(Params, frozen=True):
    """Until when, in seconds since the epoch."""

    until: float


class Wait:
    """Done when that moment has come. What interrupts it loses nothing: how long is left, the clock knows."""

    kind: ClassVar[str] = WAITS
    params: ClassVar[type[Params]] = Moment

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """By the conductor's own clock."""
        until, now = Moment.of(operation).until, context.world.clock.now()
        said = dated(until, _zone(context))
        if now < until:
            return absent(f"{said} is still {(until - now) / 60:.1f} min away")
        return done(f"{said} has come")

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Return when it has come, at once if it is past."""
        until, clock = Moment.of(operation).until, context.world.clock
        context.tell(f"until {local(until, _zone(context)):%H:%M %Z}")
        while (left := until - clock.now()) > 0:
            await clock.sleep(left)
        return await self.observe(operation, context)


def _zone(context: Context) -> str:
    window = context.plan.release.window
    return window.zone if window else ""
