"""The site as a whole: what comes of itself, what it is compared by, and forks that go their own ways."""

import msgspec
import pytest

from changeover.errors import LockTimeoutError
from changeover.model.release import Ability, Coexistence
from changeover.ports import AdminState
from changeover.simulation import EPOCH, LoopClock, SimulatedSite, abilities_of, differences, run
from tests.sites import CONTRACT, EXPAND, a_release, a_site


def a_site_on(clock: LoopClock, **more: object) -> SimulatedSite:
    """Two nodes; the release is expanded by one migration and contracted by another."""
    return SimulatedSite(a_site(2), "v1", clock, release=a_release(**more))


def test_a_node_starts_what_its_link_leads_to_and_takes_its_time() -> None:
    """It runs at once and is well later; the balancer believes it after two checks of its own."""

    async def start(clock: LoopClock) -> None:
        site = a_site_on(clock)
        application, pool = site.world.application, site.world.balancers["public"]
        await application.do("stop", "app1")
        await clock.sleep(10)
        assert not (await pool.servers())["app1"].up
        await site.databases["main"].migrate(EXPAND, lock_timeout=1)
        await application.do("install", "app1", release="v2")
        await application.do("switch", "app1", release="v2")
        assert (await application.ask("release", "app1")).value == "v2"
        await application.do("start", "app1")
        assert (await application.ask("running", "app1")).ok
        assert not (await application.ask("health", "app1")).ok
        await clock.sleep(2)
        assert (await application.ask("health", "app1")).ok
        assert (await application.ask("version", "app1")).value == "v2"
        assert not (await pool.servers())["app1"].up
        await clock.sleep(4)
        assert (await pool.servers())["app1"].up

    run(start)


def test_versions_and_schemas_fit_as_the_release_says() -> None:
    """By default the new version wants the schema expanded and the old one not contracted."""
    release = a_release(coexistence=Coexistence(old_on_new=Ability.RUN))
    assert abilities_of(release) == {
        ("v2", ""): Ability.NO,
        ("v1", EXPAND.name): Ability.RUN,
        ("v1", CONTRACT.name): Ability.NO,
    }


def test_an_old_node_may_run_and_not_start() -> None:
    """On the expanded schema it goes on serving, and a start of it comes to nothing; contracted, it fails."""

    async def grow(clock: LoopClock) -> None:
        site = a_site_on(clock, coexistence=Coexistence(old_on_new=Ability.RUN))
        application, database = site.world.application, site.world.databases["main"]
        await database.migrate(EXPAND, lock_timeout=1)
        assert (await application.ask("health", "app1")).ok
        await application.do("stop", "app2")
        await application.do("start", "app2")
        assert not (await application.ask("running", "app2")).ok
        await database.migrate(CONTRACT, lock_timeout=1)
        assert (await application.ask("running", "app1")).ok
        assert not (await application.ask("health", "app1")).ok

    run(grow)


def test_a_long_transaction_holds_a_migration_up() -> None:
    """For as long as it waits at the most; it goes in when the transaction ends in time."""

    async def wait(clock: LoopClock) -> None:
        site = a_site_on(clock)
        database = site.world.databases["main"]
        site.stores["main"].locked_until = EPOCH + 10
        with pytest.raises(LockTimeoutError, match="no lock within 4 s"):
            await database.migrate(EXPAND, lock_timeout=4)
        assert clock.now() == EPOCH + 4
        assert await database.ledger() == ()
        await database.migrate(EXPAND, lock_timeout=7)
        assert [entry.started_at for entry in await database.ledger()] == [EPOCH + 11]

    run(wait)


def test_a_host_whose_power_is_back_starts_its_services() -> None:
    """What their links lead to by then."""

    async def fail(clock: LoopClock) -> None:
        site = a_site_on(clock)
        site.nodes["app1"].installed.add("v2")
        site.nodes["app1"].release = "v2"
        await site.world.databases["main"].migrate(EXPAND, lock_timeout=1)
        site.kill("app1")
        site.power("app1")
        await clock.sleep(29)
        assert not (await site.world.balancers["public"].servers())["app1"].up
        await clock.sleep(40)
        assert (await site.world.application.ask("version", "app1")).value == "v2"
        assert (await site.world.balancers["public"].servers())["app1"].in_rotation

    run(fail)


def test_a_balancer_that_is_reloaded_forgets_unless_its_state_is_kept() -> None:
    """Its version tells one process from the next."""

    async def reload(clock: LoopClock) -> None:
        site = a_site_on(clock)
        pool = site.world.balancers["public"]
        await pool.set_state("app1", AdminState.MAINT)
        await clock.sleep(1)
        version = await pool.version()
        site.reload("public", keep=True)
        assert (await pool.servers())["app1"].admin is AdminState.MAINT
        assert await pool.version() != version
        site.reload("public", keep=False)
        assert (await pool.servers())["app1"].admin is AdminState.READY

    run(reload)


def test_a_fork_goes_its_own_way_from_the_same_moment() -> None:
    """What is done to one shows in the state of that one alone; what was under way ends in both."""

    async def fork(clock: LoopClock) -> None:
        site = a_site_on(clock)
        site.kill("app2")
        site.power("app2")
        await clock.sleep(10)
        other = site.fork(clock)
        assert other.state() == site.state()
        before = site.state()
        application, database = other.world.application, other.world.databases["main"]
        await application.do("install", "app1", release="v2")
        await other.world.balancers["public"].set_state("app1", AdminState.DRAIN)
        await database.snapshot("s")
        await database.migrate(EXPAND, lock_timeout=1)
        await other.world.hosts["db1"].write("/etc/motd", b"hello")
        assert differences(site.state(), before) == []
        assert differences(before, other.state()) == [
            "databases.main.applied: (), now ('001_kind',)",
            "databases.main.snapshots.s: None, now False",
            "hosts.db1.files./etc/motd: None, now b'hello'",
            "nodes.app1.installed: ['v1'], now ['v1', 'v2']",
            "pools.public.app1.admin: ready, now drain",
            "pools.public.app1.in_rotation: True, now False",
        ]
        await clock.sleep(100)
        assert site.state()["hosts"]["app2"]["up"]
        assert other.state()["hosts"]["app2"]["up"]

    run(fork)


def test_an_unbound_capability_is_there_neither_to_do_nor_to_ask() -> None:
    """The simulation can what the site binds, no more."""
    site = SimulatedSite(a_site(1), "v1")
    assert site.application.can("start")
    assert not site.application.can("sessions")
    bound = msgspec.structs.replace(a_site(1).application, capabilities={})
    assert not SimulatedSite(msgspec.structs.replace(a_site(1), application=bound), "v1").application.can(
        "start"
    )
