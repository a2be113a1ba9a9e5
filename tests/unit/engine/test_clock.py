"""The latest safe moment: what it is, and what happens when it comes, whatever the reason for the delay."""

import asyncio
import heapq
from typing import Any

import msgspec
import pytest

from changeover.engine import clock
from changeover.engine.events import Created, Event, RunChanged, StepChanged, Verb, Warned
from changeover.engine.fold import RunStatus
from changeover.engine.records import Records
from changeover.model.plan import Direction, Operation, Plan, Stage, Step
from changeover.model.release import Cause, Fallback, Late, Window
from changeover.model.states import RunState, StepState
from tests.enginekit import PATIENCE, Scripted, a_gate, a_plan, a_step, begin, conduct, eventually, tell, told

S, R = StepState, RunState

CLOSES = 1_900_000_000.0
MINUTE = 60.0


class Hand:
    """A clock that a test turns; whoever sleeps wakes when it has been turned far enough."""

    def __init__(self, at: float) -> None:
        self._at = at
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """As far as it was turned."""
        return self._at

    async def sleep(self, seconds: float) -> None:
        """Until it was turned so far."""
        if seconds > 0:
            wakes = asyncio.get_running_loop().create_future()
            heapq.heappush(self._sleepers, (self._at + seconds, id(wakes), wakes))
            await wakes

    def first(self) -> float:
        """When the first of those who sleep wakes."""
        return min((at for at, _, wakes in self._sleepers if not wakes.done()), default=0.0)

    def turn(self, to: float) -> None:
        """Let time pass until then."""
        self._at = to
        while self._sleepers and self._sleepers[0][0] <= to:
            _, _, wakes = heapq.heappop(self._sleepers)
            if not wakes.done():
                wakes.set_result(None)


def there(name: str, back: float = 0.0, **more: Any) -> Step:
    """A step that takes so many seconds to be taken back."""
    undo = a_step(f"back/{name}", estimate=back / 2, at_worst=back)
    return a_step(name, undo=(undo,), **more)


def windowed(plan: Plan, *, late: Late = Late.FALL_BACK, **window: Any) -> Plan:
    """The plan, without service in every stage but finalize, to be done by `CLOSES`."""
    it = Window(**{"opens": CLOSES - 4 * 3600, "closes": CLOSES, "warn": 0.0, **window}, late=late)
    stages = tuple(msgspec.structs.replace(stage, outage=not stage.finalize) for stage in plan.stages)
    release = msgspec.structs.replace(plan.release, window=it)
    return msgspec.structs.replace(plan, stages=stages, release=release)


def done(*steps: str) -> list[Event]:
    """The events of a run in which these were done."""
    events: list[Event] = [Created(site="identity", plan="", actor="ops", reason="")]
    for step in steps:
        events += [StepChanged(step=step, state=S.RUNNING, attempt=1), StepChanged(step=step, state=S.DONE)]
    return events


def moment(plan: Plan, *events: Event, **more: Any) -> float | None:
    """How many minutes before the window closes the latest safe moment is; None if there is none."""
    limit = clock.latest(told(plan, events), **more)
    return (CLOSES - limit.at) / MINUTE if limit else None


# What it is

SLOW = windowed(
    a_plan(
        [there("a", 2 * MINUTE)],
        [there("b", 30 * MINUTE), there("c", 10 * MINUTE)],
        [there("d", 5 * MINUTE)],
        finalize=[a_gate("final")],
    ),
    margin=10 * MINUTE,
)


def test_it_leaves_time_for_the_way_back_at_worst_and_the_margin() -> None:
    """What was begun has to be taken back; what can go side by side takes no longer than the longest."""
    assert moment(SLOW, *done()) == 10
    assert moment(SLOW, *done("a")) == 12
    assert moment(SLOW, *done("a", "c")) == 22
    assert moment(SLOW, *done("a", "b", "c")) == 42
    assert moment(SLOW, *done("a", "b", "c", "d")) is None


def test_it_goes_by_the_limits_of_the_plan() -> None:
    """Two that take a place in the same limit are taken back one after the other."""
    undo = [a_step(f"back/{name}", estimate=10 * MINUTE, limits=("one",)) for name in "ab"]
    plan = a_plan([a_step("a", undo=(undo[0],)), a_step("b", undo=(undo[1],)), there("c")], limits={"one": 1})
    assert moment(windowed(plan), *done("a", "b")) == 20


