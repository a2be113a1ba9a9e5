"""Each fault does to one call what it says, and nothing to the others."""

import asyncio

import msgspec
import pytest

from changeover.errors import ApplicationError, BalancerError, DatabaseError, HostError
from changeover.model.release import CommandMigration, Migrations, SqlMigration
from changeover.model.site import Unit
from changeover.ports import AdminState
from changeover.simulation import EPOCH, Durations, Fault, LoopClock, SimulatedSite, aimed, run
from tests.sites import EXPAND, a_release, a_site

LOOSE = SqlMigration("011", "CREATE INDEX CONCURRENTLY i ON t (x)", "c", transactional=False)
INSTALL = Durations().install


def a_site_on(clock: LoopClock) -> SimulatedSite:
    """Two nodes."""
    return SimulatedSite(a_site(2), "v1", clock, release=a_release())


async def install(site: SimulatedSite, node: str = "app1", **more: float) -> str:
    """The call that is struck."""
    return await site.world.application.do("install", node, release="v2", **more)  # type: ignore[arg-type]


FAILING = {
    Fault.REFUSED: ("refused", False, 0.0),
    Fault.BROKEN_OFF: ("broken off", False, 0.0),
    Fault.ANSWER_LOST: ("connection was lost", True, INSTALL),
    Fault.SAYS_FAILED: ("exit status 1", True, INSTALL),
    Fault.DISK_FULL: ("No space left on device", False, INSTALL),
    Fault.HOST_DIES: ("connection was lost", False, INSTALL / 2 + 10),
    Fault.NETWORK_CUT: ("connection was lost", True, INSTALL / 2 + 10),
}
"""Fault → what is said, whether the effect is there in the end, after how many seconds."""


@pytest.mark.parametrize("fault", FAILING, ids=str)
def test_a_fault_fails_the_call_and_leaves_what_it_says(fault: Fault) -> None:
    """The error is the port's, the effect there or not, the other node untouched."""
    words, there, seconds = FAILING[fault]

    async def strike(clock: LoopClock) -> None:
        site = a_site_on(clock)
        beside = asyncio.create_task(install(site, "app2"))
        with aimed(fault) as aim, pytest.raises(ApplicationError, match=words):
            await install(site)
        assert str(aim.hit) == "application.install of app1"
        assert clock.now() == EPOCH + seconds
        await beside
        assert site.nodes["app2"].installed == {"v1", "v2"}
        site.settle()
        assert ("v2" in site.nodes["app1"].installed) is there

    run(strike)


@pytest.mark.parametrize(("fault", "there"), [(Fault.HANGS, False), (Fault.HANGS_AFTER, True)])
def test_what_hangs_never_answers(fault: Fault, there: bool) -> None:
    """Until its own timeout ends it; without one, until the caller gives up."""

    async def hang(clock: LoopClock) -> None:
        site = a_site_on(clock)
        with aimed(fault), pytest.raises(ApplicationError, match="no end within 30 s"):
            await install(site, timeout=30.0)
        assert ("v2" in site.nodes["app1"].installed) is there
        with aimed(fault), pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await site.world.databases["main"].snapshot("s")
        assert ("s" in site.stores["main"].snapshots) is there

    run(hang)


def test_what_is_slow_takes_ten_times_as_long() -> None:
    """And succeeds; what takes longer than its timeout is ended where it runs."""

    async def crawl(clock: LoopClock) -> None:
        site = a_site_on(clock)
        with aimed(Fault.SLOW):
            await install(site)
        assert clock.now() == EPOCH + 10 * INSTALL
        with aimed(Fault.SLOW), pytest.raises(ApplicationError, match="no end within 20 s"):
            await install(site, "app2", timeout=20.0)
        await clock.sleep(100)
        assert site.nodes["app2"].installed == {"v1"}

    run(crawl)


def test_a_version_that_is_never_well_is_until_another_is_started_or_it_is_mended() -> None:
    """The start succeeds; the other node, and the other version, are well."""

    async def ail(clock: LoopClock) -> None:
        site = a_site_on(clock)
        do = site.world.application.do
        await site.world.databases["main"].migrate(EXPAND, lock_timeout=1.0)

        async def starts(node: str, release: str) -> bool:
            await do("stop", node)
            await do("switch", node, release=release)
            await do("start", node)
            await clock.sleep(site.durations.well)
            return site.well(node)

        for node in site.nodes:
            await install(site, node)
        with aimed(Fault.UNWELL, skip=2):
            assert not await starts("app1", "v2")
        assert site.nodes["app1"].running == "v2"
        assert await starts("app2", "v2")
        assert await starts("app1", "v1")
        assert not await starts("app1", "v2")
        site.mend()
        assert site.well("app1")

    run(ail)


