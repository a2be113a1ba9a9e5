"""Each interlock that is asked live, violated on purpose in the middle of a run of the real engine."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

import msgspec
import pytest

from changeover.actions import ACTIONS
from changeover.actions.base import Action, Context, Params
from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.engine.guard import Guard
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.model.plan import Facts, Operation, Plan
from changeover.model.release import Cause, Coexistence, Release
from changeover.model.site import Unit
from changeover.model.states import RunState, StepState
from changeover.model.values import Observation
from changeover.ports import AdminState
from changeover.simulation import LoopClock, SimulatedSite, run
from changeover.strategies.rolling import rolling
from tests.sites import EXPAND, a_release, a_site

OWNER = Owner.current()
READY, MAINT = AdminState.READY, AdminState.MAINT
EXPANDED = f"main/expand/{EXPAND.name}"

Happens = Callable[[SimulatedSite], Awaitable[object]]


class Then:
    """An action after which something happens, once, at one step: the world goes on while the run does."""

    kind: ClassVar[str] = ""
    params: ClassVar[type[Params]] = Params

    def __init__(self, action: Action, happenings: dict[str, partial[Awaitable[object]]]) -> None:
        self._action, self._happenings = action, happenings

    async def observe(self, operation: Operation, context: Context) -> Observation:
        seen = await self._action.observe(operation, context)
        if seen.done:
            await self._happen(context.step)
        return seen

    async def perform(self, operation: Operation, context: Context) -> str | Observation:
        came = await self._action.perform(operation, context)
        if isinstance(came, Observation):  # and will not be observed again
            await self._happen(context.step)
        return came

    async def _happen(self, step: str) -> None:
        if step in self._happenings:
            await self._happenings.pop(step)()


class Play:
    """A run on a simulated site; `after` names a step, and what happens as soon as that was performed."""

    def __init__(
        self,
        clock: LoopClock,
        release: Release,
        after: dict[str, Happens],
        edit: Callable[[Plan], Plan] = lambda plan: plan,
    ) -> None:
        described = a_site()
        capabilities = {**described.application.capabilities, "unflushed": Unit("app.service")}
        application = msgspec.structs.replace(described.application, capabilities=capabilities)
        described = msgspec.structs.replace(described, application=application)
        self.site = SimulatedSite(described, "v1", clock, release=release)
        self.plan = edit(rolling(described, release, Facts()))
        self.journal = MemoryJournal(clock.now)
        self.run = ""
        happenings = {step: partial(it, self.site) for step, it in after.items()}
        self._actions = {kind: Then(action, happenings) for kind, action in ACTIONS.items()}

    async def go(self) -> RunStatus:
        """On to where it rests."""
        self.run = self.run or await self.journal.create_run(self.plan, actor="ann", reason="", owner=OWNER)
        guard = Guard(self.plan, self.site.world, self.run)
        runner = Runner(
            self.journal, self.run, self.site.world, self._actions, guard=guard, owner=OWNER, poll=1.0
        )
        return await runner.run()

    async def say(self, verb: Verb, step: str = "") -> RunStatus:
        """What a person says, and what comes of it."""
        await self.journal.command(self.run, verb, actor="ann", step=step, reason="so be it")
        return await self.go()

    def label(self) -> str:
        """The run's own snapshot."""
        return f"before-v2.{self.run}"


def stopped_before(status: RunStatus, step: str) -> str:
    """Why the run has stopped, by an interlock, before it had begun that step."""
    assert (status.state, status.cause) == (RunState.STOPPED, Cause.INTERLOCK), status.reason
    assert status.reason.startswith(f"{step}: ")
    assert (status.steps[step].state, status.steps[step].attempt) == (StepState.PENDING, 0)
    return status.reason.removeprefix(f"{step}: ")


def upgraded(status: RunStatus) -> bool:
    """Whether everything but finalize is done."""
    return (status.state, status.steps_in(StepState.WAITING)) == (RunState.WAITING, ["finalize/approve"])


# What happens, and what sets it right


async def _dies(site: SimulatedSite) -> None:
    site.kill("app4")
    await site.clock.sleep(60)


async def _lives(site: SimulatedSite) -> None:
    site.power("app4")
    await site.clock.sleep(120)


def _runs(node: str, version: str) -> Happens:
    async def happens(site: SimulatedSite) -> None:
        site.nodes[node].running = site.nodes[node].release = version
        site.nodes[node].installed.add(version)
        site.settle()

    return happens


