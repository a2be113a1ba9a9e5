"""A run that goes back: by command, by policy, over crashes, and what it does when the way back fails too."""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from changeover.engine.events import FallbackBegun, StepChanged, Verb
from changeover.engine.records import Records
from changeover.errors import HostError, LockTimeoutError
from changeover.model.plan import Direction, Plan, Stage, Step
from changeover.model.release import Cause, Fallback
from changeover.model.states import RunState, StepState
from changeover.model.values import Outcome, Verdict
from tests.enginekit import Scripted, a_gate, a_plan, a_step, answer, begin, conduct, eventually, tell
from tests.sites import a_site

S, R = StepState, RunState


class Site(Scripted):
    """Steps change a site: `x` makes it there, `back/x` takes it away."""

    async def perform(self, operation: Any, context: Any) -> str:
        """As the script says; a step of the way back undoes the effect of its counterpart."""
        said = await super().perform(operation, context)
        if operation.target.startswith("back/"):
            self.effects.pop(operation.target.removeprefix("back/"), None)
        return said

    async def observe(self, operation: Any, context: Any) -> Any:
        """A way back is done when what it takes back is not there."""
        name = operation.target
        if name.startswith("back/"):
            self.effects[name] = "" if self.effects.get(name.removeprefix("back/")) else "whole"
        return await super().observe(operation, context)


def there(name: str, **more: Any) -> Step:
    """A step that can be taken back."""
    return a_step(
        name, undo=(a_step(f"back/{name}", **{k: v for k, v in more.items() if k == "unit"}),), **more
    )


def falling(plan: Plan, *when: Cause, **stages: str) -> Plan:
    """The plan, whose way back begins by itself for these causes."""
    fallback = Fallback(when=frozenset(when), stages=stages)
    return msgspec.structs.replace(plan, release=msgspec.structs.replace(plan.release, fallback=fallback))


PLAN = a_plan([there("a")], [there("b")], [there("c")], finalize=[a_gate("done")])


async def test_an_abort_takes_back_what_was_begun_in_reverse(journal: Records) -> None:
    """Half of it done: the rest is never begun, and the site is as it was."""
    site = Site(c="fail")
    run = await begin(journal, PLAN)
    assert (await conduct(journal, run, site)).state is R.STOPPED
    await tell(journal, run, Verb.ABORT, reason="enough")
    status = await conduct(journal, run, site)
    assert (status.state, status.reason) == (R.FELL_BACK, "")
    assert site.performed == ["a", "b", "c", "back/b", "back/a"]
    assert not [name for name, effect in site.effects.items() if effect and not name.startswith("back/")]
    assert status.steps["back/c"].evidence == "back/c is whole"
    await begin(journal, PLAN)


async def test_a_run_on_its_way_back_is_listed_as_running(journal: Records) -> None:
    """While a step of the way back is under way; how long that takes is no measure of the way there."""
    site = Site(b="fail")
    site.hold["back/a"] = asyncio.Event()
    run = await begin(journal, PLAN)
    assert (await conduct(journal, run, site)).state is R.STOPPED
    await tell(journal, run, Verb.ABORT, reason="enough")
    conducting = asyncio.create_task(conduct(journal, run, site))
    await eventually(lambda: _performing(site, "back/a"), expected=True)
    assert (await journal.run(run)).state is R.RUNNING
    site.hold["back/a"].set()
    assert (await conducting).state is R.FELL_BACK
    assert set(await journal.durations("identity")) == {("scripted", "a")}


async def _performing(site: Site, step: str) -> bool:
    return step in site.performed


class BlindTo:
    """Interlocks that cannot see one step's target before its effect, and nothing of it afterwards."""

    def __init__(self, step: str) -> None:
        self.step = step

    async def before(self, step: Step, stage: Stage) -> None:
        if step.id == self.step:
            raise HostError("no SSH connection within 10 s", hint="look at the network")

    def dropped(self, step: Step) -> None:
        pass

    async def after(self, step: Step, stage: Stage) -> None:
        if step.id == self.step:
            raise KeyError(step.id)