def test_a_step_that_is_under_way_counts() -> None:
    """It may be half done, and has to be taken back as well."""
    under_way = StepChanged(step="b", state=S.RUNNING, attempt=1)
    assert moment(SLOW, *done("a"), under_way) == 42
    assert moment(SLOW, *done("a"), beginning=SLOW.stages[1].steps[0]) == 42


def test_it_governs_until_nobody_is_without_service() -> None:
    """Once the last stage without service is finished, the rest may take its time."""
    open_again = msgspec.structs.replace(
        SLOW, stages=(*SLOW.stages[:2], msgspec.structs.replace(SLOW.stages[2], outage=False), SLOW.stages[3])
    )
    assert moment(open_again, *done("a", "b")) == 42
    assert moment(open_again, *done("a", "b", "c")) is None


def test_a_plan_that_always_serves_is_governed_until_it_is_verified() -> None:
    """What is left then only gives up the way back."""
    plan = windowed(a_plan([there("a", MINUTE)], [there("b")], finalize=[a_gate("final")]))
    rolling = tuple(msgspec.structs.replace(stage, outage=False) for stage in plan.stages)
    plan = msgspec.structs.replace(plan, stages=rolling)
    assert moment(plan, *done("a")) == 1
    assert moment(plan, *done("a", "b")) is None


def test_past_the_point_of_no_return_there_is_none() -> None:
    """There is no way back to leave time for."""
    forward = msgspec.structs.replace(SLOW.stages[2], back=Direction.FORWARD)
    plan = msgspec.structs.replace(SLOW, stages=(*SLOW.stages[:2], forward, SLOW.stages[3]))
    assert moment(plan, *done("a", "b", "c")) == 42
    under_way = StepChanged(step="d", state=S.RUNNING, attempt=1)
    assert moment(plan, *done("a", "b", "c"), under_way) is None


def test_the_earlier_of_window_and_deadline_governs() -> None:
    """The deadline counts from the beginning of the run, and is told in the window's time zone."""
    late = Fallback(when=frozenset({Cause.DEADLINE}), deadline=60.0)
    plan = msgspec.structs.replace(SLOW, release=msgspec.structs.replace(SLOW.release, fallback=late))
    limit = clock.latest(told(plan, done()))
    assert limit
    assert (limit.at, limit.cause) == (61.0, Cause.DEADLINE)
    assert limit.why == "it is to be verified by 00:01 UTC, as `upgrade.fallback.deadline` wants it"


def test_who_goes_on_past_the_deadline_is_still_within_the_window() -> None:
    """Each limit is asked about once, and that of one is no answer to the other."""
    late = Fallback(when=frozenset({Cause.DEADLINE}), deadline=60.0)
    plan = msgspec.structs.replace(SLOW, release=msgspec.structs.replace(SLOW.release, fallback=late))
    past_deadline = [RunChanged(state=R.STOPPED, cause=Cause.DEADLINE), RunChanged(state=R.RUNNING)]
    assert moment(plan, *done("a"), *past_deadline) == moment(SLOW, *done("a"))
    past_both = [*past_deadline, RunChanged(state=R.STOPPED, cause=Cause.WINDOW)]
    assert moment(plan, *done("a"), *past_both) is None


def test_it_is_told_in_the_time_zone_of_the_window() -> None:
    """With the length of the way back, so that a person can follow the sum."""
    plan = windowed(a_plan([there("a", 90.0)]), zone="America/Los_Angeles", margin=600)
    plan = msgspec.structs.replace(
        plan, stages=(*plan.stages, Stage("more", "", (a_step("b"),), outage=True))
    )
    limit = clock.latest(told(plan, done("a")))
    assert limit
    assert limit.why == (
        "the window closes 10:46 PDT, and before that there must be time for the way back, 1.5 min at worst "
        "and a margin of 10 min"
    )


