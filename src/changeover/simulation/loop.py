"""An event loop on simulated time: when nothing is ready, the time of the next timer has come."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from changeover.simulation.clock import EPOCH, LoopClock

T = TypeVar("T")

RESOLUTION = 1e-6
"""Seconds. A time since the epoch in a float is exact to a quarter of that."""


class DeadlockError(RuntimeError):
    """Every task waits, and there is no timer whose time could come."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """`time` is the simulated time, in seconds since the epoch. Nothing from outside ever wakes it.

    It is its own selector: the base class asks one to wait until something happens, and here nothing does, so
    the wait is over at once and the time has passed. There are no threads and no sockets.
    """

    def __init__(self, start: float = EPOCH) -> None:
        super().__init__()
        self._now = start
        self._clock_resolution = RESOLUTION
        self._selector = self

    def time(self) -> float:
        """The simulated time."""
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """Let so much time pass; `DeadlockError` if it would be for ever."""
        if timeout is None:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise DeadlockError(f"nothing is left that could happen; these wait: {', '.join(waiting)}")
        self._now += timeout
        return ()

    def _process_events(self, event_list: tuple[()]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def run_in_executor(self, _executor: object, func: object, *_: object) -> NoReturn:
        """Refused: with a thread, what happens would depend on real time."""
        raise RuntimeError(f"a simulation has no threads: {func}")


def run(
    work: Callable[[LoopClock], Coroutine[Any, Any, T]], *, start: float = EPOCH, grain: float = 0.0
) -> T:
    """What `work` returns, run to its end on simulated time that begins at `start`; it is given the clock of it.

    `grain`: as `LoopClock` has it.

    Raises:
        DeadlockError: it waits for what cannot happen.
    """
    loop = SimulatedLoop(start)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(LoopClock(loop, grain)))