async def test_a_unit_whose_interlocks_cannot_be_asked_holds_up_nobody_else_on_the_way_back(
    journal: Records,
) -> None:
    """Its host is dead: it is set aside without an effect, the others go back, and a retry takes it up again."""
    plan = a_plan([there("a", unit="app1"), there("b", unit="app2", needs=("a",))], [there("c", unit="app3")])
    plan = msgspec.structs.replace(plan, site=a_site(3))
    site = Site(c="fail")
    run = await begin(journal, plan)
    assert (await conduct(journal, run, site)).state is R.STOPPED
    await tell(journal, run, Verb.ABORT, reason="enough")
    status = await conduct(journal, run, site, guard=BlindTo("back/b"))
    assert (status.state, status.reason) == (R.STOPPED, "everything went back but app2")
    said = [
        it.evidence
        for it in await journal.events(run)
        if isinstance(it, StepChanged) and it.state is S.FAILED
    ]
    assert said[-1] == "the interlocks of back/b could not be asked: no SSH connection within 10 s"
    assert "back/b" not in site.performed
    assert not site.effects.get("a")
    await tell(journal, run, Verb.RETRY, "back/b")
    assert (await conduct(journal, run, site)).state is R.FELL_BACK
    assert site.performed[-1] == "back/b"


async def test_a_half_done_step_is_taken_back(journal: Records) -> None:
    """Its effect is half there: that is not forgotten."""
    site = Site(b="half")
    run = await begin(journal, PLAN)
    await conduct(journal, run, site)
    await tell(journal, run, Verb.ABORT, reason="enough")
    assert (await conduct(journal, run, site)).state is R.FELL_BACK
    assert site.performed == ["a", "b", "back/b", "back/a"]
    assert "b" not in site.effects


@pytest.mark.parametrize(("cause", "state"), [(Cause.FAILURE, R.FELL_BACK), (Cause.GATE, R.STOPPED)])
async def test_a_failed_step_begins_the_way_back_where_the_file_says_so(
    journal: Records, cause: Cause, state: RunState
) -> None:
    """And only for the causes that it names."""
    run = await begin(journal, falling(PLAN, cause))
    status = await conduct(journal, run, Site(b="fail"))
    assert status.state is state
    begun = [event for event in await journal.events(run) if isinstance(event, FallbackBegun)]
    assert [(event.actor, "b failed" in event.reason) for event in begun] == (
        [("policy", True)] if state is R.FELL_BACK else []
    )


async def test_a_refused_gate_begins_the_way_back_where_the_file_says_so(journal: Records) -> None:
    """The tester says no."""
    plan = falling(a_plan([there("a")], [a_gate("go")], [there("b")]), Cause.GATE)
    run = await begin(journal, plan)
    assert (await conduct(journal, run, site := Site())).state is R.WAITING
    await tell(journal, run, Verb.REFUSE, "go", "error rate is up")
    assert (await conduct(journal, run, site)).state is R.FELL_BACK
    assert site.performed == ["a", "back/a"]


async def test_what_failed_before_anything_was_changed_waits_for_a_person(journal: Records) -> None:
    """There is nothing to take back, so it may just as well be tried again."""
    run = await begin(journal, falling(a_plan([a_step("look")], [there("a")]), Cause.FAILURE))
    assert (await conduct(journal, run, Site(look="fail"))).state is R.STOPPED


async def test_a_stage_that_asks_stops_for_a_person_instead(journal: Records) -> None:
    """The policy holds for stages that are simply undone; the abort is then a person's, behind a gate."""
    plan = falling(a_plan([there("a")], [there("b")]), Cause.FAILURE, stage2=Direction.ASK)
    run = await begin(journal, plan)
    site = Site(b="half")
    assert (await conduct(journal, run, site)).state is R.STOPPED
    await tell(journal, run, Verb.ABORT, reason="enough")
    status = await conduct(journal, run, site)
    assert (status.state, status.steps_in(S.WAITING)) == (R.WAITING, ["back/stage2/approve"])
    await tell(journal, run, Verb.APPROVE, "back/stage2/approve")
    assert (await conduct(journal, run, site)).state is R.FELL_BACK


