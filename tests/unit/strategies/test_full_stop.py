"""A full stop: its plan, what it refuses, and that it leads there and back from every stage, on a simulated site."""

import asyncio
import math
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from changeover import foresight
from changeover.actions import ACTIONS
from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.engine.graph import check
from changeover.engine.guard import Guard
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.errors import RefusedError, SpecError
from changeover.fallback import Reached, from_the_end_of, point_of_no_return, reachable, way_back
from changeover.model.plan import BACK, Direction, Facts, Plan, Stage, Step
from changeover.model.release import Fallback, Release
from changeover.model.site import Site, Unit
from changeover.model.states import RunState, StepState
from changeover.rehearsal.starting import start
from changeover.simulation import LoopClock, SimulatedSite, differences, run
from changeover.strategies.blocks import FLUSHES
from changeover.strategies.full_stop import full_stop
from tests.sites import DEPLOYED, a_full_stop, a_messenger, a_site

PATIENCE = 3600.0
"""Seconds of the simulation in which every run has ended or stopped."""

FACTS = Facts(deployments=DEPLOYED)


def _plan(release: Release | None = None, facts: Facts = FACTS, site: Site | None = None) -> Plan:
    return full_stop(site or a_messenger(), release or a_full_stop(), facts)


def _stage(name: str, plan: Plan) -> Stage:
    return next(stage for stage in plan.stages if stage.name == name)


def _step(name: str, plan: Plan) -> Step:
    return next(step for step in plan.steps() if step.id == name)


def _names(plan: Plan) -> list[str]:
    return [stage.name for stage in plan.stages]


def test_it_flushes_stops_and_changes_everything_before_anything_starts() -> None:
    """The stages in their order; what there is nothing to do for has none."""
    plan = _plan()
    assert _names(plan) == [
        *("check", "install", "flush", "stop", "snapshot", "keep", "clean", "migrate"),
        *("switch", "start", "verify", "resume", "finalize"),
    ]
    check(plan)
    foresight.refuse(plan)
    bare = _plan(a_full_stop(expectations=(), kept=()), Facts(), a_site(3))
    assert _names(bare)[:6] == ["check", "install", "agree", "stop", "snapshot", "migrate"]
    foresight.refuse(bare)


def test_what_is_active_is_flushed_and_what_is_not_is_named_as_skipped() -> None:
    """Each deployment by itself, behind the agreement that nobody is served from then on."""
    flush = _stage("flush", _plan())
    assert flush.title == "Flush mail, sms; inactive, and skipped: archive"
    assert [step.id for step in flush.steps] == [
        "full-stop/approve", "mail/flush", "mail/flushed", "sms/flush", "sms/flushed",
    ]  # fmt: skip
    assert flush.steps[1].needs == ("full-stop/approve",)
    assert not flush.outage


def test_a_stalled_flush_can_be_ignored_only_where_that_is_bound() -> None:
    """No answer is offered that nobody could carry out."""
    assert "ignore" in _step("mail/flushed", _plan()).answers
    site = a_messenger()
    bound = {name: it for name, it in site.application.capabilities.items() if name != "ignore"}
    without = msgspec.structs.replace(
        site, application=msgspec.structs.replace(site.application, capabilities=bound)
    )
    assert not _step("mail/flushed", _plan(site=without)).answers


def test_a_node_is_stopped_after_its_watchdog_and_seen_stopped_after_all_of_them() -> None:
    """And what is expected is asked first, once more."""
    plan = _plan()
    chain = [f"app2/{it}" for it in ("watchdog-stop", "drain", "out", "stop")]
    assert all(a in _step(b, plan).needs for a, b in pairwise(chain))
    assert _step("app2/watchdog-stop", plan).needs == ("notes/expect-again",)
    assert {"app1/stop", "app2/stop", "app3/stop"} <= set(_step("app1/stopped", plan).needs)


