"""The interlocks as they are asked about a live site."""

import asyncio
import gc
from collections.abc import Callable

import msgspec
import pytest

from changeover.engine.guard import Guard
from changeover.errors import ApplicationError
from changeover.model.plan import Facts, Plan, Stage, Step, snapshot_label
from changeover.model.release import Ability, Coexistence
from changeover.model.site import Unit
from changeover.model.values import Verdict
from changeover.ports import AdminState, Answer
from changeover.simulation import SimulatedSite
from changeover.strategies.rolling import rolling
from tests.sites import EXPAND, a_release, a_simulated_site, a_site

STAGE = Stage("canary", "", ())


def _plan(**changes: object) -> Plan:
    return rolling(a_site(), a_release(**{"keep_serving": 3, **changes}), Facts())


def step(name: str, plan: Plan | None = None) -> Step:
    """The step of that name."""
    return next(step for step in (plan or _plan()).steps() if step.id == name)


def refused(verdict: Verdict | None) -> str:
    """The evidence of a refusal."""
    assert verdict is not None
    assert not verdict.good
    return verdict.evidence


async def test_a_drain_is_stopped_when_another_server_has_gone() -> None:
    """The floor counts what the balancer reports at that very moment."""
    site = a_simulated_site()
    await site.clock.sleep(60)
    guard = Guard(_plan(), site.world, "run")
    assert await guard.before(step("app1/drain"), STAGE) is None
    await site.balancers["public"].set_state("app4", AdminState.MAINT)
    assert "left with 2 of 3" in refused(await guard.before(step("app1/drain"), STAGE))


async def test_a_stage_with_an_outage_has_no_floor() -> None:
    """A person has agreed to it; the other rules hold there as everywhere."""
    site = a_simulated_site()
    guard = Guard(_plan(), site.world, "run")
    await site.balancers["public"].set_state("app4", AdminState.MAINT)
    outage = msgspec.structs.replace(STAGE, outage=True)
    assert await guard.before(step("app1/drain"), outage) is None
    await site.balancers["public"].set_state("app1", AdminState.DRAIN)
    assert await guard.after(step("app1/drain"), outage) is None


async def test_a_migration_is_stopped_without_its_verified_snapshot() -> None:
    """Taken is not enough: it must have been restored."""
    site = a_simulated_site()
    guard = Guard(_plan(), site.world, "run")
    migrate = step("main/expand/001_kind")
    label = snapshot_label(migrate.do.params["backup"], "run")
    refused(await guard.before(migrate, STAGE))
    await site.databases["main"].snapshot(label)
    refused(await guard.before(migrate, STAGE))
    await site.databases["main"].verify_snapshot(label)
    assert await guard.before(migrate, STAGE) is None


async def test_a_look_that_is_cancelled_leaves_no_question_unasked() -> None:
    """At whatever moment: nothing warns at the operator's terminal of what was never awaited."""
    site = a_simulated_site()
    await site.clock.sleep(60)
    guard = Guard(_plan(), site.world, "run")
    for turns in range(1, 12):
        looking = asyncio.ensure_future(guard.before(step("app1/drain"), STAGE))
        for _ in range(turns):
            await asyncio.sleep(0)
        looking.cancel()
        await asyncio.wait([looking])
        gc.collect()


async def test_a_node_in_rotation_is_not_stopped() -> None:
    """Also when the steps that take it out were skipped, or the balancer has forgotten them."""
    site = a_simulated_site()
    await site.clock.sleep(60)
    guard = Guard(_plan(), site.world, "run")
    refused(await guard.before(step("app1/stop"), STAGE))
    await site.balancers["public"].set_state("app1", AdminState.MAINT)
    assert await guard.before(step("app1/stop"), STAGE) is None
    assert await guard.after(step("app1/stop"), STAGE) is None
    await site.balancers["public"].set_state("app1", AdminState.READY)
    refused(await guard.after(step("app1/stop"), STAGE))