async def test_past_the_point_of_no_return_an_abort_is_refused_and_leaving_is_not(journal: Records) -> None:
    """Finalize has begun; the run can still be ended where it is."""
    plan = a_plan([there("a")], finalize=[a_gate("done"), there("z", needs=("done",))])
    run = await begin(journal, plan)
    site = Site(z="fail")
    await conduct(journal, run, site)
    await tell(journal, run, Verb.APPROVE, "done")
    assert (await conduct(journal, run, site)).state is R.STOPPED
    number = await tell(journal, run, Verb.ABORT, reason="enough")
    assert (await conduct(journal, run, site)).state is R.STOPPED
    outcome, why = await answer(journal, number)
    assert outcome == "refused"
    assert "no way back any more" in why
    await tell(journal, run, Verb.LEAVE, reason="enough")
    assert (await conduct(journal, run, site)).state is R.ABORTED
    assert site.effects["a"] == "whole"


async def test_a_way_back_that_fails_stops_and_goes_on_when_it_is_retried(journal: Records) -> None:
    """What takes a step back may fail like any other."""
    site = Site(c="fail", back__b="fail")
    run = await begin(journal, PLAN)
    await conduct(journal, run, site)
    await tell(journal, run, Verb.ABORT, reason="enough")
    status = await conduct(journal, run, site)
    assert (status.state, status.steps_in(S.FAILED)) == (R.STOPPED, ["back/b"])
    late = await tell(journal, run, Verb.ABORT, reason="again")
    await tell(journal, run, Verb.RETRY, "back/b")
    assert (await conduct(journal, run, site)).state is R.FELL_BACK
    assert (await answer(journal, late))[0] == "refused"
    assert site.performed[-3:] == ["back/b", "back/b", "back/a"]


async def test_what_all_must_be_ready_for_waits_for_the_node_that_is_left(journal: Records) -> None:
    """The schema does not go back under a node that may still run; mended, or accepted with a reason, it does."""
    site = Site(b="fail", back__a="fail fail")
    plan = a_plan([there("schema")], [there("a", unit="n1"), there("m", unit="n2")], [there("b")])
    plan = msgspec.structs.replace(
        plan, stages=(plan.stages[0], msgspec.structs.replace(plan.stages[1], batch=1), plan.stages[2])
    )
    run = await begin(journal, plan)
    await conduct(journal, run, site)
    await tell(journal, run, Verb.ABORT, reason="enough")
    status = await conduct(journal, run, site)
    why = "back-stage3 waits for n1, which could not go back: mend and retry, or skip with a reason"
    assert (status.state, status.reason) == (R.STOPPED, why)
    assert "m" not in site.effects
    assert site.effects["schema"] == "whole"
    await tell(journal, run, Verb.RETRY, "back/a")
    assert (await conduct(journal, run, site)).reason == why
    await tell(journal, run, Verb.SKIP, "back/a", "scrapped")
    status = await conduct(journal, run, site)
    assert (status.state, status.left_behind) == (R.FELL_BACK, [])
    assert "schema" not in site.effects
    assert (last := status.steps["back/a"].last)
    assert last.reason == "scrapped"


async def test_a_node_that_cannot_come_back_holds_up_nobody_else(journal: Records) -> None:
    """The others go back; then a person is told which one is left, and can retry it or leave it."""
    site = Site(b="fail", back__a="fail")
    run = await begin(journal, a_plan([there("a", unit="n1"), there("m", unit="n2")], [there("b")]))
    await conduct(journal, run, site)
    await tell(journal, run, Verb.ABORT, reason="enough")
    status = await conduct(journal, run, site)
    assert (status.state, status.reason) == (R.STOPPED, "everything went back but n1")
    assert "m" not in site.effects
    await tell(journal, run, Verb.RETRY, "back/a")
    assert (await conduct(journal, run, site)).state is R.FELL_BACK
    assert "a" not in site.effects


@pytest.mark.parametrize("point", ["started", "performed", "finishing", "finished", "ending", "obeyed"])
async def test_the_way_back_survives_a_conductor_that_dies(journal: Records, point: str) -> None:
    """Killed at each of its points in turn, again and again, it ends where it began."""
    site = Site(c="fail")
    run = await begin(journal, PLAN)
    await conduct(journal, run, site)
    await tell(journal, run, Verb.ABORT, reason="enough")

    class Died(BaseException):
        pass

    def fault(at: str) -> None:
        if at == point:
            raise Died

    for _ in range(20):
        with suppress(Died):
            await conduct(journal, run, site, fault=fault)
        if (await journal.status(run)).ended:
            break
    else:
        await conduct(journal, run, site)
    assert (await journal.status(run)).state is R.FELL_BACK
    assert not {"a", "b", "c"} & {name for name, effect in site.effects.items() if effect}


