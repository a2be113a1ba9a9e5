"""Waiting for the world to say so, never for time alone."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from changeover.ports import Clock

T = TypeVar("T")

SHORTEST, LONGEST = 0.02, 1.0
"""Seconds between two looks."""

SHARE = 1 / 80
"""Between the two, the part of the time waited so far: what comes soon is seen soon, a long wait costs little."""


async def until(look: Callable[[], Awaitable[T | None]], clock: Clock, shortest: float = SHORTEST) -> T:
    """What `look` answers as soon as it is not None. It has no limit of its own: the step's timeout ends it."""
    began = clock.now()
    while True:
        seen = await look()
        if seen is not None:
            return seen
        await clock.sleep(min(max(shortest, (clock.now() - began) * SHARE), LONGEST))
