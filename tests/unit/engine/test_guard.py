"""The interlocks as they are asked about a live site."""

import msgspec

from changeover.engine.guard import Guard
from changeover.model.plan import Facts, Plan, snapshot_label
from changeover.ports import AdminState
from changeover.strategies.rolling import rolling
from tests.sites import a_release, a_simulated_site, a_site


def _plan() -> Plan:
    return rolling(a_site(), a_release(keep_serving=3), Facts())


async def test_a_drain_is_stopped_when_another_server_has_gone() -> None:
    """The floor counts what the balancer reports at that very moment."""
    site = a_simulated_site()
    await site.clock.sleep(60)
    guard = Guard(_plan(), site.world, "run")
    drain = next(step for step in _plan().steps() if step.id == "app1/drain")
    assert await guard(drain) is None
    await site.balancers["public"].set_state("app4", AdminState.MAINT)
    verdict = await guard(drain)
    assert verdict is not None
    assert "left with 2 of 3" in verdict.evidence


async def test_a_migration_is_stopped_without_its_verified_snapshot() -> None:
    """Taken is not enough: it must have been restored."""
    site = a_simulated_site()
    guard = Guard(_plan(), site.world, "run")
    migrate = next(step for step in _plan().steps() if step.do.action == "database.migrate")
    label = snapshot_label(migrate.do.params["backup"], "run")
    assert await guard(migrate) is not None
    await site.databases["main"].snapshot(label)
    assert await guard(migrate) is not None
    await site.databases["main"].verify_snapshot(label)
    assert await guard(migrate) is None


async def test_a_node_in_rotation_is_not_stopped() -> None:
    """Also when the steps that take it out were skipped, or the balancer has forgotten them."""
    site = a_simulated_site()
    await site.clock.sleep(60)
    guard = Guard(_plan(), site.world, "run")
    stop = next(step for step in _plan().steps() if step.id == "app1/stop")
    assert await guard(stop) is not None
    await site.balancers["public"].set_state("app1", AdminState.MAINT)
    assert await guard(stop) is None


async def test_a_step_that_touches_no_interlock_is_free() -> None:
    """Nothing is asked about a step that changes neither rotation nor schema."""
    site = a_simulated_site()
    start = next(step for step in _plan().steps() if step.id == "app1/start")
    assert await Guard(_plan(), site.world, "run")(start) is None


async def test_the_site_says_which_pools_a_node_is_in() -> None:
    """A step whose parameters were emptied in an edited plan is held to the same rules."""
    site = a_simulated_site()
    await site.clock.sleep(60)
    guard = Guard(_plan(), site.world, "run")
    bare = msgspec.structs.replace
    stop = next(step for step in _plan().steps() if step.id == "app1/stop")
    migrate = next(step for step in _plan().steps() if step.do.action == "database.migrate")
    assert await guard(bare(stop, do=bare(stop.do, params={}))) is not None
    unbacked = {name: value for name, value in migrate.do.params.items() if name != "backup"}
    assert await guard(bare(migrate, do=bare(migrate.do, params=unbacked))) is not None