@pytest.mark.parametrize(
    ("running", "unflushed", "broken", "evidence"),
    [
        ("v1", 0, set(), ""),
        ("v1", 3, set(), "app1 says that 3 is unflushed"),
        ("v1", 0, {"unflushed"}, "app1 says that it does not know how much is unflushed"),
        ("", 3, set(), ""),
    ],
)
async def test_what_runs_is_stopped_once_nothing_is_unflushed(
    running: str, unflushed: int, broken: set[str], evidence: str
) -> None:
    """Where that is bound; what does not run any more holds nothing back, so a way back goes on."""
    described = a_site()
    bound = {**described.application.capabilities, "unflushed": Unit("app.service")}
    application = msgspec.structs.replace(described.application, capabilities=bound)
    described = msgspec.structs.replace(described, application=application)
    site = SimulatedSite(described, "v1", release=a_release())
    await site.balancers["public"].set_state("app1", AdminState.MAINT)
    node = site.nodes["app1"]
    node.running, node.unflushed, node.broken = running, unflushed, broken
    verdict = await Guard(_plan(), site.world, "run").before(step("app1/stop"), STAGE)
    assert (refused(verdict) if evidence else verdict) == (evidence or None)


async def test_what_was_not_begun_excuses_nobody() -> None:
    """A step that was stopped does not move its server, so whoever does is another hand."""
    site = a_simulated_site()
    guard = Guard(_plan(), site.world, "run")
    site.nodes["app3"].running = "v0"
    refused(await guard.before(step("app1/drain"), STAGE))
    site.nodes["app3"].running = "v1"
    assert await guard.before(step("app2/drain"), STAGE) is None
    await site.balancers["public"].set_state("app1", AdminState.DRAIN)
    assert "app1 at public went from ready to drain" in refused(await guard.after(step("app2/drain"), STAGE))


@pytest.mark.parametrize("first", ["app1/drain", "app2/drain"])
async def test_what_was_dropped_excuses_nobody(first: str) -> None:
    """Allowed and then not begun, before or after the step beside it: whoever moves its server is another hand."""
    site = a_simulated_site()
    guard = Guard(_plan(keep_serving=1), site.world, "run")
    for name in (first, *({"app1/drain", "app2/drain"} - {first})):
        assert await guard.before(step(name), STAGE) is None
    guard.dropped(step("app1/drain"))
    await site.balancers["public"].set_state("app1", AdminState.DRAIN)
    assert "app1 at public went from ready to drain" in refused(await guard.after(step("app2/drain"), STAGE))


async def test_what_was_refused_beside_a_step_excuses_nobody() -> None:
    """The step beside it, which was asked about first, is held to its own servers again."""
    site = a_simulated_site()
    guard = Guard(_plan(keep_serving=1), site.world, "run")
    assert await guard.before(step("app2/drain"), STAGE) is None
    site.nodes["app3"].running = "v0"
    refused(await guard.before(step("app1/drain"), STAGE))
    await site.balancers["public"].set_state("app1", AdminState.DRAIN)
    assert "app1 at public went from ready to drain" in refused(await guard.after(step("app2/drain"), STAGE))


async def test_an_earlier_attempt_that_was_made_stays_excused() -> None:
    """The next one is dropped; what the first has moved beside another step was no other hand."""
    site = a_simulated_site()
    guard = Guard(_plan(keep_serving=1), site.world, "run")
    for name in ("app2/drain", "app1/drain"):
        assert await guard.before(step(name), STAGE) is None
    await site.balancers["public"].set_state("app1", AdminState.DRAIN)
    assert await guard.after(step("app1/drain"), STAGE) is None
    assert await guard.before(step("app1/drain"), STAGE) is None
    guard.dropped(step("app1/drain"))
    assert await guard.after(step("app2/drain"), STAGE) is None


async def test_a_step_that_touches_no_interlock_is_free() -> None:
    """Nothing is asked about a step that changes nothing."""
    site = a_simulated_site()
    for host in site.hosts:
        site.kill(host)
    guard = Guard(_plan(), site.world, "run")
    assert await guard.before(step("app1/health"), STAGE) is None
    assert await guard.after(step("app1/health"), STAGE) is None