@pytest.mark.parametrize(
    ("back", "margin", "said"),
    [
        (10.0, 5.0, "10 s at worst and a margin of 5 s"),
        (7200.0, 60.0, "120 min at worst and a margin of 1 min"),
    ],
)
def test_what_is_short_is_told_in_seconds(back: float, margin: float, said: str) -> None:
    """A margin of ten seconds is not none."""
    limit = clock.Limit(
        at=0.0, until=0.0, cause=Cause.WINDOW, late=Late.ASK, back=back, margin=margin, zone="UTC"
    )
    assert limit.why.endswith(said)


# What happens when it comes


PLAN = windowed(
    a_plan([there("a", 5 * MINUTE)], [there("b", 10 * MINUTE)], [a_gate("go"), there("c", needs=("go",))])
)
AT = CLOSES - 15 * MINUTE
"""The latest safe moment once `b` was begun."""


async def state(journal: Records, run: str) -> RunState:
    """Where the run stands in the journal."""
    return (await journal.status(run)).state


async def of_step(journal: Records, run: str, step: str) -> StepState:
    """Where the step stands in the journal."""
    return (await journal.status(run)).state_of(step)


async def went_back(journal: Records, run: str) -> RunStatus:
    """The status of a run that has gone back."""
    status = await journal.status(run)
    assert status.state is R.FELL_BACK
    return status


async def test_a_slow_step_is_broken_off_and_taken_back(journal: Records) -> None:
    """It is recorded as failed, and why; nobody has to say anything."""
    run = await begin(journal, PLAN)
    site, hand = Scripted(b="hang"), Hand(AT - 1)
    conducting = asyncio.create_task(conduct(journal, run, site, clock=hand, on_stop="wait"))
    await eventually(lambda: of_step(journal, run, "b"), S.RUNNING)
    while "b" not in site.performed:
        await asyncio.sleep(0)
    assert not conducting.done()
    hand.turn(AT)
    status = await conducting
    assert status.state is R.FELL_BACK
    assert site.broken_off == ["b"]
    assert site.performed == ["a", "b", "back/b", "back/a"]
    failed = [it for it in await journal.events(run) if isinstance(it, StepChanged) and it.state is S.FAILED]
    assert [(it.step, it.error) for it in failed] == [("b", "BrokenOffError")]
    assert failed[0].evidence.startswith("the latest safe moment has come: the window closes 17:46 UTC")


async def test_the_moment_comes_earlier_as_soon_as_a_step_begins(journal: Records) -> None:
    """Though nothing else happens until it comes: the only step under way is slow from the start."""
    run = await begin(journal, windowed(a_plan([there("b", 10 * MINUTE)], [there("c")])))
    site, hand = Scripted(b="hang"), Hand(CLOSES - 11 * MINUTE)
    conducting = asyncio.create_task(conduct(journal, run, site, clock=hand, on_stop="wait"))
    while "b" not in site.performed:
        await asyncio.sleep(0.001)
    await eventually(lambda: _asleep(hand), CLOSES - 10 * MINUTE)
    hand.turn(CLOSES - 10 * MINUTE)
    assert (await conducting).state is R.FELL_BACK
    assert site.broken_off == ["b"]


async def _asleep(hand: Hand) -> float:
    """Until when whoever wakes first sleeps."""
    return hand.first()


async def test_what_turns_out_done_when_it_is_broken_off_is_done(journal: Records) -> None:
    """The effect was there, only the answer did not come."""
    run = await begin(journal, PLAN)
    site, hand = Scripted(b="late"), Hand(AT - 1)
    conducting = asyncio.create_task(conduct(journal, run, site, clock=hand))
    await eventually(lambda: of_step(journal, run, "b"), S.RUNNING)
    while "b" not in site.performed:
        await asyncio.sleep(0)
    hand.turn(AT)
    await conducting
    assert (await went_back(journal, run)).state_of("b") is S.DONE


async def test_a_person_who_does_not_answer_is_not_waited_for(journal: Records) -> None:
    """The gate stays unanswered, and the run goes back in time."""
    run = await begin(journal, PLAN)
    hand = Hand(AT - 60)
    conducting = asyncio.create_task(conduct(journal, run, site := Scripted(), clock=hand, on_stop="wait"))
    await eventually(lambda: state(journal, run), R.WAITING)
    hand.turn(AT)
    assert (await conducting).state is R.FELL_BACK
    assert site.performed == ["a", "b", "back/b", "back/a"]