def test_storage_is_cleaned_behind_a_person_and_an_interlock() -> None:
    """A plan that cleans before everything is stopped is refused."""
    plan = _plan()
    clean = _stage("clean", plan)
    assert clean.steps[0].person
    rest, cleans = clean.steps[1:4], clean.steps[4:]
    assert all(step.needs == ("clean/approve",) for step in rest)
    assert all(set(step.needs) == {it.id for it in rest} for step in cleans)
    early = [it for it in plan.stages if it.name != "clean"]
    early.insert(2, clean)
    with pytest.raises(SpecError, match="cleaned and changed only at rest: app1 runs"):
        foresight.refuse(msgspec.structs.replace(plan, stages=tuple(early)))


def test_storage_is_not_cleaned_while_anything_is_outstanding() -> None:
    """A plan in which one active deployment is not flushed is refused."""
    plan = _plan()
    stages = tuple(
        msgspec.structs.replace(stage, steps=tuple(step for step in stage.steps if step.id != "sms/flushed"))
        for stage in plan.stages
    )
    with pytest.raises(SpecError, match="sms has nobody knows how much outstanding"):
        foresight.refuse(msgspec.structs.replace(plan, stages=stages))


def test_the_head_starts_first() -> None:
    """On the way there and on the way back."""
    plan = _plan(site=_headed("app2"))
    assert _step("app1/start", plan).needs == ("app2/version",)
    back = from_the_end_of(reachable(plan)[-1], plan)
    assert _step("back/app1/start", back).needs == ("back/app2/version",)
    assert _step("back/app2/start", back).needs == ()


def _headed(head: str) -> Site:
    site = a_messenger()
    return msgspec.structs.replace(site, application=msgspec.structs.replace(site.application, head=head))


def test_resuming_is_the_point_of_no_return() -> None:
    """Unless the operator's file says otherwise."""
    last = point_of_no_return(_plan())
    assert last
    assert last.name == "resume"
    undone = _plan(a_full_stop(fallback=Fallback(stages={"resume": Direction.UNDO})))
    assert "back-resume" in _names(from_the_end_of(_stage("resume", undone), undone))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: _plan(site=_without("flushing")), "not bound: flushing"),
        (lambda: _plan(site=_without("clean_done")), "not bound: clean_done"),
        (lambda: _plan(site=_without("watchdog_stop")), "not bound: watchdog_stop"),
        (lambda: _plan(site=_without("switch")), "not bound: switch"),
        (lambda: _plan(site=_without("qa_diagnostic")), "not bound: qa_diagnostic"),
        (lambda: _plan(facts=Facts(versions={"app1": "v2"})), "app1 runs v2; the upgrade is from v1"),
        (lambda: _plan(facts=Facts(deployments={"app1": "active"})), "app1 is a node and a deployment"),
        (
            lambda: _plan(a_full_stop(fallback=Fallback(stages={"migrate": Direction.KEEP}))),
            "migrate cannot be kept",
        ),
    ],
)
def test_what_cannot_be_is_refused(change: Callable[[], Plan], says: str) -> None:
    """A capability without the others that belong to it, a node of another version, names that clash."""
    with pytest.raises(SpecError, match=says):
        change()


def _without(capability: str) -> Site:
    site = a_messenger()
    bound = {name: it for name, it in site.application.capabilities.items() if name != capability}
    return msgspec.structs.replace(
        site, application=msgspec.structs.replace(site.application, capabilities=bound)
    )


def test_past_the_point_of_no_return_there_is_none_whatever_of_it_was_skipped() -> None:
    """Finalize has removed what a way back would start."""
    plan = _plan()
    skipped = {step.id: Reached(done=False, skipped=True) for step in _stage("resume", plan).steps}
    reached = {step.id: Reached() for step in _until("verify", plan)} | skipped
    assert way_back(plan, reached).stages
    with pytest.raises(RefusedError, match="no way back any more"):
        way_back(plan, reached | {"app1/remove-old": Reached(done=False)})


