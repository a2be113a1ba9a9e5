"""The clients: what they sent and what became of it, exact to the last request."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from changeover.ports import AdminState
from changeover.simulation import EPOCH, Durations, LoopClock, SimulatedSite, Traffic, run
from tests.sites import a_release, a_site

QUICK = Durations(check=1.0, rise=2, fall=3)


def a_busy_site(clock: LoopClock, **traffic: Any) -> SimulatedSite:
    """Two nodes, and clients."""
    return SimulatedSite(
        a_site(2), "v1", clock, release=a_release(), traffic=Traffic(**traffic), durations=QUICK
    )


def test_nothing_is_lost_while_everything_is_well() -> None:
    """As many as the rate says are served, written and acknowledged, and end by themselves."""

    async def serve(clock: LoopClock) -> None:
        site = a_busy_site(clock, requests=100, sessions=2, writes=10, session_seconds=5)
        await clock.sleep(100)
        site.count()
        clients = site.clients
        assert (clients.requests, clients.sessions, clients.writes) == (10_000, 200, 1000)
        assert clients.losses == []
        assert clients.missing(site.stores["main"]) == 0
        assert sum(map(len, site.stores["main"].writes)) == 1000
        assert sum(site.sessions(node) for node in site.nodes) == 10

    run(serve)


def test_a_dead_node_costs_what_it_is_sent_until_the_balancer_knows() -> None:
    """Every second request for the three checks that it takes, in which nobody else fails; then none."""

    async def die(clock: LoopClock) -> None:
        site = a_busy_site(clock, requests=100, sessions=1, writes=10, session_seconds=1000)
        await clock.sleep(10)
        site.kill("app1")
        await clock.sleep(60)
        site.count()
        clients = site.clients
        assert (clients.requests_failed, clients.writes_failed) == (150, 15)
        assert clients.sessions_cut == 5
        assert clients.sessions_refused in (1, 2)
        died = EPOCH + 10
        lost = {loss.what: loss for loss in clients.losses}
        assert (lost["request"].begin, lost["request"].end, lost["request"].server) == (
            died,
            died + 3,
            "app1",
        )
        assert (lost["cut"].begin, lost["cut"].count) == (died, 5)
        assert clients.missing(site.stores["main"]) == 0

    run(die)


def test_without_a_server_everything_fails() -> None:
    """Each request and write that came while none was in rotation is counted, under no server's name."""

    async def empty(clock: LoopClock) -> None:
        site = a_busy_site(clock, requests=10, sessions=1, writes=10)
        pool = site.world.balancers["public"]
        for server in ("app1", "app2"):
            await pool.set_state(server, AdminState.MAINT)
        before = clock.now()
        await clock.sleep(20)
        await pool.set_state("app1", AdminState.READY)
        await clock.sleep(20)
        site.count()
        (failed,) = [loss for loss in site.clients.losses if loss.what == "request"]
        assert (failed.server, failed.count) == ("", 200)
        assert failed.begin == before
        assert site.clients.requests_failed == site.clients.writes_failed == 200
        assert site.clients.sessions_refused == 20

    run(empty)


def test_a_drained_server_keeps_its_sessions_and_gets_no_more() -> None:
    """They end at their times; the balancer and the application count the same, and nothing is lost."""

    async def drain(clock: LoopClock) -> None:
        site = a_busy_site(clock)
        site.begin_sessions("app1", 10, 20, 30)
        pool = site.world.balancers["public"]
        await pool.set_state("app1", AdminState.DRAIN)
        for left in (3, 2, 1, 0):
            assert (await pool.servers())["app1"].sessions == left == site.sessions("app1")
            await clock.sleep(10)
        assert site.clients.sessions_cut == 0

    run(drain)


def test_sessions_are_cut_by_whoever_ends_what_they_are_on() -> None:
    """The balancer, on purpose; or a node that stops under them."""

    async def cut(clock: LoopClock) -> None:
        site = a_busy_site(clock)
        site.begin_sessions("app1", 100, 100)
        site.begin_sessions("app2", 100)
        await site.world.balancers["public"].cut("app1")
        assert (site.sessions("app1"), site.sessions("app2"), site.clients.sessions_cut) == (0, 1, 2)
        await site.world.application.do("stop", "app2")
        assert (site.sessions("app2"), site.clients.sessions_cut) == (0, 3)

    run(cut)


def test_writes_after_the_snapshot_are_missing_after_a_restore() -> None:
    """Those that were acknowledged and are gone are told apart from those that were refused meanwhile."""

    async def restore(clock: LoopClock) -> None:
        site = a_busy_site(clock, writes=10)
        database = site.world.databases["main"]
        await clock.sleep(10)
        await database.snapshot("s")
        await database.verify_snapshot("s")
        site.count()
        written, taken = site.clients.writes, 100
        await database.restore("s")
        site.count()
        clients = site.clients
        assert clients.missing(site.stores["main"]) == written - taken
        assert clients.writes_failed == clients.writes - written == 50

    run(restore)


@given(
    rates=st.tuples(*[st.sampled_from([0.3, 1, 7.5, 100])] * 3),
    moments=st.lists(st.floats(0, 500, allow_nan=False), max_size=12),
    drained=st.sampled_from(["", "app1"]),
)
def test_counting_often_or_once_comes_to_the_same(
    rates: tuple[float, float, float], moments: list[float], drained: str
) -> None:
    """However often somebody looks meanwhile, the ledger at the end is the same to the last one."""

    async def count(clock: LoopClock, moments: list[float]) -> tuple[object, ...]:
        requests, sessions, writes = rates
        site = a_busy_site(clock, requests=requests, sessions=sessions, writes=writes)
        if drained:
            site.pools["public"].servers[drained].admin = AdminState.DRAIN
            site.settle()
        for moment in [*sorted(moments), 500]:
            await clock.sleep(max(0.0, EPOCH + moment - clock.now()))
            site.count()
        clients = site.clients
        present = {number for part in site.stores["main"].writes for number in part}
        open_ones = [site.pools["public"].servers[name].count(clock.now()) for name in ("app1", "app2")]
        return clients.requests, clients.sessions, clients.writes, present, open_ones, clients.losses

    assert run(lambda clock: count(clock, moments)) == run(lambda clock: count(clock, []))


def test_two_balancers_number_their_writes_apart() -> None:
    """None passes for another's, so that none that is lost is hidden."""

    async def write(clock: LoopClock) -> None:
        plain = a_site(2)
        second = msgspec.structs.replace(plain.balancers[0], name="other", host="")
        nodes = tuple(
            msgspec.structs.replace(node, servers={"public": node.name, "other": node.name})
            for node in plain.application.nodes
        )
        described = msgspec.structs.replace(
            plain,
            balancers=(*plain.balancers, second),
            application=msgspec.structs.replace(plain.application, nodes=nodes),
        )
        site = SimulatedSite(described, "v1", clock, traffic=Traffic(writes=10))
        await clock.sleep(10)
        site.count()
        assert site.clients.writes == 200
        assert len({number for part in site.stores["main"].writes for number in part}) == 200

    run(write)
