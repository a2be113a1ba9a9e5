"""The contract of the Balancer port, against a real HAProxy and the simulation; and what is HAProxy's own."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

import pytest

from changeover.drivers import haproxy as driver
from changeover.drivers.local import LocalHost
from changeover.drivers.secrets import Secrets
from changeover.drivers.ssh import SshHost
from changeover.errors import BalancerError
from changeover.model.site import BalancerConfig, HostConfig
from changeover.ports import AdminState, Balancer, Host, ServerState, Stream
from changeover.simulation import SimulatedSite
from tests.haproxykit import Backend, PrivateHaproxy, backend, private_haproxy
from tests.sites import a_site
from tests.sshdkit import PrivateSshd, sshd

__all__ = ["sshd"]

OK = 200
DRAIN, MAINT, READY = AdminState.DRAIN, AdminState.MAINT, AdminState.READY


class CountingHost(LocalHost):
    """This machine, counting the sockets opened."""

    opened = 0

    async def connect_unix(self, path: str, *, become: bool = False) -> Stream:
        self.opened += 1
        return await super().connect_unix(path, become=become)


@dataclass
class Pool:
    """A balancer with the servers `app1` and `app2`, both up, and HAProxy behind it."""

    balancer: Balancer
    haproxy: PrivateHaproxy
    apps: dict[str, Backend]

    down: ClassVar[str] = "DOWN, L7STS 503: X"
    """What is said of a server that answers its health check with 503."""

    def other(
        self, *, pool: str = "identity", hosts: Mapping[str, Host] | None = None, **options: object
    ) -> Balancer:
        """The driver with other options."""
        config = BalancerConfig(
            name="public",
            driver="haproxy",
            pool=pool,
            host="lb1" if hosts else "",
            options=options or {"socket": self.haproxy.socket},
        )
        return driver.create(config, secrets=Secrets(), hosts=hosts or {})

    async def until(self, server: str, wanted: Callable[[ServerState], bool]) -> ServerState:
        """Wait for what HAProxy finds out by itself."""
        return (await when(self.balancer, lambda servers: wanted(servers[server])))[server]

    def address(self, server: str) -> str:
        """Where it is."""
        return f"127.0.0.1:{self.apps[server].port}"

    def answers(self, server: str, status: int) -> None:
        """Let it answer its health check so from now on."""
        self.apps[server].status = status

    def reload(self, *, keep: bool) -> None:
        """Let another process of HAProxy take over, which loads what the one before was told, or does not."""
        self.haproxy.save_state()
        self.haproxy.reload(load_state=keep)

    @asynccontextmanager
    async def request_under_way(self) -> AsyncIterator["Request"]:
        """A request that `app1` answers when it is told to."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.haproxy.port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        yield Request(self.apps["app1"].go_on.set, reader.read)
        writer.close()
        await writer.wait_closed()


@dataclass
class Request:
    """A client's request: the server may be told to `answer` it, and `read` is what the client gets."""

    answer: Callable[[], None]
    read: Callable[[], Awaitable[bytes]]


class SimulatedPool(Pool):
    """The same in memory."""

    down = "DOWN"

    def __init__(self) -> None:
        self.site = SimulatedSite(a_site(2), "v1")
        self.balancer = self.site.balancers["public"]

    async def until(self, server: str, wanted: Callable[[ServerState], bool]) -> ServerState:
        """Wait for what its health check finds out, on simulated time."""
        for _ in range(100):
            if wanted(state := (await self.balancer.servers())[server]):
                return state
            await self.site.clock.sleep(0.1)
        raise TimeoutError

    def address(self, server: str) -> str:
        """Where it is."""
        return "127.0.0.1"

    def answers(self, server: str, status: int) -> None:
        """Break its health, or mend it."""
        self.site.nodes[server].broken = set() if status == OK else {"health"}
        self.site.settle()

    def reload(self, *, keep: bool) -> None:
        """Let another process take over."""
        self.site.reload("public", keep=keep)

    @asynccontextmanager
    async def request_under_way(self) -> AsyncIterator[Request]:
        """A session on `app1`, which goes on until it is answered or cut."""
        self.site.begin_sessions("app1", 3600)

        async def read() -> bytes:
            return b"" if self.site.clients.sessions_cut else b"HTTP/1.1 200 OK"

        yield Request(self.site.pools["public"].servers["app1"].sessions.clear, read)