def test_nothing_is_resumed_where_starting_has_let_everybody_in() -> None:
    """Then finalize alone gives up the way back."""
    plan = _plan(a_full_stop(expectations=(), kept=()), Facts(), _open_site())
    assert _names(plan)[-2:] == ["verify", "finalize"]
    last = point_of_no_return(plan)
    assert last
    assert last.finalize


def test_nothing_is_lost_by_a_restore_that_nobody_has_written_since() -> None:
    """So nobody is asked: the snapshot was taken while nobody was served, and nobody was let in since."""
    plan = _plan()
    restore = _step("back/main/restore", from_the_end_of(_stage("verify", plan), plan))
    assert restore.summary.endswith("nobody has written to it since")
    assert not restore.needs


@pytest.mark.parametrize("lets_in", ["app1/enter", "mail/unflush"])
def test_a_restore_asks_a_person_once_somebody_was_let_in(lets_in: str) -> None:
    """The way back of a run that has begun to resume."""
    plan = _plan(a_full_stop(fallback=Fallback(stages={"resume": Direction.UNDO})))
    reached = {step.id: Reached() for step in _until("verify", plan)}
    back = way_back(plan, reached | {lets_in: Reached(done=False)})
    assert _step("back/main/restore", back).needs == ("back/main/restore/approve",)


@pytest.mark.parametrize("left_out", ["app2/stop", "app1/stopped", "mail/flush", "mail/flushed"])
def test_a_restore_asks_a_person_where_a_stop_or_a_flush_was_skipped(left_out: str) -> None:
    """Somebody may have gone on writing there, or the new version has sent as soon as it was started."""
    plan = _plan()
    reached = {step.id: Reached() for step in _until("verify", plan)}
    back = way_back(plan, reached | {left_out: Reached(done=False, skipped=True)})
    assert _step("back/main/restore/approve", back).person


def test_a_start_lets_people_in_where_nothing_else_keeps_them_out() -> None:
    """Without a balancer, a flush or a gate the nodes are what is reached."""
    plan = _plan(a_full_stop(expectations=(), kept=()), Facts(), _open_site())
    before = from_the_end_of(_stage("switch", plan), plan)
    after = from_the_end_of(_stage("verify", plan), plan)
    assert not [step for step in before.steps() if step.person]
    assert [step.id for step in after.steps() if step.person] == ["back/main/restore/approve"]


def _open_site() -> Site:
    """Nothing stands before its nodes."""
    site = a_site(2)
    nodes = tuple(msgspec.structs.replace(node, servers={}) for node in site.application.nodes)
    return msgspec.structs.replace(
        site, balancers=(), application=msgspec.structs.replace(site.application, nodes=nodes)
    )


def _until(name: str, plan: Plan) -> list[Step]:
    until = plan.stages[: plan.stages.index(_stage(name, plan)) + 1]
    return [step for stage in until for step in stage.steps]


def test_nothing_runs_when_the_schema_goes_back() -> None:
    """What a reboot has started in between is stopped again first; then every stage in reverse."""
    plan = _plan()
    back = from_the_end_of(_stage("verify", plan), plan)
    assert _names(back) == [
        *("back-start", "back-switch", "back-at-rest", "back-migrate", "back-keep", "back-stop"),
        *("back-verify", "back-flush", "back-install"),
    ]
    assert {step.do.action for step in _stage("back-at-rest", back).steps} == {"node.stopped"}
    check(back)


def test_a_node_that_did_not_run_is_upgraded_and_left_stopped_by_a_way_back() -> None:
    """As it was found."""
    plan = _plan(facts=msgspec.structs.replace(FACTS, versions={"app1": "v1", "app2": "", "app3": "v1"}))
    back = from_the_end_of(_stage("verify", plan), plan)
    started = [step.id for step in back.steps() if step.do.action == "node.start"]
    assert sorted(started) == ["back/app1/start", "back/app3/start"]
    assert "app2/switch" in {step.id for step in plan.steps()}


