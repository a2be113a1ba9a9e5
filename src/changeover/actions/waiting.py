"""Waiting for the world to say so, never for time alone."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from changeover.ports import Clock

T = TypeVar("T")

POLL_SECONDS = 0.1


async def until(look: Callable[[], Awaitable[T | None]], clock: Clock, every: float = POLL_SECONDS) -> T:
    """What `look` answers as soon as it is not None. It has no limit of its own: the step's timeout ends it."""
    while True:
        seen = await look()
        if seen is not None:
            return seen
        await clock.sleep(every)
