"""Access gates on the simulated site: who comes through them, and what stops a run when somebody opens one."""

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import pytest

from changeover import foresight
from changeover.actions import ACTIONS
from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.engine.guard import Guard
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.errors import AccessError, SpecError
from changeover.model.plan import Plan, Stage
from changeover.model.release import Cause
from changeover.model.states import RunState, StepState
from changeover.ports import Gating, Seen
from changeover.rehearsal.starting import start
from changeover.simulation import LoopClock, SimulatedSite, Traffic, run
from tests.sites import a_release
from tests.unit.simulation.test_interlocks import Then, stopped_before
from tests.windowkit import a_gated_site, a_window

OWNER = Owner.current()
TRAFFIC = Traffic(requests=10, sessions=1, writes=5, session_seconds=60)

Happens = Callable[[SimulatedSite], Awaitable[object]]


def a_gate(**changes: object) -> SimulatedSite:
    """Two nodes to which clients come through the gate `public`."""
    plain = a_gated_site()
    site = msgspec.structs.replace(plain, access=(msgspec.structs.replace(plain.access[0], **changes),))
    return SimulatedSite(site, "v1", release=a_release(), traffic=TRAFFIC)


async def test_clients_come_through_a_gate_where_there_is_no_balancer() -> None:
    """Each to the node whose turn it is; while it is closed nobody, and nothing is written."""
    site = a_gate()
    await site.clock.sleep(10)
    site.count()
    assert (site.clients.requests, site.clients.requests_failed) == (100, 0)
    await site.world.access["public"].shut()
    site.count()
    closed_at, written = site.clients.requests, len(site.stores["main"].writes)
    failed = site.clients.requests_failed
    await site.clock.sleep(10)
    site.count()
    assert site.clients.requests - closed_at == site.clients.requests_failed - failed == 100
    assert len(site.stores["main"].writes) == written
    await site.world.access["public"].reopen()
    site.count()
    failed = site.clients.requests_failed
    await site.clock.sleep(10)
    site.count()
    assert site.clients.requests_failed == failed
    assert site.clients.missing(site.stores["main"]) == 0


@pytest.mark.parametrize(("established", "cut"), [("cut", True), ("keep", False)])
async def test_sessions_are_cut_or_kept_as_declared(established: str, *, cut: bool) -> None:
    """Those that are there when it closes."""
    site = a_gate(established=established)
    await site.clock.sleep(10)
    site.count()
    await site.world.access["public"].shut()
    assert bool(site.clients.sessions_cut) is cut


async def test_who_meets_a_node_that_is_stopped_is_counted() -> None:
    """Nobody sends clients to the other one."""
    site = a_gate()
    site.nodes["app1"].running = ""
    site.settle()
    await site.clock.sleep(10)
    site.count()
    assert (site.clients.requests, site.clients.requests_failed) == (100, 50)
    assert await site.world.access["public"].seen_from("lb1") == {
        "app1:8443": Seen.REFUSED,
        "app2:8443": Seen.APPLICATION,
    }


async def test_a_dead_host_is_not_seen() -> None:
    """Whether it is closed cannot be told; of the others it can."""
    site = a_gate()
    site.kill("app1")
    states = await site.world.access["public"].state()
    assert [it.gating for it in states.values()] == [Gating.UNKNOWN, Gating.OPEN]
    assert states["app1"].evidence.startswith("app1: no answer")
    with pytest.raises(AccessError, match="app1: no answer"):
        await site.world.access["public"].shut()
    assert site.gates["public"].entrances["app2"].live
    assert (await site.world.access["public"].seen_from("lb1"))["app1:8443"] is Seen.SILENT


async def test_a_fork_goes_on_by_itself() -> None:
    """What is closed in it stays open here."""
    site = a_gate()
    fork = site.fork(site.clock)
    await fork.world.access["public"].shut()
    states = await site.world.access["public"].state()
    assert {it.gating for it in states.values()} == {Gating.OPEN}


# The interlock


class Windowed:
    """A run of the window's plan, in which people approve; what `happens` does so as soon as a step was performed."""

    def __init__(self, clock: LoopClock, step: str, happens: Happens) -> None:
        self.plan = a_window()
        self.site = start(self.plan, clock)
        self.journal = MemoryJournal(clock.now)
        self.run = ""
        happenings = {step: partial(happens, self.site)}
        self._actions = {kind: Then(action, happenings) for kind, action in ACTIONS.items()}

    async def go(self, until: str = "finalize/approve") -> RunStatus:
        """On to where it stops, ends, or asks for that."""
        self.run = self.run or await self.journal.create_run(self.plan, actor="ann", reason="", owner=OWNER)
        while True:
            guard = Guard(self.plan, self.site.world, self.run)
            runner = Runner(
                self.journal, self.run, self.site.world, self._actions, guard=guard, owner=OWNER, poll=1.0
            )
            status = await runner.run()
            waiting = [it for it in status.plan.steps() if status.steps[it.id].state is StepState.WAITING]
            if not waiting or waiting[0].id == until:
                return status
            who = waiting[0].who[0] if waiting[0].who else "ann"
            await self.journal.command(self.run, Verb.APPROVE, actor=who, step=waiting[0].id)

    async def say(self, verb: Verb, step: str = "") -> RunStatus:
        """What a person says, and what comes of it."""
        await self.journal.command(self.run, verb, actor="ann", step=step, reason="so be it")
        return await self.go()