async def test_the_site_says_which_pools_a_node_is_in() -> None:
    """A step whose parameters were changed in an edited plan is held to the same rules."""
    site = a_simulated_site()
    await site.clock.sleep(60)
    guard = Guard(_plan(), site.world, "run")
    edit = msgspec.structs.replace
    stop, migrate, drain = step("app1/stop"), step("main/expand/001_kind"), step("app1/drain")
    refused(await guard.before(edit(stop, do=edit(stop.do, params={})), STAGE))
    unbacked = {name: value for name, value in migrate.do.params.items() if name != "backup"}
    refused(await guard.before(edit(migrate, do=edit(migrate.do, params=unbacked)), STAGE))
    other = edit(drain, do=edit(drain.do, params={"servers": {"public": "app3"}}))
    assert refused(await guard.before(other, STAGE)) == ("the step names app3 at public, where app1 is app1")


@pytest.mark.parametrize(
    ("node", "harm", "evidence"),
    [
        ("app3", lambda node: node.broken.add("health"), "app3 is in rotation at public and is not well"),
        ("app3", lambda node: setattr(node, "running", "v0"), "app3 is in rotation at public and runs v0"),
        ("app3", lambda node: setattr(node, "running", ""), "app3 is in rotation at public and does not run"),
        ("app1", lambda node: setattr(node, "running", "v0"), ""),
    ],
)
async def test_a_drain_relies_on_those_who_stay(
    node: str, harm: Callable[[object], None], evidence: str
) -> None:
    """Each of them must be fit to serve, whatever the balancer believes; the one that leaves need not."""
    site = a_simulated_site()
    harm(site.nodes[node])
    verdict = await Guard(_plan(), site.world, "run").before(step("app1/drain"), STAGE)
    assert evidence in (refused(verdict) if evidence else "")
    assert (verdict is None) is not bool(evidence)


async def test_a_way_back_relies_on_none_that_it_replaces() -> None:
    """Whatever is the matter with the new version, it can be left; a third one in rotation is still refused."""
    site = a_simulated_site()
    guard = Guard(_plan(), site.world, "run")
    back = msgspec.structs.replace(step("app1/drain"), id="back/app1/drain")
    site.nodes["app3"].running = "v2"
    site.nodes["app3"].broken.add("health")
    refused(await guard.before(step("app1/drain"), STAGE))
    assert await guard.before(back, STAGE) is None
    site.nodes["app3"].running = "v0"
    site.nodes["app3"].broken.clear()
    assert "runs v0" in refused(await guard.before(back, STAGE))


async def test_only_what_is_fit_to_serve_comes_back_into_rotation() -> None:
    """Asked before it enters, and again of what has entered."""
    site = a_simulated_site()
    guard = Guard(_plan(), site.world, "run")
    enter = step("app1/enter")
    assert await guard.before(enter, STAGE) is None
    site.nodes["app1"].running = "v0"
    assert "runs v0" in refused(await guard.before(enter, STAGE))
    site.nodes["app1"].running = "v1"
    assert await guard.before(enter, STAGE) is None
    site.nodes["app1"].running = "v0"
    assert "runs v0" in refused(await guard.after(enter, STAGE))


async def test_what_another_hand_moves_meanwhile_is_reported_as_that() -> None:
    """No step of this run has named it; what another step of the run moves at the same time is its business."""
    site = a_simulated_site()
    balancer = site.balancers["public"]
    guard = Guard(_plan(keep_serving=1), site.world, "run")
    await guard.before(step("app1/drain"), STAGE)
    await guard.before(step("app2/drain"), STAGE)
    for server in ("app1", "app2"):
        await balancer.set_state(server, AdminState.DRAIN)
    assert await guard.after(step("app1/drain"), STAGE) is None
    await balancer.set_state("app3", AdminState.MAINT)
    assert "app3 at public went from ready to maint" in refused(await guard.after(step("app2/drain"), STAGE))