async def test_nobody_who_mends_what_failed_is_waited_for(journal: Records) -> None:
    """A run that was stopped for another reason goes back all the same."""
    run = await begin(journal, PLAN)
    hand = Hand(AT - 60)
    conducting = asyncio.create_task(conduct(journal, run, Scripted(b="half"), clock=hand, on_stop="wait"))
    await eventually(lambda: state(journal, run), R.STOPPED)
    hand.turn(AT)
    assert (await conducting).state is R.FELL_BACK


async def test_a_run_that_is_paused_goes_back_in_time(journal: Records) -> None:
    """Who paused it may have forgotten it."""
    run = await begin(journal, PLAN)
    hand = Hand(AT - 60)
    conducting = asyncio.create_task(conduct(journal, run, Scripted(), clock=hand, on_stop="wait"))
    await eventually(lambda: state(journal, run), R.WAITING)
    await tell(journal, run, Verb.PAUSE)
    await eventually(lambda: state(journal, run), R.PAUSED)
    hand.turn(AT)
    assert (await conducting).state is R.FELL_BACK


@pytest.mark.parametrize("b", ["hang", "late"])
async def test_a_conductor_that_was_down_across_the_moment_goes_back_when_it_is_resumed(
    journal: Records, b: str
) -> None:
    """Whatever became of the step that was in flight when it died."""
    run = await begin(journal, PLAN)
    site = Scripted(b=b)
    dying = asyncio.create_task(conduct(journal, run, site, clock=Hand(AT - 600)))
    await eventually(lambda: of_step(journal, run, "b"), S.RUNNING)
    while "b" not in site.performed:
        await asyncio.sleep(0)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    status = await conduct(journal, run, site, clock=Hand(AT + 3600))
    assert status.state is R.FELL_BACK
    assert site.performed == ["a", "b", "back/b", "back/a"]


async def test_a_way_back_that_a_conductor_left_is_taken_up_after_the_moment(journal: Records) -> None:
    """Once begun, the clock has nothing more to say."""
    run = await begin(journal, PLAN)
    site = Scripted(back__b="hang")
    dying = asyncio.create_task(conduct(journal, run, site, clock=Hand(AT - 60), on_stop="wait"))
    await eventually(lambda: state(journal, run), R.WAITING)
    await tell(journal, run, Verb.ABORT, reason="enough")
    while "back/b" not in site.performed:
        await asyncio.sleep(0.001)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert (await conduct(journal, run, site, clock=Hand(CLOSES + 60))).state is R.FELL_BACK


async def test_a_step_that_could_not_be_taken_back_in_time_is_not_begun(journal: Records) -> None:
    """It is not late yet, but would be as soon as the step begins."""
    run = await begin(journal, PLAN)
    status = await conduct(journal, run, site := Scripted(), clock=Hand(AT))
    assert status.state is R.FELL_BACK
    assert site.performed == ["a", "back/a"]
    stopped = [it.reason for it in await journal.events(run) if isinstance(it, RunChanged)]
    assert stopped[0].startswith("the latest safe moment has come before b could begin: the window closes")


async def test_where_a_person_is_to_be_asked_the_run_stops_once(journal: Records) -> None:
    """What was in flight is broken off; who then goes on is not stopped for that again."""
    plan = windowed(PLAN, late=Late.ASK)
    run = await begin(journal, plan)
    site, hand = Scripted(b="hang"), Hand(AT - 1)
    conducting = asyncio.create_task(conduct(journal, run, site, clock=hand))
    await eventually(lambda: of_step(journal, run, "b"), S.RUNNING)
    while "b" not in site.performed:
        await asyncio.sleep(0)
    hand.turn(AT)
    status = await conducting
    assert (status.state, status.cause) == (R.STOPPED, Cause.WINDOW)
    assert status.state_of("b") is S.FAILED
    await tell(journal, run, Verb.RETRY, "b")
    assert (await conduct(journal, run, site, clock=Hand(CLOSES))).state is R.WAITING