async def _flushed(site: SimulatedSite) -> None:
    site.flush_rules("app1")


async def _let_in(site: SimulatedSite) -> None:
    site.let_in("public", "app2", "192.0.2.7")


async def _opened(site: SimulatedSite) -> None:
    await site.world.access["public"].reopen()


async def _closed(site: SimulatedSite) -> None:
    await site.world.access["public"].shut()


@pytest.mark.parametrize(
    ("happens", "where"),
    [
        (_flushed, "public on app1 (open, and closed after the next boot)"),
        (_let_in, "public on app2 (closed; 192.0.2.7 is let in)"),
        (_opened, "public on app1 (open)"),
    ],
)
def test_a_gate_that_somebody_opens_stops_the_run_before_the_next_effect(
    happens: Happens, where: str
) -> None:
    """With the gate, its host, and what is there; it goes on once it is closed again."""

    async def play(clock: LoopClock) -> None:
        it = Windowed(clock, "app2/first-mark", happens)
        status = await it.go()
        assert stopped_before(status, "app2/first-start").startswith(
            f"the site is closed: {where} lets in anybody"
        )
        assert not any(node.running for node in it.site.nodes.values())
        await _closed(it.site)
        status = await it.say(Verb.RETRY, "app2/first-start")
        assert status.steps_in(StepState.WAITING) == ["finalize/approve"]

    run(play, grain=0.5)


def test_a_gate_that_is_opened_during_an_effect_is_told_after_it() -> None:
    """The step is done, and nothing follows it."""

    async def play(clock: LoopClock) -> None:
        it = Windowed(clock, "main/verify-snapshot", _flushed)
        status = await it.go()
        assert (status.state, status.cause) == (RunState.STOPPED, Cause.INTERLOCK)
        assert status.reason.startswith("main/verify-snapshot: the site is closed: public on app1")
        assert status.steps["main/expand/window-to-v2"].attempt == 0
        await _closed(it.site)
        assert (await it.say(Verb.CONTINUE)).steps_in(StepState.WAITING) == ["finalize/approve"]

    run(play, grain=0.5)


def test_on_the_way_back_it_must_be_closed_too() -> None:
    """Nothing is taken back before the public's eyes; in the end it is open."""

    async def play(clock: LoopClock) -> None:
        it = Windowed(clock, "app2/first-mark", _flushed)
        stopped_before(await it.go(), "app2/first-start")
        status = await it.say(Verb.ABORT)
        assert (status.state, status.cause) == (RunState.STOPPED, Cause.INTERLOCK)
        assert "the site is closed: public on app1" in status.reason
        assert status.reason.startswith("back/")
        await _closed(it.site)
        assert (await it.say(Verb.CONTINUE)).state is RunState.FELL_BACK
        states = await it.site.world.access["public"].state()
        assert {state.gating for state in states.values()} == {Gating.OPEN}

    run(play, grain=0.5)


def test_a_host_that_dies_holds_up_the_way_there_and_not_the_way_back() -> None:
    """Whether its gate is closed cannot be told: a person decides. Back, the other node is taken back."""

    async def play(clock: LoopClock) -> None:
        async def dies(site: SimulatedSite) -> None:
            site.kill("app1")

        it = Windowed(clock, "app2/first-mark", dies)
        status = await it.go()
        assert (status.state, status.cause) == (RunState.STOPPED, Cause.INTERLOCK)
        assert status.reason.startswith(
            "the interlocks of app2/first-start could not be asked: public: app1: no answer"
        )
        status = await it.say(Verb.ABORT)
        assert status.steps["back/app2/switch"].state is StepState.DONE

    run(play, grain=0.5)


def _reordered(plan: Plan, moved: str, before: str) -> Plan:
    stage = next(it for it in plan.stages if it.name == moved)
    stages: list[Stage] = []
    for it in plan.stages:
        stages += [stage, it] if it.name == before else [] if it is stage else [it]
    return msgspec.structs.replace(plan, stages=tuple(stages))


@pytest.mark.parametrize(("moved", "before"), [("open", "node-app1"), ("close", "backup")])
def test_a_plan_that_would_work_on_an_open_site_is_refused(moved: str, before: str) -> None:
    """As it was planned it is fine."""
    plan = a_window()
    foresight.refuse(plan)
    with pytest.raises(SpecError, match="the site is closed: public lets in anybody"):
        foresight.refuse(_reordered(plan, moved, before))