async def test_the_way_back_can_be_paused(journal: Records) -> None:
    """Nothing is launched until it is continued."""
    site = Site(c="fail")
    run = await begin(journal, PLAN)
    await conduct(journal, run, site)
    await tell(journal, run, Verb.ABORT, reason="enough")
    site.hold["back/b"] = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, site))
    while "back/b" not in site.performed:
        await asyncio.sleep(0.01)
    await tell(journal, run, Verb.PAUSE)
    while (await journal.status(run)).state is not R.PAUSED:
        await asyncio.sleep(0.01)
    site.hold["back/b"].set()
    assert (await conducting).state is R.PAUSED
    await tell(journal, run, Verb.CONTINUE)
    assert (await conduct(journal, run, site)).state is R.FELL_BACK


class Still:
    """A clock that stands, until it is let go: then whatever was waited for is over."""

    def __init__(self, at: float) -> None:
        self._at = at
        self.goes = asyncio.Event()

    def now(self) -> float:
        """The same, whenever it is asked."""
        return self._at

    async def sleep(self, seconds: float) -> None:
        """Until it goes, unless it is for no time."""
        if seconds > 0:
            await self.goes.wait()
            self._at += seconds


def by_a_minute(plan: Plan, **stages: str) -> Plan:
    """The plan, which is to be verified within a minute."""
    late = Fallback(when=frozenset({Cause.DEADLINE}), deadline=60.0, stages=stages)
    return msgspec.structs.replace(plan, release=msgspec.structs.replace(plan.release, fallback=late))


async def test_a_passed_deadline_begins_the_way_back_whatever_holds_the_run(journal: Records) -> None:
    """A gate that nobody answers is no reason to miss it."""
    site = Site()
    run = await begin(journal, by_a_minute(a_plan([there("a")], [a_gate("go")])))
    created = (await journal.status(run)).created_at
    assert (await conduct(journal, run, site, clock=Still(created + 59))).state is R.WAITING
    status = await conduct(journal, run, site, clock=Still(created + 60))
    assert (status.state, site.performed) == (R.FELL_BACK, ["a", "back/a"])


async def test_a_conductor_that_waits_begins_the_way_back_when_the_moment_comes(journal: Records) -> None:
    """Nobody has to tell it, and no step has to end first."""
    run = await begin(journal, by_a_minute(a_plan([there("a")], [a_gate("go")])))
    clock = Still((await journal.status(run)).created_at)
    conducting = asyncio.create_task(conduct(journal, run, Site(), clock=clock, on_stop="wait"))
    await eventually(lambda: _state(journal, run), R.WAITING)
    clock.goes.set()
    assert (await conducting).state is R.FELL_BACK


async def _state(journal: Records, run: str) -> RunState:
    return (await journal.status(run)).state


async def test_once_verified_finalize_may_wait_as_long_as_it_likes(journal: Records) -> None:
    """The deadline is for the upgrade, not for giving up the way back."""
    run = await begin(journal, by_a_minute(a_plan([there("a")], finalize=[a_gate("done")])))
    created = (await journal.status(run)).created_at
    assert (await conduct(journal, run, Site(), clock=Still(created))).state is R.WAITING
    assert (await conduct(journal, run, Site(), clock=Still(created + 90))).state is R.WAITING


async def test_a_person_may_go_on_past_the_deadline(journal: Records) -> None:
    """Where the stage asks, the run stops once; continued, it is not stopped for that again."""
    plan = by_a_minute(a_plan([there("a")], [a_gate("go"), there("b", needs=("go",))]), stage2="ask")
    run = await begin(journal, plan)
    created = (await journal.status(run)).created_at
    await conduct(journal, run, site := Site(), clock=Still(created))
    status = await conduct(journal, run, site, clock=Still(created + 61))
    assert (status.state, status.cause) == (R.STOPPED, Cause.DEADLINE)
    await tell(journal, run, Verb.APPROVE, "go")
    assert (await conduct(journal, run, site, clock=Still(created + 61))).state is R.DONE