async def test_an_abort_does_not_wait_for_a_slow_step_past_the_moment(journal: Records) -> None:
    """What is in flight may finish only for as long as there is time."""
    run = await begin(journal, PLAN)
    site, hand = Scripted(b="hang"), Hand(AT - 1)
    conducting = asyncio.create_task(conduct(journal, run, site, clock=hand))
    await eventually(lambda: of_step(journal, run, "b"), S.RUNNING)
    await tell(journal, run, Verb.ABORT, reason="enough")
    await eventually(lambda: _aborting(journal, run), expected=True)
    hand.turn(AT)
    assert (await conducting).state is R.FELL_BACK


async def _aborting(journal: Records, run: str) -> bool:
    return bool((await journal.status(run)).aborting)


async def test_a_stage_that_asks_is_not_taken_back_without_a_person(journal: Records) -> None:
    """The run stops; the window says fall-back, but the stage says that a person decides."""
    stages = (*PLAN.stages[:2], msgspec.structs.replace(PLAN.stages[2], back=Direction.ASK))
    run = await begin(journal, msgspec.structs.replace(PLAN, stages=stages))
    hand = Hand(AT - 60)
    conducting = asyncio.create_task(conduct(journal, run, Scripted(), clock=hand, on_stop="wait"))
    await eventually(lambda: state(journal, run), R.WAITING)
    hand.turn(AT)
    await eventually(lambda: state(journal, run), R.STOPPED)
    conducting.cancel()
    await asyncio.gather(conducting, return_exceptions=True)


async def test_an_unanswered_go_ahead_past_which_there_is_no_way_back_is_taken_for_a_no(
    journal: Records,
) -> None:
    """The gate waits in a stage that only goes forward, and nothing of that has begun."""
    stages = (*PLAN.stages[:2], msgspec.structs.replace(PLAN.stages[2], back=Direction.FORWARD))
    run = await begin(journal, msgspec.structs.replace(PLAN, stages=stages))
    status = await conduct(journal, run, Scripted(), clock=Hand(AT - 60))
    assert status.state is R.WAITING
    assert (await conduct(journal, run, Scripted(), clock=Hand(AT))).state is R.FELL_BACK


async def test_people_are_warned_ahead_and_once(journal: Records) -> None:
    """The warning is in the journal, and a conductor that takes over does not repeat it."""
    run = await begin(journal, windowed(PLAN, warn=5 * MINUTE))
    hand = Hand(AT - 6 * MINUTE)
    conducting = asyncio.create_task(conduct(journal, run, site := Scripted(), clock=hand, on_stop="wait"))
    await eventually(lambda: state(journal, run), R.WAITING)
    assert not (await journal.status(run)).warned
    hand.turn(AT - 5 * MINUTE)
    await eventually(lambda: _warned(journal, run), [AT])
    conducting.cancel()
    await asyncio.gather(conducting, return_exceptions=True)
    assert (await conduct(journal, run, site, clock=Hand(AT - 1))).state is R.WAITING
    assert await _warned(journal, run) == [AT]


async def _warned(journal: Records, run: str) -> list[float]:
    return [it.moment for it in await journal.events(run) if isinstance(it, Warned)]


async def test_a_wait_for_a_moment_holds_up_no_pause(journal: Records) -> None:
    """It is put off, and goes on from where the time is when the run is continued."""
    waits = a_step("open", do=Operation("time.wait", "open", {"until": CLOSES - 3600.0}), timeout=1e6)
    plan = windowed(a_plan([waits], [a_step("b")]))
    run = await begin(journal, plan)
    site = Scripted(open="hang")
    site.kind = "time.wait"  # type: ignore[misc]  # what it is called here
    conducting = asyncio.create_task(conduct(journal, run, site, clock=Hand(CLOSES - 7200)))
    await eventually(lambda: of_step(journal, run, "open"), S.RUNNING)
    await tell(journal, run, Verb.PAUSE)
    status = await conducting
    assert (status.state, status.state_of("open")) == (R.PAUSED, S.PENDING)
    await tell(journal, run, Verb.CONTINUE)
    async with asyncio.timeout(PATIENCE):
        status = await conduct(journal, run, site, Scripted(), clock=Hand(CLOSES - 3600))
    assert (status.state, status.steps["open"].attempt) == (R.DONE, 2)