async def when(
    balancer: Balancer, wanted: Callable[[Mapping[str, ServerState]], bool]
) -> Mapping[str, ServerState]:
    """Ask until the pool is as wanted."""
    async with asyncio.timeout(10):
        while not wanted(servers := await balancer.servers()):
            await asyncio.sleep(0.01)
    return servers


@pytest.fixture(params=["unix", "tcp", "unix-through-ssh", "simulated"])
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    """Each way to HAProxy in turn, and the simulation."""
    if request.param == "simulated":
        yield SimulatedPool()
        return
    async with AsyncExitStack() as stack:
        apps = {name: await stack.enter_async_context(backend()) for name in ("app1", "app2")}
        haproxy = stack.enter_context(private_haproxy(apps["app1"].port, apps["app2"].port))
        pool = Pool(None, haproxy, apps)  # type: ignore[arg-type] # set below
        if request.param == "unix":
            pool.balancer = pool.other()
        elif request.param == "tcp":
            pool.balancer = pool.other(address="127.0.0.1", port=haproxy.admin_port)
        else:
            server: PrivateSshd = request.getfixturevalue("sshd")
            host = SshHost(server.config("lb1"), secrets=Secrets(), hosts={})
            stack.push_async_callback(host.close)
            pool.balancer = pool.other(hosts={"lb1": host}, socket=haproxy.socket)
        stack.push_async_callback(pool.balancer.close)
        yield pool


one_way = pytest.mark.parametrize("pool", ["unix"], indirect=True)


async def test_it_reports_every_server_of_its_pool_and_no_other(pool: Pool) -> None:
    """With address, sessions, and that nothing was ever sent there."""
    servers = await pool.balancer.servers()
    assert set(servers) == {"app1", "app2"}
    state = servers["app1"]
    assert state.address == pool.address("app1")
    assert (state.admin, state.up, state.sessions, state.queued, state.idle) == (READY, True, 0, 0, -1)
    assert state.in_rotation


@pytest.mark.parametrize("state", [DRAIN, MAINT])
async def test_a_state_is_set_and_read_back_and_taken_back(pool: Pool, state: AdminState) -> None:
    """Of that server alone; setting it again changes nothing."""
    for _ in range(2):
        await pool.balancer.set_state("app1", state)
        servers = await pool.balancer.servers()
        assert (servers["app1"].admin, servers["app2"].admin) == (state, READY)
        assert not servers["app1"].in_rotation
    await pool.balancer.set_state("app1", READY)
    assert (await pool.balancer.servers())["app1"].in_rotation


async def test_maint_may_be_turned_into_drain_and_back(pool: Pool) -> None:
    """Whatever was told before, the last word counts."""
    for state in (MAINT, DRAIN, MAINT, DRAIN):
        await pool.balancer.set_state("app2", state)
        assert (await pool.balancer.servers())["app2"].admin is state


async def test_sessions_are_counted_while_they_last(pool: Pool) -> None:
    """A request under way is a session of its server, also once that drains; `idle` begins with it."""
    await pool.balancer.set_state("app2", DRAIN)
    async with pool.request_under_way() as request:
        state = await pool.until("app1", lambda state: state.sessions == 1)
        assert state.idle >= 0
        await pool.balancer.set_state("app1", DRAIN)
        assert (await pool.balancer.servers())["app1"].sessions == 1
        request.answer()
        await pool.until("app1", lambda state: state.sessions == 0)


async def test_cutting_ends_the_sessions_of_that_server(pool: Pool) -> None:
    """They are gone when it returns; the client sees its connection end."""
    await pool.balancer.set_state("app2", DRAIN)
    async with pool.request_under_way() as request:
        await pool.until("app1", lambda state: state.sessions == 1)
        await pool.balancer.set_state("app1", MAINT)
        await pool.balancer.cut("app1")
        assert (await pool.balancer.servers())["app1"].sessions == 0
        assert b" 200 " not in await request.read()


async def test_a_server_that_fails_its_check_is_not_up(pool: Pool) -> None:
    """The evidence says what the check saw; what it was told is known all the same."""
    pool.answers("app1", 503)
    state = await pool.until("app1", lambda state: not state.up)
    assert state.admin is READY
    assert state.check == pool.down
    await pool.balancer.set_state("app1", DRAIN)
    state = (await pool.balancer.servers())["app1"]
    assert (state.admin, state.up) == (DRAIN, False)
    pool.answers("app1", OK)
    assert (await pool.until("app1", lambda state: state.up)).admin is DRAIN