def test_a_fault_strikes_once_and_what_it_is_aimed_at() -> None:
    """The effect after those that are skipped; a look only when looks are aimed at; nothing outside the block."""

    async def aim(clock: LoopClock) -> None:
        site = a_site_on(clock)
        pool = site.world.balancers["public"]
        with aimed(Fault.REFUSED, skip=1) as one:
            await pool.servers()
            await pool.set_state("app1", AdminState.DRAIN)
            with pytest.raises(BalancerError):
                await pool.set_state("app2", AdminState.DRAIN)
            await pool.set_state("app2", AdminState.DRAIN)
        assert str(one.hit) == "balancer.set_state of app2"
        with aimed(Fault.REFUSED, looks=True) as look:
            with pytest.raises(BalancerError):
                await pool.servers()
            await pool.servers()
        assert str(look.hit) == "balancer.servers of public"
        with aimed(Fault.REFUSED) as none:
            pass
        await pool.set_state("app1", AdminState.READY)
        assert none.hit is None

    run(aim)


def a_site_that_migrates_itself(clock: LoopClock) -> SimulatedSite:
    """Two nodes, and a migration of the application's own."""
    described = a_site(2)
    bound = dict.fromkeys(("expand", "expanded", "unexpand"), Unit("app.service"))
    application = msgspec.structs.replace(
        described.application, capabilities={**described.application.capabilities, **bound}
    )
    described = msgspec.structs.replace(described, application=application)
    own = CommandMigration("own", "expand", "expanded", "app1", undo="unexpand")
    return SimulatedSite(
        described, "v1", clock, release=a_release(migrations=(Migrations("main", (own,)),)), abilities={}
    )


@pytest.mark.parametrize(
    ("fault", "timeout", "half"),
    [
        (Fault.BROKEN_OFF, 60.0, True),
        (Fault.HOST_DIES, 60.0, True),
        (Fault.SLOW, 3.0, True),
        (None, 60.0, True),
        (Fault.REFUSED, 60.0, False),
        (Fault.HANGS, 60.0, False),
    ],
    ids=str,
)
def test_half_of_the_applications_own_migration_is_left_until_it_is_done_again(
    fault: Fault | None, timeout: float, half: bool
) -> None:
    """In either direction, by a failure in the middle, a dead host or a dead conductor (None): it says `partly`."""

    async def strike(clock: LoopClock) -> None:
        site = a_site_that_migrates_itself(clock)

        async def call(capability: str) -> None:
            values = {"release": "v1", "lock_timeout": "1"}
            await site.application.do(capability, "app1", timeout=timeout, **values)

        async def fail(capability: str) -> None:
            if fault is None:
                conductor = asyncio.create_task(call(capability))
                await clock.sleep(site.durations.migrate / 2)
                conductor.cancel()
                await asyncio.gather(conductor, return_exceptions=True)
                return
            with aimed(fault), pytest.raises(ApplicationError):
                await call(capability)
            site.mend()

        async def says() -> str:
            return (await site.application.ask("expanded", "app1")).value

        before = site.state()
        for do, failed, there in (("expand", "no", "yes"), ("unexpand", "yes", "no")):
            await fail(do)
            assert await says() == ("partly" if half else failed)
            assert site.state()["databases"]["main"]["unfinished"] == (["own"] if half else [])
            await call(do)
            assert await says() == there
        await fail("expand")
        await call("unexpand")
        assert await says() == "no"
        assert site.state()["databases"] == before["databases"]

    run(strike)


def test_a_restore_leaves_no_half_of_a_migration() -> None:
    """What the application says of it is what it said when the snapshot was taken."""

    async def restore(clock: LoopClock) -> str:
        site = a_site_that_migrates_itself(clock)
        database = site.databases["main"]
        await database.snapshot("s")
        await database.verify_snapshot("s")
        with aimed(Fault.BROKEN_OFF), pytest.raises(ApplicationError):
            await site.application.do("expand", "app1", release="v1", lock_timeout="1")
        fork = site.fork(clock)
        await fork.databases["main"].restore("s")
        assert (await site.application.ask("expanded", "app1")).value == "partly"
        return (await fork.application.ask("expanded", "app1")).value

    assert run(restore) == "no"


