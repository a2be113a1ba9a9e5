"""What only the journal in memory does: it is copied from its middle, and takes no time."""

import math

import pytest

from changeover.actions.base import Context
from changeover.engine.events import Claimed, CommandTaken, StepChanged, Verb
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.errors import FencedError, LockedError
from changeover.model.plan import Operation
from changeover.model.states import RunState, StepState
from changeover.simulation.clock import LoopClock
from changeover.simulation.loop import DeadlockError, run
from tests.enginekit import Scripted, a_gate, a_plan, a_step, a_world, answer, begin, conduct, tell

S, R = StepState, RunState
PLAN = a_plan([a_step("x")], [a_step("y")])


async def finished(journal: MemoryJournal) -> str:
    """A run that was conducted to its end."""
    name = await begin(journal, PLAN)
    await tell(journal, name, Verb.SKIP, "x", "not needed")
    assert (await conduct(journal, name, Scripted())).state is R.DONE
    return name


def test_a_run_is_conducted_again_from_each_of_its_events() -> None:
    """The copy stands where the run stood, nobody conducts it, and the original is left as it is."""

    async def everywhere(clock: LoopClock) -> None:
        journal = MemoryJournal(clock.now)
        name = await finished(journal)
        events = await journal.events(name)
        for seq in range(1, len(events) + 1):
            copy = journal.beginning(name, seq, clock.now)
            assert await copy.events(name) == events[:seq]
            record = await copy.run(name)
            assert (record.conducted, record.state) == (False, (await copy.status(name)).state)
            if record.ended_at is None:
                status = await conduct(copy, name, Scripted())
                assert status.state is R.DONE
                assert status.epoch == 1 + sum(isinstance(event, Claimed) for event in events[:seq])
        assert await journal.events(name) == events

    run(everywhere)


def test_a_beginning_knows_the_commands_that_were_taken_by_then() -> None:
    """What was sent later is not in it; numbers are not given twice."""

    async def both(clock: LoopClock) -> None:
        journal = MemoryJournal(clock.now)
        name = await finished(journal)
        events = await journal.events(name)
        taken = next(event for event in events if isinstance(event, CommandTaken))
        after = journal.beginning(name, taken.seq, clock.now)
        assert await answer(after, taken.command) == await answer(journal, taken.command)
        assert (await answer(after, taken.command))[0] == "taken"
        before = journal.beginning(name, taken.seq - 1, clock.now)
        assert await before.pending_commands(name) == []
        assert await tell(before, name, Verb.PAUSE) == taken.command + 1

    run(both)


def test_nobody_waits_in_real_time_for_a_lease() -> None:
    """It ends by the clock that was passed in; until then it is respected."""

    async def later(clock: LoopClock) -> None:
        journal = MemoryJournal(clock.now)
        name = await begin(journal, PLAN)
        lost = await journal.claim(name, Owner.current(), clock.now(), seconds=600)
        await clock.sleep(599)
        with pytest.raises(LockedError):
            await journal.claim(name, Owner.current(), clock.now())
        await clock.sleep(1)
        assert (await conduct(journal, name, Scripted())).epoch == 2
        with pytest.raises(FencedError):
            await journal.renew(lost)

    run(later)


def test_a_day_of_waiting_costs_nothing_but_its_renewals() -> None:
    """The step ends in its own time, and the lease was kept all the while."""

    class Slow(Scripted):
        async def perform(self, operation: Operation, context: Context) -> str:
            await context.world.clock.sleep(86_400)
            return await super().perform(operation, context)

    async def wait(clock: LoopClock) -> None:
        journal = MemoryJournal(clock.now)
        name = await begin(journal, a_plan([a_step("x", timeout=100_000)]))
        status = await Runner(journal, name, a_world(clock), {"scripted": Slow()}).run()
        assert status.state is R.DONE
        began, ended = (event.at for event in await journal.events(name) if isinstance(event, StepChanged))
        assert ended - began == pytest.approx(86_400)

    run(wait)


def test_a_run_that_waits_for_ever_is_found_out() -> None:
    """With a lease without end nothing is left that could happen."""

    async def wait(clock: LoopClock) -> None:
        journal = MemoryJournal(clock.now)
        name = await begin(journal, a_plan([a_gate("go")]))
        await Runner(journal, name, a_world(clock), {}, on_stop="wait", lease_seconds=math.inf).run()

    with pytest.raises(DeadlockError):
        run(wait)
