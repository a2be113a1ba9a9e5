"""Waiting for a moment, as for the opening of a window."""

import msgspec

from changeover.actions import ACTIONS, Context
from changeover.model.plan import Facts, Operation
from changeover.model.release import Window
from changeover.model.values import Presence
from changeover.simulation import LoopClock, run
from changeover.strategies import STRATEGIES
from tests.enginekit import a_world
from tests.sites import a_release, a_site

OPENS = 1_900_000_000.0
WAIT = Operation("time.wait", "window", {"until": OPENS})


def in_time(clock: LoopClock) -> Context:
    """A context with that clock, in a window of California."""
    release = a_release(window=Window(OPENS, OPENS + 60, zone="America/Los_Angeles"))
    plan = STRATEGIES["rolling"](a_site(), msgspec.structs.replace(release, strategy="rolling"), Facts())
    return Context(a_world(clock), plan, "run", "window/wait", 1, clock.now(), 1e6)


def test_it_waits_for_the_moment_and_no_longer() -> None:
    """Told in the time zone of the window, and how long there is to go."""

    async def waits(clock: LoopClock) -> None:
        context, wait = in_time(clock), ACTIONS["time.wait"]
        seen = await wait.observe(WAIT, context)
        assert (seen.presence, seen.evidence) == (
            Presence.ABSENT,
            "2030-03-17 10:46 PDT is still 30.0 min away",
        )
        seen = await wait.perform(WAIT, context)  # type: ignore[assignment]
        assert (seen.presence, seen.evidence) == (Presence.DONE, "2030-03-17 10:46 PDT has come")
        assert clock.now() == OPENS

    run(waits, start=OPENS - 1800)


def test_a_moment_that_is_past_is_not_waited_for() -> None:
    """A conductor that comes late goes on at once."""

    async def waits(clock: LoopClock) -> None:
        await ACTIONS["time.wait"].perform(WAIT, in_time(clock))
        assert clock.now() == OPENS + 5

    run(waits, start=OPENS + 5)