def _holds(number: int) -> Happens:
    async def happens(site: SimulatedSite) -> None:
        site.nodes["app1"].unflushed = number

    return happens


def _told(server: str, state: AdminState) -> Happens:
    async def happens(site: SimulatedSite) -> None:
        await site.balancers["public"].set_state(server, state)

    return happens


async def _schema_goes(site: SimulatedSite) -> None:
    await site.databases["main"].revert(EXPAND, lock_timeout=1)


async def _schema_comes(site: SimulatedSite) -> None:
    await site.databases["main"].migrate(EXPAND, lock_timeout=1)


async def _mark_goes(site: SimulatedSite) -> None:
    snapshots = site.stores["main"].snapshots
    for label, copy in snapshots.items():
        unmarked = msgspec.structs.replace(copy.snapshot, verified=False)
        snapshots[label] = type(copy)(unmarked, copy.tables, copy.writes, copy.ledger, copy.applied)


async def _mark_comes(site: SimulatedSite) -> None:
    for label in list(site.stores["main"].snapshots):
        await site.databases["main"].verify_snapshot(label)


@pytest.mark.parametrize(
    ("after", "happens", "before", "reason", "mended"),
    [
        (
            EXPANDED,
            _dies,
            "app1/drain",
            (
                "capacity floor: public would be left with 2 of 3 servers in rotation, the floor is 3 "
                "(bring another node back into rotation, then retry the step)"
            ),
            _lives,
        ),
        (
            EXPANDED,
            _runs("app3", "v0"),
            "app1/drain",
            (
                "in rotation is running, well and of an allowed version: app3 is in rotation at public and "
                "runs v0, not v1 or v2 (take app3 out of rotation or set it right, then retry the step)"
            ),
            _runs("app3", "v1"),
        ),
        (
            "app1/version",
            _runs("app1", "v0"),
            "app1/enter",
            (
                "in rotation is running, well and of an allowed version: app1 runs v0, not v1 or v2 "
                "(set app1 right, then retry the step)"
            ),
            _runs("app1", "v2"),
        ),
        (
            "app1/out",
            _told("app1", READY),
            "app1/stop",
            (
                "nothing serving is stopped: app1 is in rotation at public "
                "(drain it and take it out first: retry the steps before this one, or do it at the balancer)"
            ),
            _told("app1", MAINT),
        ),
        (
            "app1/out",
            _holds(17),
            "app1/stop",
            (
                "nothing unflushed is stopped: app1 says that 17 is unflushed "
                "(let it write that out, then retry the step)"
            ),
            _holds(0),
        ),
        (
            "app1/switch",
            _schema_goes,
            "app1/start",
            (
                "no forbidden pair: app1 would be started as v2, which can neither start nor run there: "
                "main at its old schema (bring the schema to where that version starts, "
                "or switch the node to the other one, then retry the step)"
            ),
            _schema_comes,
        ),
        (
            "main/verify-snapshot",
            _mark_goes,
            EXPANDED,
            (
                "verified backup: no verified snapshot 'before-v2.RUN' of main "
                "(retry the steps that take and verify it)"
            ),
            _mark_comes,
        ),
    ],
)
def test_a_run_stops_before_the_effect_and_goes_on_once_it_is_set_right(
    after: str, happens: Happens, before: str, reason: str, mended: Happens
) -> None:
    """With the rule, the evidence and the way out; nothing of the step was begun."""

    async def play(clock: LoopClock) -> None:
        it = Play(clock, a_release(keep_serving=3), {after: happens})
        assert stopped_before(await it.go(), before) == reason.replace("RUN", it.run)
        await mended(it.site)
        assert upgraded(await it.say(Verb.RETRY, before))

    run(play, grain=0.5)


def test_what_another_hand_moves_stops_the_run_after_the_step() -> None:
    """It was not done by the step, so it can only be seen then; nothing follows until a person has looked."""

    async def play(clock: LoopClock) -> None:
        it = Play(clock, a_release(), {"app1/drain": _told("app3", MAINT)})
        status = await it.go()
        assert (status.state, status.cause) == (RunState.STOPPED, Cause.INTERLOCK)
        assert status.reason == (
            "app1/drain: only the named servers: app3 at public went from ready to maint, which no step of this "
            "run does: somebody else is at work there (find out who, set the server as it should be, then continue)"
        )
        assert status.steps["app1/out"].state is StepState.PENDING
        await _told("app3", READY)(it.site)
        assert upgraded(await it.say(Verb.CONTINUE))

    run(play, grain=0.5)