async def test_a_server_that_is_not_there_is_named_with_the_nearest_that_is(pool: Pool) -> None:
    """Nothing else is touched."""
    with pytest.raises(BalancerError, match=r"no server 'ap1'; did you mean 'app1'?"):
        await pool.balancer.set_state("ap1", MAINT)
    with pytest.raises(BalancerError, match="no server 'ap1'"):
        await pool.balancer.cut("ap1")
    assert {state.admin for state in (await pool.balancer.servers()).values()} == {READY}


@pytest.mark.parametrize(
    "name", ["app1; set server identity/app2 state maint", "app1\nquit", "", "app1 app2"]
)
async def test_a_name_that_cannot_be_one_never_reaches_the_balancer(pool: Pool, name: str) -> None:
    """Nothing can be slipped in behind a name."""
    with pytest.raises(BalancerError, match="cannot be the name"):
        await pool.balancer.set_state(name, MAINT)
    assert {state.admin for state in (await pool.balancer.servers()).values()} == {READY}


async def test_many_ask_at_once(pool: Pool) -> None:
    """Each gets its own answer."""
    answers = await asyncio.gather(
        *(pool.balancer.servers() for _ in range(50)), *(pool.balancer.version() for _ in range(50))
    )
    assert all(set(answer) == {"app1", "app2"} for answer in answers if isinstance(answer, Mapping))
    assert len({answer for answer in answers if isinstance(answer, str)}) == 1


@pytest.mark.not_simulated("it has no process; the reload below tells its versions apart")
async def test_the_version_tells_one_process_from_the_next(pool: Pool) -> None:
    """The same while it runs, another after a restart; the connection is opened again by itself."""
    before = await pool.balancer.version()
    assert before == await pool.balancer.version()
    assert f" pid {pool.haproxy.pid()} since 20" in before
    pool.haproxy.stop()
    with pytest.raises(BalancerError):
        await pool.balancer.version()
    pool.haproxy.start()
    assert f" pid {pool.haproxy.pid()} since 20" in await pool.balancer.version()


@pytest.mark.parametrize("saved", [True, False])
async def test_a_reload_keeps_what_it_was_told_only_if_the_state_is_saved(pool: Pool, saved: bool) -> None:
    """Saved and loaded, drain and maint are still there; otherwise the next reading shows that they are lost."""
    await pool.balancer.set_state("app1", MAINT)
    await pool.balancer.set_state("app2", DRAIN)
    before = await pool.balancer.version()
    pool.reload(keep=saved)
    admin = {name: state.admin for name, state in (await pool.balancer.servers()).items()}
    assert admin == ({"app1": MAINT, "app2": DRAIN} if saved else {"app1": READY, "app2": READY})
    assert await pool.balancer.version() != before


@pytest.mark.not_simulated("it has no process and no connection")
async def test_a_state_is_set_in_the_process_that_serves(pool: Pool) -> None:
    """The connection to the process from before the reload is given up, and that process can end."""
    await pool.balancer.set_state("app1", DRAIN)
    old = int(pool.haproxy.pid())
    pool.haproxy.reload(load_state=False)
    await pool.balancer.set_state("app1", MAINT)
    assert "identity 1 app1" in pool.haproxy.ask("show servers state identity")
    assert pool.haproxy.ask("show stat identity 4 -1").splitlines()[1].split(",")[17] == "MAINT"
    async with asyncio.timeout(10):
        while os.path.exists(f"/proc/{old}"):  # noqa: PTH110 - a process has no event
            await asyncio.sleep(0.01)


@one_way
async def test_one_connection_serves_all(pool: Pool) -> None:
    """It is opened once, not once for each question."""
    host = CountingHost(HostConfig(name="lb1", address=""), secrets=Secrets())
    balancer = pool.other(hosts={"lb1": host}, socket=pool.haproxy.socket)
    await balancer.set_state("app1", DRAIN)
    await asyncio.gather(*(balancer.servers() for _ in range(20)))
    await balancer.set_state("app1", READY)
    await balancer.close()
    assert host.opened == 1


