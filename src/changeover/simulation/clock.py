"""Time that passes only when somebody waits for it."""

import asyncio


class SimulatedClock:
    """A clock that jumps: `sleep` returns at once, and the time has passed."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """Seconds since the epoch, in the simulation."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and others have their turn."""
        self._now += max(seconds, 0.0)
        await asyncio.sleep(0)
