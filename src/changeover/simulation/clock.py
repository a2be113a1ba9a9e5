"""Time that passes only when somebody waits for it."""

import asyncio

EPOCH = 1_800_000_000.0
"""When a simulation begins unless told otherwise."""


class SimulatedClock:
    """A clock for any event loop that jumps: `sleep` returns at once, and the time has passed, for everybody."""

    def __init__(self, now: float = EPOCH) -> None:
        self._now = now

    def now(self) -> float:
        """Seconds since the epoch, in the simulation."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and others have their turn."""
        self._now += max(seconds, 0.0)
        await asyncio.sleep(0)


class LoopClock:
    """The clock of a `SimulatedLoop`: those who wait at once wait side by side.

    Nobody sleeps for less than `grain` seconds: who asks again and again asks less often, which makes a long
    wait cheap and what is seen at its end late by as much.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, grain: float = 0.0) -> None:
        self._loop = loop
        self._grain = grain

    def now(self) -> float:
        """Seconds since the epoch, in the simulation."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Return once the simulated time has passed."""
        await asyncio.sleep(max(seconds, self._grain) if seconds > 0 else 0)