@given(some.data())
def test_from_any_set_of_begun_steps_the_way_back_can_be_executed(data: some.DataObject) -> None:
    """Ids are unique and needs are met, whatever was begun, skipped or left half-way."""
    plan = _plan()
    steps = [step.id for stage in reachable(plan) for step in stage.steps if not step.person]
    begun = data.draw(some.lists(some.sampled_from(steps), unique=True))
    back = way_back(
        plan,
        {it: Reached(done=data.draw(some.booleans()), skipped=data.draw(some.booleans())) for it in begun},
    )
    if back.stages:
        check(back)
    assert {step.do.action for step in back.steps()} <= ACTIONS.keys() | {"people.approve"}


# Through the engine


async def _conducted(
    plan: Plan,
    clock: LoopClock,
    abort_at: str = "",
    meddle: Callable[[SimulatedSite, RunStatus], None] = lambda _s, _r: None,
) -> tuple[RunStatus, SimulatedSite, list[str]]:
    """Run it, every gate approved, aborted once that step is done; where it came to, and what differs then."""
    site = start(plan, clock)
    await clock.sleep(60)
    before = site.state()
    journal = MemoryJournal(clock.now)
    name = await journal.create_run(plan, actor="test", reason="test", owner=Owner.current())
    runner = Runner(
        journal,
        name,
        site.world,
        ACTIONS,
        guard=Guard(plan, site.world, name),
        on_stop="wait",
        lease_seconds=math.inf,
    )
    conducting = asyncio.create_task(runner.run())
    told: set[str] = set()
    before_long = clock.now() + PATIENCE
    while not conducting.done() and clock.now() < before_long:
        status = await journal.status(name)
        meddle(site, status)
        if abort_at and abort_at not in told and status.steps[abort_at].state is StepState.DONE:
            told.add(abort_at)
            await journal.command(name, Verb.ABORT, actor="test", reason="no")
        for gate in set(status.steps_in(StepState.WAITING)) - told:
            told.add(gate)
            await journal.command(name, Verb.APPROVE, actor="test", step=gate)
        if status.state is RunState.STOPPED and not (abort_at and abort_at not in told):
            break
        await clock.sleep(0.2)
    conducting.cancel()
    await asyncio.gather(conducting, return_exceptions=True)
    await clock.sleep(60)
    return await journal.status(name), site, differences(before, site.state())


def test_it_runs_to_its_end_and_no_record_is_lost() -> None:
    """Every node runs the new version, every deployment sends, storage was cleaned and is in use again."""
    status, site, _ = run(lambda clock: _conducted(_plan(), clock))
    assert status.state is RunState.DONE, status.reason
    assert {node.running for node in site.nodes.values()} == {"v2"}
    assert all(node.watchdog for node in site.nodes.values())
    assert {name: (it.flush, it.lost) for name, it in site.deployments.items()} == dict.fromkeys(
        DEPLOYED, (False, 0.0)
    )


@pytest.mark.parametrize(
    "last",
    [
        "app1/install", "mail/flush", "mail/flushed", "app2/watchdog-stop", "app2/stop", "main/snapshot",
        "app1/keep", "app1/clean", "main/expand/001_kind", "main/contract/002_legacy", "app1/switch",
        "app1/put-back", "app1/start", "app3/version", "app1/verify",
    ],
)  # fmt: skip
def test_it_goes_back_from_every_stage_to_where_it_began(last: str) -> None:
    """The old version runs, its watchdogs too, every deployment sends, and nothing but the copy of what was changed is left."""
    status, site, differs = run(lambda clock: _conducted(_plan(), clock, abort_at=last))
    assert status.state is RunState.FELL_BACK, status.reason
    assert [it for it in differs if not it.startswith("databases.main.snapshots")] == []
    assert sum(it.lost for it in site.deployments.values()) == 0


def test_what_is_expected_is_asked_again_at_the_very_moment_of_stopping() -> None:
    """Switched on after the last look, it keeps every node from being stopped."""
    plan = _plan()

    def switched(site: SimulatedSite, status: RunStatus) -> None:
        if status.steps["notes/expect-again"].state is StepState.DONE:
            site.answers["qa_diagnostic"] = "ON"

    status, site, _ = run(lambda clock: _conducted(plan, clock, meddle=switched))
    assert status.state is RunState.STOPPED
    assert "stopped only as expected: qa_diagnostic is ON, expected OFF" in status.reason
    assert all(node.running == "v1" for node in site.nodes.values())


