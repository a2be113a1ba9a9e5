"""Simulated time: it jumps, it is exact, and what can never happen is said."""

import asyncio
import time
from itertools import pairwise

import pytest

from changeover.simulation import EPOCH, DeadlockError, LoopClock, run


def test_a_year_passes_at_once() -> None:
    """Those who sleep side by side wake at their own times, in order."""
    woken: list[tuple[str, float]] = []

    async def nap(clock: LoopClock, name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now() - EPOCH))

    async def year(clock: LoopClock) -> float:
        await asyncio.gather(nap(clock, "year", 31_536_000), nap(clock, "day", 86_400), nap(clock, "now", 0))
        return clock.now()

    assert run(year) == EPOCH + 31_536_000
    assert woken == [("now", 0), ("day", 86_400), ("year", 31_536_000)]


def test_a_timeout_comes_on_simulated_time() -> None:
    """`asyncio.timeout` ends what would take longer, and lets pass what would not."""

    async def work(clock: LoopClock) -> float:
        async with asyncio.timeout(10):
            await asyncio.sleep(9.5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return clock.now()

    assert run(work) == EPOCH + 9.5 + 3600


def test_what_can_never_happen_is_an_error() -> None:
    """It names those who wait, and ends instead of hanging."""

    async def wait(_: LoopClock) -> None:
        task = asyncio.create_task(asyncio.Event().wait(), name="the one who waits")
        await task

    with pytest.raises(DeadlockError, match="the one who waits"):
        run(wait)


def test_threads_are_refused() -> None:
    """What depends on real time has no place in it."""

    async def thread(_: LoopClock) -> None:
        await asyncio.to_thread(time.sleep, 0)

    with pytest.raises(RuntimeError, match="no threads"):
        run(thread)


def test_a_small_step_is_never_lost_to_rounding() -> None:
    """Ten thousand sleeps of a microsecond and more end, each of them later than the one before."""

    async def count(clock: LoopClock) -> list[float]:
        seen = [clock.now()]
        for _ in range(10_000):
            await clock.sleep(0.000_002)
            seen.append(clock.now())
        return seen

    seen = run(count)
    assert all(a < b for a, b in pairwise(seen))


def test_a_grain_makes_a_poll_coarse_and_leaves_a_timeout_as_it_is() -> None:
    """Who sleeps for less sleeps for a grain; nothing else is delayed."""

    async def poll(clock: LoopClock) -> tuple[int, float]:
        polls = 0
        try:
            async with asyncio.timeout(10.25):
                while True:
                    await clock.sleep(0.02)
                    polls += 1
        except TimeoutError:
            return polls, clock.now() - EPOCH

    assert run(poll, grain=0.5) == (20, 10.25)


def test_an_error_leaves_as_it_is() -> None:
    """The result and the error of the work are those of `run`, and the next run is not affected."""

    async def fail(clock: LoopClock) -> None:
        await clock.sleep(1)
        raise LookupError("mine")

    async def well(clock: LoopClock) -> float:
        return clock.now()

    with pytest.raises(LookupError, match="mine"):
        run(fail)
    assert run(well, start=5.0) == 5.0