async def test_nobody_is_asked_to_agree_to_what_is_so_already(journal: Records) -> None:
    """A gate of the way back before something that never happened opens by itself, and says why."""
    plan = falling(a_plan([there("a")], [there("b")], [there("c")]), Cause.FAILURE, stage2=Direction.ASK)
    site = Site(b="fail")
    run = await begin(journal, plan)
    await conduct(journal, run, site)
    await tell(journal, run, Verb.ABORT, reason="enough")
    status = await conduct(journal, run, site)
    assert status.state is R.FELL_BACK
    gate = status.steps["back/stage2/approve"].last
    assert gate
    assert (gate.actor, gate.reason) == ("policy", "nothing to agree to: back/b is whole")


async def test_a_gate_of_the_way_back_is_not_skipped_past(journal: Records) -> None:
    """Who does not agree skips what is behind it; then the gate has nothing to ask any more."""
    plan = falling(a_plan([there("a")], [there("b")], [there("c")]), Cause.FAILURE, stage2=Direction.ASK)
    site = Site(b="half")
    run = await begin(journal, plan)
    await conduct(journal, run, site)
    await tell(journal, run, Verb.ABORT, reason="enough")
    await conduct(journal, run, site)
    gate = "back/stage2/approve"
    number = await tell(journal, run, Verb.SKIP, gate, "not this")
    await conduct(journal, run, site)
    outcome, why = await answer(journal, number)
    assert (outcome, "guards what a person must agree to" in why) == ("refused", True)
    await tell(journal, run, Verb.REFUSE, gate, "not this")
    assert (await conduct(journal, run, site)).state is R.STOPPED
    await tell(journal, run, Verb.SKIP, "back/b", "it stays")
    await tell(journal, run, Verb.RETRY, gate)
    status = await conduct(journal, run, site)
    assert (status.state, site.effects["b"]) == (R.FELL_BACK, "half")
    assert "back/b" not in site.performed


async def test_a_skipped_step_of_finalize_does_not_trip_the_policy(journal: Records) -> None:
    """Nothing was given up yet: the next failure goes back, and the conductor does not fall over it."""
    plan = falling(
        a_plan([there("a")], [there("b")], finalize=[a_gate("done"), there("z", needs=("done",))]),
        Cause.FAILURE,
    )
    run = await begin(journal, plan)
    await tell(journal, run, Verb.SKIP, "z", "by hand")
    assert (await conduct(journal, run, Site(b="fail"))).state is R.FELL_BACK


async def test_a_lock_that_was_not_to_be_had_is_nothing_to_take_back(journal: Records) -> None:
    """It has changed nothing, by its own words: no restore, and nobody is asked."""

    class Locked(Site):
        async def perform(self, operation: Any, context: Any) -> str:
            if operation.target == "b":
                raise LockTimeoutError("no lock within 2 s")
            return await super().perform(operation, context)

    plan = a_plan([there("a")], [a_step("b", restore="before", attempts=2)])
    run = await begin(journal, plan)
    status = await conduct(journal, run, Locked())
    assert "b" not in status.reached()
    assert set(status.reached()) == {"a"}


async def test_what_an_interlock_refused_is_not_begun_whatever_is_told_meanwhile(journal: Records) -> None:
    """A person continues while the stop is being recorded: the step is asked about again, not performed."""
    site = Site()
    run = await begin(journal, a_plan([there("a")]))
    asked: list[str] = []

    class Refusing:
        async def before(self, step: Step, _stage: Any) -> Verdict | None:
            asked.append(step.id)
            return Verdict("floor", Outcome.BAD, "broken")

        async def after(self, _step: Step, _stage: Any) -> Verdict | None:
            return None

        def dropped(self, step: Step) -> None:
            asked.append(f"dropped {step.id}")

    for _ in range(3):
        await tell(journal, run, Verb.CONTINUE)
        status = await conduct(journal, run, site, guard=Refusing())
    assert (status.state, site.performed) == (R.STOPPED, [])
    assert asked[:2] == ["a", "dropped a"]