def test_no_old_node_is_left_on_a_contracted_schema() -> None:
    """One that somebody took back by hand stops finalize before the contract."""

    async def play(clock: LoopClock) -> None:
        contract = "main/contract/002_legacy"
        it = Play(clock, a_release(), {"main/verify-snapshot-before-contract": _runs("app3", "v1")})
        assert upgraded(await it.go())
        status = await it.say(Verb.APPROVE, "finalize/approve")
        assert stopped_before(status, contract) == (
            "no forbidden pair: app3 serves as v1, which cannot run with main at 002_legacy "
            "(take app3 out of rotation and stop it first, then retry the step)"
        )
        await _runs("app3", "v2")(it.site)
        assert (await it.say(Verb.RETRY, contract)).state is RunState.DONE

    run(play, grain=0.5)


def test_on_the_way_back_the_same_rules_hold() -> None:
    """A new node put back by hand keeps the schema; one of a third version keeps the next node from leaving."""

    async def play(clock: LoopClock) -> None:
        happens = {"back/app4/enter": _runs("app1", "v0"), "back/app1/enter": _runs("app3", "v2")}
        it = Play(clock, a_release(), happens)
        assert upgraded(await it.go())
        status = await it.say(Verb.ABORT)
        assert stopped_before(status, "back/app3/drain").startswith(
            "in rotation is running, well and of an allowed version: app1 is in rotation at public and runs v0"
        )
        await _runs("app1", "v2")(it.site)
        status = await it.say(Verb.RETRY, "back/app3/drain")
        back = f"back/{EXPANDED}"
        assert stopped_before(status, back) == (
            "no forbidden pair: app3 serves as v2, which cannot run with main at its old schema "
            "(take app3 out of rotation and stop it first, then retry the step)"
        )
        await _runs("app3", "v1")(it.site)
        assert (await it.say(Verb.RETRY, back)).state is RunState.FELL_BACK

    run(play, grain=0.5)


def test_a_database_is_not_restored_from_a_snapshot_whose_mark_has_gone() -> None:
    """Whatever a person has agreed to."""

    async def play(clock: LoopClock) -> None:
        bare = msgspec.structs.replace(EXPAND, down="")
        [change] = a_release().migrations
        release = a_release(migrations=(msgspec.structs.replace(change, expand=(bare,)),))
        it = Play(clock, release, {})
        assert upgraded(await it.go())
        waits = await it.say(Verb.ABORT)
        assert waits.state is RunState.WAITING
        await _mark_goes(it.site)
        status = await it.say(Verb.APPROVE, "back/main/restore/approve")
        assert stopped_before(status, "back/main/restore") == (
            f"verified backup: no verified snapshot '{it.label()}' of main "
            "(retry the steps that take and verify it)"
        )
        assert EXPAND.name in it.site.stores["main"].applied

    run(play, grain=0.5)


def test_two_versions_that_may_not_meet_do_not() -> None:
    """A plan that was not asked beforehand is stopped at the first start."""

    async def play(clock: LoopClock) -> None:
        apart = a_release(coexistence=Coexistence(together=False))
        it = Play(clock, apart, {})
        assert stopped_before(await it.go(), "app1/start").startswith(
            "no forbidden pair: app1 as v2 and app2 as v1 would run in one cluster"
        )

    run(play, grain=0.5)


def test_a_node_that_is_out_anyway_comes_back_below_the_floor() -> None:
    """Another one has died meanwhile: that is no reason to leave two of them out."""

    async def play(clock: LoopClock) -> None:
        async def dies(site: SimulatedSite) -> None:
            site.nodes["app1"].broken.add("health")
            await _dies(site)

        it = Play(clock, a_release(keep_serving=3), {"app1/start": dies})
        failed = await it.go()
        assert failed.steps_in(StepState.FAILED) == ["app1/health"]
        it.site.nodes["app1"].broken.clear()
        status = await it.say(Verb.ABORT)
        assert status.reason == "everything went back but app4"
        assert it.site.pools["public"].servers["app1"].in_rotation
        assert it.site.nodes["app1"].running == "v1"

    run(play, grain=0.5)