@pytest.mark.parametrize("ends", [True, False])
def test_a_call_in_flight_goes_on_or_dies_with_its_conductor(ends: bool) -> None:
    """Cancelled in the middle of it: its effect is there later, or never; a job of systemd goes on regardless."""

    async def die(clock: LoopClock) -> None:
        site = a_site_on(clock)
        site.orphans_end = ends
        installing = asyncio.create_task(install(site))
        stopping = asyncio.create_task(site.world.application.do("stop", "app2"))
        await clock.sleep(0.5)
        for task in (installing, stopping):
            task.cancel()
        await asyncio.gather(installing, stopping, return_exceptions=True)
        assert site.nodes["app1"].installed == {"v1"}
        await clock.sleep(INSTALL)
        site.settle()
        assert ("v2" in site.nodes["app1"].installed) is ends
        assert site.nodes["app2"].running == ""

    run(die)


def test_a_migration_broken_off_is_begun_and_not_finished() -> None:
    """Where it runs without a transaction; with one there is nothing of it."""

    async def break_off(clock: LoopClock) -> None:
        site = a_site_on(clock)
        database = site.world.databases["main"]
        with aimed(Fault.BROKEN_OFF), pytest.raises(DatabaseError):
            await database.migrate(LOOSE, lock_timeout=1)
        assert [(entry.name, entry.finished_at) for entry in await database.ledger()] == [("011", 0)]
        assert site.state()["databases"]["main"]["unfinished"] == ["011"]
        with pytest.raises(DatabaseError, match="has not been finished"):
            await database.migrate(LOOSE, lock_timeout=1)
        await database.forget("011")
        whole = SqlMigration("012", "ALTER TABLE t ADD x int", "c")
        with aimed(Fault.BROKEN_OFF), pytest.raises(DatabaseError):
            await database.migrate(whole, lock_timeout=1)
        assert await database.ledger() == ()

    run(break_off)


def test_a_restore_that_died_leaves_the_database_closed() -> None:
    """Nobody is served until it is restored again."""

    async def restore(clock: LoopClock) -> None:
        site = a_site_on(clock)
        database = site.world.databases["main"]
        await database.snapshot("s")
        await database.verify_snapshot("s")
        with aimed(Fault.BROKEN_OFF), pytest.raises(DatabaseError):
            await database.restore("s")
        with pytest.raises(DatabaseError, match="not currently accepting connections") as closed:
            await database.ledger()
        assert "run the restore again" in closed.value.hint
        assert not (await site.world.application.ask("health", "app1")).ok
        await database.restore("s")
        assert (await site.world.application.ask("health", "app1")).ok

    run(restore)


@pytest.mark.parametrize("call", ["snapshot", "verify_snapshot", "restore"])
def test_a_full_disk_fails_what_takes_room_and_leaves_the_database_open(call: str) -> None:
    """No snapshot counts that was not finished, none is verified, and nothing is put back; with room it goes."""

    async def fill(clock: LoopClock) -> None:
        site = a_site_on(clock)
        database = site.world.databases["main"]
        if call != "snapshot":
            await database.snapshot("s")
        if call == "restore":
            await database.verify_snapshot("s")
        await database.migrate(EXPAND, lock_timeout=1)
        before = site.state()["databases"]
        with aimed(Fault.DISK_FULL), pytest.raises(DatabaseError, match="No space left on device"):
            await getattr(database, call)("s")
        assert site.state()["databases"] == before
        site.mend()
        await getattr(database, call)("s")
        assert site.state()["databases"] != before

    run(fill)


@pytest.mark.parametrize("trouble", ["kill", "cut", "freeze"])
def test_a_host_that_does_not_answer_is_an_error_of_every_port(trouble: str) -> None:
    """Of the kind of the port, after a while; only whether a node is well has an answer."""

    async def lose(clock: LoopClock) -> None:
        site = a_site_on(clock)
        for host in ("app1", "lb1", "db1"):
            getattr(site, trouble)(host)
        world = site.world
        with pytest.raises(ApplicationError):
            await world.application.ask("running", "app1")
        with pytest.raises(HostError):
            await world.hosts["app1"].read("/etc/hosts")
        with pytest.raises(BalancerError):
            await world.balancers["public"].servers()
        with pytest.raises(DatabaseError):
            await world.databases["main"].ledger()
        assert not (await world.application.ask("health", "app1")).ok
        assert clock.now() > EPOCH + 30
        site.mend()
        assert (await world.application.ask("running", "app1")).ok
        await clock.sleep(10)
        assert all(state.in_rotation for state in (await world.balancers["public"].servers()).values())

    run(lose)