@one_way
async def test_statuses_are_told_apart(pool: Pool) -> None:
    """Unchecked, dead, of weight 0, disabled in the configuration, following another server."""
    kinds = pool.other(pool="kinds")
    servers = await when(kinds, lambda servers: not servers["dead"].up and servers["follower"].check == "UP")
    seen = {name: (state.admin, state.up, state.check) for name, state in servers.items()}
    assert seen == {
        "unchecked": (READY, True, "no check"),
        "dead": (READY, False, "DOWN, L4CON: Connection refused"),
        "weightless": (DRAIN, True, "no check"),
        "disabled": (MAINT, False, "MAINT"),
        "follower": (READY, True, "UP"),
    }
    await pool.balancer.set_state("app1", MAINT)
    follower = (await kinds.servers())["follower"]
    assert (follower.admin, follower.up, follower.check) == (MAINT, False, "MAINT (via identity/app1)")
    await kinds.set_state("disabled", READY)
    assert (await kinds.servers())["disabled"].in_rotation
    await kinds.close()


@one_way
async def test_a_state_that_is_not_taken_on_is_an_error(pool: Pool) -> None:
    """A server of weight 0 stays in drain, one that follows another stays in maint: told, and seen not to obey."""
    kinds = pool.other(pool="kinds", socket=pool.haproxy.socket, timeout=0.3)
    with pytest.raises(
        BalancerError, match=r"weightless was told ready, and HAProxy reports drain \(no check\)"
    ):
        await kinds.set_state("weightless", READY)
    await pool.balancer.set_state("app1", MAINT)
    with pytest.raises(BalancerError, match=r"reports maint \(MAINT \(via identity/app1\)\)"):
        await kinds.set_state("follower", READY)
    await kinds.close()


@one_way
async def test_a_server_on_its_way_down_is_up_and_one_that_wants_no_new_sessions_is_not(pool: Pool) -> None:
    """`UP 1/3` still serves; `NOLB`, a health check answered by 404, is out of rotation by its own wish."""
    pool.apps["app1"].status = 404
    state = await pool.until("app1", lambda state: not state.up)
    assert state.check.startswith("NOLB, L7OKC 404")
    assert (state.admin, state.in_rotation) == (READY, False)


@one_way
async def test_a_server_that_leaves_maint_is_up_before_its_first_check(pool: Pool) -> None:
    """HAProxy sends it sessions at once, well or not: its health must have been seen by other means before."""
    await pool.balancer.set_state("app1", MAINT)
    pool.apps["app1"].status = 503
    command = "set server identity/app1 state ready; show stat identity 4 -1"
    line = next(line for line in pool.haproxy.ask(command).splitlines() if line.startswith("identity,app1,"))
    assert line.split(",")[17].startswith("UP")
    await pool.until("app1", lambda state: not state.up)


@one_way
async def test_a_pool_that_is_not_there_is_named_with_the_nearest_that_is(pool: Pool) -> None:
    """The error shows what it could have been."""
    balancer = pool.other(pool="identiy")
    with pytest.raises(BalancerError, match=r"no pool 'identiy'.*did you mean 'identity'?"):
        await balancer.servers()
    with pytest.raises(BalancerError, match="no pool 'identiy'"):
        await balancer.set_state("app1", DRAIN)
    await balancer.close()


@one_way
async def test_a_socket_that_permits_no_changes_is_an_error_that_says_so(pool: Pool) -> None:
    """Reading works, setting tells which level is missing."""
    balancer = pool.other(socket=pool.haproxy.user_socket)
    assert set(await balancer.servers()) == {"app1", "app2"}
    with pytest.raises(BalancerError, match="permits no changes") as caught:
        await balancer.set_state("app1", DRAIN)
    assert "level admin" in caught.value.hint
    await balancer.close()


@one_way
async def test_a_balancer_that_does_not_answer_is_an_error_and_is_found_again(pool: Pool) -> None:
    """A frozen process is noticed within the timeout, and asked anew when it goes on."""
    balancer = pool.other(socket=pool.haproxy.socket, timeout=0.3)
    await balancer.servers()
    pid = int(pool.haproxy.pid())
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(BalancerError, match=r"has not answered within 0.3 s"):
            await balancer.servers()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert set(await pool.balancer.servers()) == {"app1", "app2"}
    assert set(await balancer.servers()) == {"app1", "app2"}
    await balancer.close()


@one_way
async def test_nobody_listens(pool: Pool) -> None:
    """`BalancerError` names the balancer and the socket."""
    balancer = pool.other(socket="/nowhere/admin.sock")
    with pytest.raises(BalancerError, match=r"public: .*/nowhere/admin.sock"):
        await balancer.servers()
