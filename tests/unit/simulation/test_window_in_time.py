"""A whole window on simulated time, with people who do not answer: it is over, and the site as it was, in time."""

import asyncio
from collections.abc import Sequence

import msgspec

from changeover.actions import ACTIONS
from changeover.engine.events import Event, FallbackBegun, RunChanged, Told, Verb, Warned
from changeover.engine.fold import RunStatus
from changeover.engine.guard import Guard
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.fallback.timing import refuse_late
from changeover.model.plan import BACK, Facts, Plan
from changeover.model.release import Cause, Late, Moment, Notice, Window
from changeover.model.states import RunState, StepState
from changeover.model.values import Secret
from changeover.rehearsal.starting import start
from changeover.simulation import EPOCH, LoopClock, SimulatedSite, differences, run
from changeover.strategies.window import window
from tests.windowkit import a_gated_site, a_windowed_release

OWNER = Owner.current()
HOUR, MINUTE = 3600.0, 60.0
CLOSES = EPOCH + 4 * HOUR
NIGHT = Window(EPOCH + HOUR, CLOSES, "UTC", margin=10 * MINUTE, warn=20 * MINUTE, late=Late.FALL_BACK)


def a_night(late: Late = Late.FALL_BACK) -> Plan:
    """The plan of a window of three hours, of which the operators are told."""
    release = msgspec.structs.replace(
        a_windowed_release(),
        window=msgspec.structs.replace(NIGHT, late=late),
        notices=(Notice("ops", Secret(env="OPS")),),
    )
    return window(a_gated_site(), release, Facts())


class Night:
    """A run of that plan, and the people who are asked: before the moment nobody answers, on the way back they do."""

    def __init__(self, clock: LoopClock, plan: Plan) -> None:
        self.clock = clock
        self.plan = plan
        self.site = start(plan, clock)
        self.before = self.site.state()
        self.journal = MemoryJournal(clock.now)
        self.events: list[Event] = []

    async def begin(self) -> None:
        """Create the run."""
        self.run = await self.journal.create_run(self.plan, actor="ann", reason="", owner=OWNER)

    async def conduct(self) -> RunStatus:
        """Until only a person can move it on."""
        guard = Guard(self.plan, self.site.world, self.run)
        runner = Runner(
            self.journal,
            self.run,
            self.site.world,
            ACTIONS,
            guard=guard,
            owner=OWNER,
            observer=self.events.append,
            on_stop="wait",
        )
        conducting = asyncio.create_task(runner.run())
        answered: set[str] = set()
        while not conducting.done():
            await self.clock.sleep(20)
            status = await self.journal.status(self.run)
            for step in status.plan.steps():
                waits = status.steps[step.id].state is StepState.WAITING
                if waits and step.id.startswith(BACK) and step.id not in answered:
                    answered.add(step.id)
                    who = step.who[0] if step.who else "ann"
                    await self.journal.command(self.run, Verb.APPROVE, actor=who, step=step.id)
            if self.stops(status):
                conducting.cancel()
                await asyncio.gather(conducting, return_exceptions=True)
                return status
        return await conducting

    def stops(self, _: RunStatus) -> bool:
        """Whether the conductor dies here."""
        return False

    def left(self) -> list[str]:
        """What differs from the site as it was, but for what is kept on purpose."""
        found = differences(self.before, self.site.state())
        return [it for it in found if not it.startswith(("databases.main.snapshots", "hosts."))]


def versions(site: SimulatedSite) -> set[str]:
    """What runs."""
    return {node.running for node in site.nodes.values()}


def at(events: Sequence[Event], kind: type[Event]) -> list[float]:
    """When events of that kind were recorded."""
    return [it.at for it in events if isinstance(it, kind)]


def test_a_sign_off_that_does_not_come_is_not_waited_for() -> None:
    """The way back begins at the latest safe moment, warned ahead, and has ended before the window closes."""

    async def night(clock: LoopClock) -> None:
        it = Night(clock, a_night())
        refuse_late(it.plan, clock.now())
        await it.begin()
        status = await it.conduct()
        assert status.state is RunState.FELL_BACK
        [warned] = [event for event in it.events if isinstance(event, Warned)]
        [back] = at(it.events, FallbackBegun)
        assert CLOSES - HOUR < back < CLOSES - NIGHT.margin
        assert abs(back - warned.moment) < MINUTE
        assert back - warned.at >= NIGHT.warn - MINUTE
        assert clock.now() < CLOSES
        assert versions(it.site) == {"v1"}
        assert it.left() == []
        told = [event.moment for event in it.events if isinstance(event, Told)]
        assert [moment for moment in told if moment is not Moment.WAITS] == [
            Moment.WINDOW_OPENS,
            Moment.LATEST_SAFE_MOMENT,
            Moment.STOPPED,
            Moment.FALLS_BACK,
            *([Moment.GO_NO_GO] * told.count(Moment.GO_NO_GO)),
            Moment.OPENED,
            Moment.ENDED,
        ]

    run(night, grain=0.5)


class Dying(Night):
    """The conductor dies when the testers are asked, and is not there again before the moment has passed."""

    dead = False

    def stops(self, status: RunStatus) -> bool:
        """When the testers are asked, once."""
        asked = any(
            status.steps[step.id].state is StepState.WAITING and step.who and not step.id.startswith(BACK)
            for step in status.plan.steps()
        )
        if asked and not self.dead:
            self.dead = True
            return True
        return False


def test_a_conductor_that_was_down_across_the_moment_begins_with_the_way_back() -> None:
    """It comes late, and the site is as it was all the same."""

    async def night(clock: LoopClock) -> None:
        it = Dying(clock, a_night())
        await it.begin()
        assert (await it.conduct()).state is not RunState.FELL_BACK
        await clock.sleep(CLOSES - 5 * MINUTE - clock.now())
        began = clock.now()
        assert (await it.conduct()).state is RunState.FELL_BACK
        [back] = at(it.events, FallbackBegun)
        assert back - began < MINUTE
        assert versions(it.site) == {"v1"}
        assert it.left() == []

    run(night, grain=0.5)


def test_where_people_are_to_be_asked_the_run_stops_at_the_moment() -> None:
    """Nothing is taken back before somebody says so."""

    class Asking(Night):
        def stops(self, status: RunStatus) -> bool:
            return status.cause is Cause.WINDOW

    async def night(clock: LoopClock) -> None:
        it = Asking(clock, a_night(Late.ASK))
        await it.begin()
        status = await it.conduct()
        assert status.state is RunState.STOPPED
        stopped = [event for event in it.events if isinstance(event, RunChanged)][-1]
        assert stopped.reason.startswith("the latest safe moment has come: the window closes")
        assert versions(it.site) == {"v2"}

    run(night, grain=0.5)