def test_a_node_that_somebody_starts_keeps_storage_from_being_cleaned() -> None:
    """It is looked at again behind the gate; nothing is cleaned anywhere."""
    plan = _plan()

    def started(site: SimulatedSite, status: RunStatus) -> None:
        if status.steps["clean/approve"].state is StepState.WAITING:
            site.start("app3")

    status, site, _ = run(lambda clock: _conducted(plan, clock, meddle=started))
    assert status.state is RunState.STOPPED
    assert "app3/still-stopped failed" in status.reason
    assert not any(node.clean for node in site.nodes.values())


@pytest.mark.parametrize(
    ("meddle", "says"),
    [
        (lambda site: None, ""),
        (lambda site: site.start("app3"), "app3 runs"),
        (lambda site: setattr(site.nodes["app3"], "watchdog", True), "its watchdog does and would start it"),
        (lambda site: site.deployments["sms"].stale.update({"7": "x"}), "sms has 1 outstanding"),
        (lambda site: site.answers.update(outstanding=""), "sms has nobody knows how much outstanding"),
    ],
)
def test_the_interlock_is_asked_live_right_before_storage_is_cleaned(
    meddle: Callable[[SimulatedSite], None], says: str
) -> None:
    """Every node, every watchdog and every active deployment, as they are at that moment."""
    plan = _plan(facts=msgspec.structs.replace(FACTS, deployments={"sms": "active"}))

    async def asked(clock: LoopClock) -> str:
        site = start(plan, clock)
        for node in site.nodes.values():
            node.running, node.watchdog = "", False
        site.deployments["sms"].left = {}
        meddle(site)
        clean = _stage("clean", plan)
        verdict = await Guard(plan, site.world, "run").before(clean.steps[-1], clean)
        return verdict.evidence if verdict else ""

    said = run(asked)
    assert said.endswith(says) if says else not said


def test_a_node_that_holds_something_is_not_stopped() -> None:
    """However its deployments are flushed."""
    plan = _plan()

    def left(site: SimulatedSite, status: RunStatus) -> None:
        if status.steps["sms/flushed"].state is StepState.DONE:
            site.nodes["app2"].unflushed = 3

    status, site, _ = run(lambda clock: _conducted(plan, clock, meddle=left))
    assert status.state is RunState.STOPPED
    assert "app2 says that 3 is unflushed" in status.reason
    assert site.nodes["app2"].running == "v1"


def test_the_capabilities_of_a_flush_are_bound_together() -> None:
    """Each of them alone is refused with those that are missing."""
    site = a_site(3)
    for capability in FLUSHES:
        bound = {**site.application.capabilities, capability: Unit("app.service")}
        alone = msgspec.structs.replace(
            site, application=msgspec.structs.replace(site.application, capabilities=bound)
        )
        with pytest.raises(SpecError) as refused:
            _plan(a_full_stop(expectations=()), Facts(), alone)
        assert set(refused.value.message.partition(": ")[2].split(", ")) == set(FLUSHES) - {capability}


def test_rows_that_nobody_could_see_are_not_ignored() -> None:
    """Who binds `ignore` binds what shows the rows."""
    with pytest.raises(SpecError, match=r"not bound: stalled$"):
        _plan(site=_without("stalled"))


def test_every_step_of_the_way_back_belongs_to_one_that_was_begun() -> None:
    """From each stage on: nothing is taken back that was not there."""
    plan = _plan()
    for stage in reachable(plan):
        back = from_the_end_of(stage, plan)
        check(back) if back.stages else None
        begun = {step.do.target for step in _until(stage.name, plan)}
        assert {step.do.target for step in back.steps()} <= begun
        assert all(step.id.startswith(BACK) for step in back.steps())
