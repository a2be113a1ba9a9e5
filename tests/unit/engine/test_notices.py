"""What people are told of a run: at which moments, in which words, and that nobody who is deaf holds it up."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from changeover.engine.events import Event, RunChanged, Told, Verb, Warned
from changeover.engine.fold import RunStatus
from changeover.engine.notices import is_go, letting_in
from changeover.engine.records import Records
from changeover.engine.runner import Runner
from changeover.errors import NotifierError
from changeover.model.plan import Operation, Plan, Step
from changeover.model.release import Moment, Notice, Window
from changeover.model.states import RunState
from changeover.model.values import Secret
from changeover.ports import World
from tests.enginekit import PATIENCE, Scripted, a_gate, a_plan, a_step, a_world, begin, eventually, tell

R, M = RunState, Moment
OPENS = 1_800_000_000.0
"""When the clock of `a_world` begins."""


def acts(action: str, name: str, **params: Any) -> Step:
    """A step of that action, which does what is scripted."""
    return a_step(name, do=Operation(action, name, params))


PLAN = a_plan(
    [acts("time.wait", "open-window", until=OPENS)],
    [a_step("a", undo=(a_step("back/a"),))],
    [a_gate("sign-off", who=("anna", "lee"))],
    [a_gate("go")],
    [acts("access.open", "open")],
    finalize=[a_gate("final"), a_step("drop", needs=("final",))],
)


def telling(plan: Plan, *notices: Notice) -> Plan:
    """The plan, of which these are told."""
    release = msgspec.structs.replace(
        plan.release, notices=notices, window=Window(OPENS, OPENS + 7200, zone="Europe/Berlin")
    )
    return msgspec.structs.replace(plan, release=release)


OPS = Notice("ops", Secret(env="OPS"))


class Dawn:
    """A clock that stands at the opening of the window: a minute is over at once, an hour never."""

    def now(self) -> float:
        """The same, whenever it is asked."""
        return OPENS

    async def sleep(self, seconds: float) -> None:
        """Let others have their turn."""
        await (asyncio.sleep(0) if seconds <= 60 else asyncio.Event().wait())


class Ear:
    """A notifier that hears everything, unless it is `deaf`; `hold` keeps every message under way."""

    def __init__(self, name: str = "ops", *, deaf: int = 0) -> None:
        self.name = name
        self.heard: list[tuple[str, str]] = []
        self.deaf = deaf
        self.asked = 0
        self.hold: asyncio.Event | None = None

    async def send(self, title: str, text: str) -> None:
        """Hear it."""
        self.asked += 1
        if self.hold:
            await self.hold.wait()
        if self.deaf:
            self.deaf -= 1
            raise NotifierError("ops was not told: nobody listens at hunter2")
        self.heard.append((title, text))


async def conduct(journal: Records, run: str, site: Scripted, *ears: Ear, **more: Any) -> RunStatus:
    """Conduct it until it rests, telling these."""
    world = a_world(Dawn())
    world = World(
        world.hosts, {}, {}, world.application, world.clock, notifiers={ear.name: ear for ear in ears}
    )
    kinds = ("scripted", "time.wait", "access.open")
    runner = Runner(journal, run, world, dict.fromkeys(kinds, site), poll=0.01, **more)
    async with asyncio.timeout(PATIENCE):
        return await runner.run()


def titles(ear: Ear) -> list[str]:
    """What it heard, in a line each."""
    return [title for title, _ in ear.heard]


async def told(journal: Records, run: str) -> list[tuple[str, Moment, str]]:
    """What the journal says was told, or was not."""
    return [(it.notice, it.moment, it.error) for it in await journal.events(run) if isinstance(it, Told)]


async def test_people_are_told_at_each_moment(journal: Records) -> None:
    """From the opening of the window to the end; the last yes before the opening is a go/no-go."""
    run = await begin(journal, telling(PLAN, OPS))
    ear, site = Ear(), Scripted()
    for gate, who in (("sign-off", "anna"), ("go", "kim"), ("final", "kim")):
        assert (await conduct(journal, run, site, ear)).state is R.WAITING
        await tell(journal, run, Verb.APPROVE, gate, signed=who)
    assert (await conduct(journal, run, site, ear)).state is R.DONE
    assert titles(ear) == [
        "identity: the window has opened",
        "identity: waits for anna or lee: sign-off",
        "identity: waits for a person: go",
        "identity: is open again with v2",
        "identity: waits for a person: final",
        "identity: is upgraded to v2",
    ]
    assert [moment for _, moment, error in await told(journal, run) if not error] == [
        M.WINDOW_OPENS,
        M.WAITS,
        M.GO_NO_GO,
        M.OPENED,
        M.WAITS,
        M.ENDED,
    ]
    assert ear.heard[1][1] == (
        "sign-off\nchangeover approve sign-off, or: changeover refuse sign-off --reason …\n"
        f"Run {run}; changeover watch {run}"
    )
    assert ear.heard[0][1].startswith("It closes 11:00 CET.\n")


async def test_they_are_told_when_it_stops_goes_back_and_has_gone_back(journal: Records) -> None:
    """With the reason, each time."""
    run = await begin(journal, telling(PLAN, OPS))
    ear, site = Ear(), Scripted(a="half")
    assert (await conduct(journal, run, site, ear)).state is R.STOPPED
    await tell(journal, run, Verb.ABORT, reason="enough")
    assert (await conduct(journal, run, site, ear)).state is R.FELL_BACK
    assert [(title, text.splitlines()[0]) for title, text in ear.heard[1:3]] == [
        ("identity: has stopped for a person", "a failed: a did not come about"),
        ("identity: goes back to v1", "enough"),
    ]
    assert titles(ear)[3:] == ["identity: fell back to v1"]


async def test_they_are_told_of_what_they_asked_for(journal: Records) -> None:
    """Each of their own moments, through their own notifier."""
    lee = Notice("lee", Secret(env="LEE"), on=frozenset({M.GO_NO_GO, M.ENDED}))
    run = await begin(journal, telling(PLAN, OPS, lee))
    ears = Ear(), Ear("lee")
    await conduct(journal, run, Scripted(), *ears)
    await tell(journal, run, Verb.LEAVE, reason="another day")
    assert (await conduct(journal, run, Scripted(), *ears)).state is R.ABORTED
    assert titles(ears[1]) == ["identity: was left where it is: the run was ended"]
    assert len(titles(ears[0])) == 3


async def test_what_was_told_is_not_told_again(journal: Records) -> None:
    """Not by the next conductor, and not after a wait at the same gate."""
    run = await begin(journal, telling(PLAN, OPS))
    for _ in range(3):
        await conduct(journal, run, Scripted(), ear := Ear())
    assert not ear.heard
    assert len(await told(journal, run)) == 2


@pytest.mark.parametrize("dies", ["before it was sent", "before it was recorded"])
async def test_a_conductor_that_dies_leaves_it_to_the_next(journal: Records, dies: str) -> None:
    """It is told again rather than never."""
    run = await begin(journal, telling(PLAN, OPS))
    ear = Ear()
    ear.hold = asyncio.Event() if dies == "before it was sent" else None

    def died(where: str) -> None:
        if where == "appended" and ear.heard:
            raise ZeroDivisionError

    conducting = asyncio.create_task(conduct(journal, run, Scripted(), ear, on_stop="wait", fault=died))
    while not ear.asked:
        await asyncio.sleep(0.001)
    if ear.hold:
        conducting.cancel()
    await asyncio.gather(conducting, return_exceptions=True)
    assert not await told(journal, run)
    again = Ear()
    assert (await conduct(journal, run, Scripted(), again)).state is R.WAITING
    assert titles(again) == ["identity: the window has opened", "identity: waits for anna or lee: sign-off"]
    assert [moment for _, moment, _ in await told(journal, run)] == [M.WINDOW_OPENS, M.WAITS]


async def test_who_does_not_hear_at_first_is_told_again(journal: Records) -> None:
    """A few times, before that is recorded."""
    run = await begin(journal, telling(PLAN, OPS))
    await conduct(journal, run, Scripted(), ear := Ear(deaf=2))
    assert titles(ear)[0] == "identity: the window has opened"
    assert not any(error for _, _, error in await told(journal, run))


async def test_who_is_deaf_stops_nothing_and_is_tried_by_the_next_conductor(journal: Records) -> None:
    """The journal says why, without the secret that was in it, and the status until it succeeded."""
    run = await begin(journal, telling(PLAN, OPS))
    status = await conduct(
        journal, run, Scripted(), Ear(deaf=99), redact=lambda text: text.replace("hunter2", "***")
    )
    assert status.state is R.WAITING
    why = "ops was not told: nobody listens at ***"
    assert await told(journal, run) == [("ops", M.WINDOW_OPENS, why), ("ops", M.WAITS, why)]
    assert set(status.untold.values()) == {why}
    status = await conduct(journal, run, Scripted(), ear := Ear())
    assert len(ear.heard) == 2
    assert not status.untold


async def test_a_message_under_way_holds_up_no_step(journal: Records) -> None:
    """The run goes on to its next gate while the first message has not been taken."""
    run = await begin(journal, telling(PLAN, OPS))
    ear = Ear()
    ear.hold = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, site := Scripted(), ear, on_stop="wait"))
    await eventually(lambda: _state(journal, run), R.WAITING)
    assert site.performed == ["open-window", "a"]
    assert ear.asked == 1
    conducting.cancel()
    await asyncio.gather(conducting, return_exceptions=True)


async def _state(journal: Records, run: str) -> RunState:
    return (await journal.status(run)).state


async def test_without_notices_nothing_is_told(journal: Records) -> None:
    """And nothing is recorded of it."""
    run = await begin(journal, PLAN)
    await conduct(journal, run, Scripted(), ear := Ear())
    assert not ear.heard
    assert not await told(journal, run)


def test_the_latest_safe_moment_is_told_in_the_time_zone_of_the_window() -> None:
    """The title says all that somebody needs on a telephone."""
    status = RunStatus("r", telling(PLAN, OPS))
    events: Sequence[Event] = (Warned(moment=OPENS, reason="the window closes"), RunChanged(state=R.PAUSED))
    for seq, event in enumerate(events, start=1):
        status.apply(msgspec.structs.replace(event, seq=seq))
    assert [it.title for it in status.occasions] == ["identity: latest safe moment 09:00 CET"]


def test_a_go_no_go_is_the_last_gate_before_people_are_let_in() -> None:
    """Before the stage that does, or within it; a sign-off before that is none."""
    gates = {step.id: is_go(PLAN, step) for step in PLAN.steps() if step.person}
    assert gates == {"sign-off": False, "go": True, "final": False}
    resume = acts("application.unflush", "on")
    plan = a_plan([a_gate("first"), a_gate("go", needs=("first",)), _after(resume, "go")])
    assert [is_go(plan, step) for step in plan.steps() if step.person] == [False, True]


@pytest.mark.parametrize(
    ("opens", "outage", "lets_in"),
    [
        ("traffic.enter", True, {"traffic.enter"}),
        ("node.start", True, {"node.start"}),
        ("traffic.enter", False, set()),
    ],
)
def test_where_no_gate_keeps_people_out_the_pools_or_the_starts_let_them_in(
    opens: str, outage: bool, lets_in: set[str]
) -> None:
    """A plan that always serves opens nothing again."""
    plan = a_plan([acts("node.start", "started")], [a_gate("go")], [acts(opens, "in")])
    stages = tuple(msgspec.structs.replace(stage, outage=outage) for stage in plan.stages)
    plan = msgspec.structs.replace(plan, stages=stages)
    assert letting_in(plan) == lets_in
    assert [is_go(plan, step) for step in plan.steps() if step.person] == [outage]


def _after(step: Step, need: str) -> Step:
    return msgspec.structs.replace(step, needs=(need,))