@pytest.mark.parametrize(
    ("release", "coexistence", "applied", "evidence"),
    [
        ("v1", Coexistence(), [], ""),
        ("v1", Coexistence(), [EXPAND.name], ""),
        ("v1", Coexistence(old_on_new=Ability.RUN), [EXPAND.name], "v1, which can only go on running there"),
        ("v2", Coexistence(), [], "v2, which can neither start nor run there: main at its old schema"),
        ("v2", Coexistence(), [EXPAND.name], ""),
        ("v0", Coexistence(), [EXPAND.name], "app1 would be started as v0"),
        (
            "v2",
            Coexistence(together=False),
            [EXPAND.name],
            "app1 as v2 and app2 as v1 would run in one cluster",
        ),
    ],
)
async def test_nothing_is_started_where_it_cannot_start(
    release: str, coexistence: Coexistence, applied: list[str], evidence: str
) -> None:
    """By what the node is switched to, what is in the ledger, and what runs beside it."""
    site = a_simulated_site()
    plan = msgspec.structs.replace(_plan(), release=a_release(coexistence=coexistence))
    site.nodes["app1"].release, site.nodes["app1"].running = release, ""
    for name in applied:
        await site.databases["main"].migrate(EXPAND, lock_timeout=1)
        assert name == EXPAND.name
    verdict = await Guard(plan, site.world, "run").before(step("app1/start"), STAGE)
    assert evidence in (refused(verdict) if evidence else "")
    assert (verdict is None) is not bool(evidence)


async def test_the_schema_is_not_taken_from_under_what_serves() -> None:
    """Neither backwards from the new version nor forwards from the old one."""
    site = a_simulated_site()
    guard = Guard(_plan(), site.world, "run")
    database = site.databases["main"]
    await database.migrate(EXPAND, lock_timeout=1)
    contract = step("main/contract/002_legacy")
    revert = step("main/expand/001_kind").undo[0]
    for it in (contract, revert):
        label = snapshot_label(it.do.params["backup"], "run")
        await database.snapshot(label)
        await database.verify_snapshot(label)
    assert refused(await guard.before(contract, STAGE)) == (
        "app1 serves as v1, which cannot run with main at 002_legacy"
    )
    assert await guard.before(revert, STAGE) is None
    _all_run(site, "v2")
    assert await guard.before(contract, STAGE) is None
    assert refused(await guard.before(revert, STAGE)) == (
        "app1 serves as v2, which cannot run with main at its old schema"
    )
    for server in site.pools["public"].servers:
        await site.balancers["public"].set_state(server, AdminState.MAINT)
    assert await guard.before(revert, STAGE) is None


async def test_the_schema_is_not_taken_from_under_what_does_not_say_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An old node that serves and whose version cannot be asked keeps the contract; out of rotation it does not."""
    site = a_simulated_site()
    guard = Guard(_plan(), site.world, "run")
    database = site.databases["main"]
    await database.migrate(EXPAND, lock_timeout=1)
    contract = step("main/contract/002_legacy")
    label = snapshot_label(contract.do.params["backup"], "run")
    await database.snapshot(label)
    await database.verify_snapshot(label)
    _all_run(site, "v2")
    site.nodes["app3"].running = "v1"
    ask = site.application.ask

    async def silent(capability: str, node: str, **values: str) -> Answer:
        if (capability, node) == ("version", "app3"):
            raise ApplicationError("version on app3: no end within 30 s")
        return await ask(capability, node, **values)

    monkeypatch.setattr(site.application, "ask", silent)
    assert refused(await guard.before(contract, STAGE)) == (
        "app3 serves as a version that it does not say, of which nobody knows whether it can run with "
        "main at 002_legacy"
    )
    await site.balancers["public"].set_state("app3", AdminState.MAINT)
    assert await guard.before(contract, STAGE) is None


def _all_run(site: SimulatedSite, version: str) -> None:
    for node in site.nodes.values():
        node.running = version
