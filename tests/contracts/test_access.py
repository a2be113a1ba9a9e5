"""The contract of the Access port, against real nftables in namespaces and the simulation; and what is nftables' own."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import msgspec
import pytest

from changeover.drivers import nftables
from changeover.drivers.secrets import Secrets
from changeover.drivers.ssh import SshHost
from changeover.errors import AccessError, SpecError
from changeover.lab.layout import APP_PORT
from changeover.model.site import AccessConfig, Application, Become, HostConfig, Site, Ssh
from changeover.ports import Access, Gating, Seen
from changeover.simulation import SimulatedSite
from tests.labkit import LabUnderTest, lab, lab_session
from tests.nftkit import (
    CONDUCTOR,
    HOST,
    OUTSIDE,
    TESTER,
    Clients,
    GatedHost,
    Machine,
    OutsideHost,
    gated_host,
)
from tests.sites import a_release, a_site

__all__ = ["lab", "lab_session"]

PUBLIC, OTHER, GUARDED, PAGE, ELSE = 8080, 8443, 9000, 8081, 8022
"""Two public ports, one that only the allowlist names, the page's, and one that is nobody's business."""

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n"
CLOSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nclosed\n"


def a_gated_site(page: int = PAGE, established: str = "cut") -> Site:
    """A site with a gate before one of its nodes, and a host of the public."""
    plain = a_site(1)
    gate = AccessConfig(
        name="public",
        driver="nftables",
        hosts=("app1",),
        ports=(PUBLIC, OTHER),
        allow={str(OTHER): (TESTER[4], f"{TESTER[6]}/128"), str(GUARDED): ("198.18.7.0/29", TESTER[4])},
        page=page,
        established=established,
        outside=("client1",),
    )
    hosts = (
        HostConfig("app1", HOST[4]),
        HostConfig("client1", OUTSIDE[4]),
        *(it for it in plain.hosts if it.name != "app1"),
    )
    return msgspec.structs.replace(plain, name="my-site", hosts=hosts, access=(gate,))


@dataclass
class Gated:
    """A gate on the host `app1`, whose application answers, and the host `client1` of the public."""

    access: Access

    async def serve(self, *, well: bool = True) -> None:
        """Let the application answer, or be gone."""
        raise NotImplementedError

    def flush(self) -> None:
        """Somebody flushes every rule on the host."""
        raise NotImplementedError

    def let_in(self) -> None:
        """Somebody lets somebody else in through the closed gate."""
        raise NotImplementedError

    async def boot(self) -> None:
        """The host boots."""
        raise NotImplementedError

    async def seen(self) -> set[Seen]:
        """What the public gets."""
        return set((await self.access.seen_from("client1")).values())

    async def gating(self) -> Gating:
        """What the host reports."""
        (state,) = (await self.access.state()).values()
        return state.gating


@dataclass
class SimulatedGate(Gated):
    """In memory."""

    site: SimulatedSite

    async def serve(self, *, well: bool = True) -> None:
        self.site.nodes["app1"].running = "v1" if well else ""
        self.site.settle()

    def flush(self) -> None:
        self.site.flush_rules("app1")

    def let_in(self) -> None:
        self.site.let_in("public", "app1", "192.0.2.7")

    async def boot(self) -> None:
        self.site.kill("app1")
        self.site.power("app1")
        await self.site.clock.sleep(self.site.durations.boot + self.site.durations.well)
        self.site.settle()


@dataclass
class RealGate(Gated):
    """On a host in namespaces."""

    host: Machine
    clients: Clients
    servers: dict[int, asyncio.Server] = field(default_factory=dict)
    conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def serve(self, *, well: bool = True, page: bool = True) -> None:
        for server in self.servers.values():
            server.close()
        self.servers.clear()
        wanted = {PUBLIC: WELL, OTHER: WELL, GUARDED: WELL, ELSE: WELL} if well else {}
        for port, answer in (wanted | ({PAGE: CLOSED} if page else {})).items():
            self.servers[port] = await asyncio.start_server(
                partial(self._converse, answer), sock=self.host.listen(port)
            )

    def _converse(self, answer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer everything with that, until the client ends it."""

        async def converse() -> None:
            with suppress(EOFError, OSError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(answer)
                    await writer.drain()

        self.conversations[asyncio.create_task(converse())] = writer

    async def close(self) -> None:
        """End every conversation."""
        await self.serve(well=False, page=False)
        for writer in self.conversations.values():
            writer.transport.abort()
        await asyncio.gather(*self.conversations)

    def flush(self) -> None:
        self.host.run("nft flush ruleset")

    def let_in(self) -> None:
        self.host.run("nft insert rule inet changeover_my/site_public let_in ip saddr 192.0.2.7 accept")

    async def boot(self) -> None:
        """The kernel knows no rule any more; then every unit that a boot wants is started."""
        self.flush()
        self.host.run(
            "cd /etc/systemd/system/sysinit.target.wants; for unit in changeover-*.service; do"
            ' [ ! -e "$unit" ] || sh -c "$(sed -n s/^ExecStart=//p "$unit")"; done'
        )


@asynccontextmanager
async def real_gate(site: Site) -> AsyncIterator[RealGate]:
    """A host in namespaces that serves, and its gate, which is open."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    with gated_host() as (host, clients):
        hosts = {"app1": GatedHost(host), "client1": OutsideHost(clients)}
        access = nftables.create(site.access[0], site=site, secrets=Secrets(), hosts=hosts)
        gated = RealGate(access, host, clients)
        await gated.serve()
        try:
            yield gated
        finally:
            await gated.close()


@pytest.fixture(params=["nftables", "simulated"])
async def gated(request: pytest.FixtureRequest) -> AsyncIterator[Gated]:
    """Each of those that keep the contract."""
    site = a_gated_site()
    if request.param == "simulated":
        simulated = SimulatedSite(site, "v1", release=a_release())
        yield SimulatedGate(simulated.world.access["public"], simulated)
        return
    async with real_gate(site) as real:
        yield real


@pytest.fixture
async def real() -> AsyncIterator[RealGate]:
    """What is nftables' own."""
    async with real_gate(a_gated_site()) as real:
        yield real


async def ask(real: RealGate, source: str, port: int) -> bytes:
    """What is answered there to that address; nothing if it is refused."""
    try:
        async with connected(real, source, port) as exchange:
            return await exchange()
    except ConnectionRefusedError:
        return b""


@asynccontextmanager
async def connected(real: RealGate, source: str, port: int) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """A connection from that address; each call asks once, and returns the first line of the answer."""
    connection = await asyncio.to_thread(real.clients.connect, source, port)
    reader, writer = await asyncio.open_connection(sock=connection)

    async def exchange() -> bytes:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        line = await reader.readuntil(b"\r\n")
        await reader.readuntil(b"\n\r\n")
        await reader.readline()
        return line.split()[1]

    try:
        yield exchange
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


# The contract


async def test_at_first_it_is_open(gated: Gated) -> None:
    """Nothing of it is there, and the public gets the application at each public port."""
    assert await gated.gating() is Gating.OPEN
    assert await gated.access.seen_from("client1") == {
        f"app1:{PUBLIC}": Seen.APPLICATION,
        f"app1:{OTHER}": Seen.APPLICATION,
    }
    assert await gated.access.version()


async def test_closed_the_public_gets_the_page(gated: Gated) -> None:
    """At every public port, however often it is closed."""
    for _ in range(2):
        states = await gated.access.shut()
        assert {host: state.gating for host, state in states.items()} == {"app1": Gating.CLOSED}
        assert await gated.gating() is Gating.CLOSED
        assert await gated.seen() == {Seen.PAGE}


async def test_opened_again_nothing_is_left_of_it(gated: Gated) -> None:
    """However often it is opened."""
    await gated.access.shut()
    for _ in range(2):
        states = await gated.access.reopen()
        assert {host: state.gating for host, state in states.items()} == {"app1": Gating.OPEN}
        assert await gated.seen() == {Seen.APPLICATION}


async def test_open_says_nothing_of_an_application_that_is_gone(gated: Gated) -> None:
    """It is refused, and comes back by itself."""
    await gated.serve(well=False)
    assert await gated.gating() is Gating.OPEN
    assert await gated.seen() == {Seen.REFUSED}
    await gated.serve()
    assert await gated.seen() == {Seen.APPLICATION}


async def test_somebody_elses_flush_shows_and_is_mended_by_closing(gated: Gated) -> None:
    """Neither open nor closed, whatever was flushed."""
    await gated.access.shut()
    gated.flush()
    assert await gated.gating() is Gating.PARTLY
    assert await gated.seen() == {Seen.APPLICATION}
    await gated.access.shut()
    assert await gated.gating() is Gating.CLOSED
    assert await gated.seen() == {Seen.PAGE}


async def test_after_somebody_elses_flush_opening_leaves_nothing(gated: Gated) -> None:
    """What was kept for the next boot is taken away, too."""
    await gated.access.shut()
    gated.flush()
    await gated.access.reopen()
    assert await gated.gating() is Gating.OPEN
    await gated.boot()
    assert await gated.gating() is Gating.OPEN


async def test_who_was_let_in_by_somebody_else_shows(gated: Gated) -> None:
    """A gate with a hole is not closed, and closing it again mends it."""
    await gated.access.shut()
    gated.let_in()
    assert await gated.gating() is Gating.PARTLY
    await gated.access.shut()
    assert await gated.gating() is Gating.CLOSED


async def test_a_boot_leaves_it_closed(gated: Gated) -> None:
    """Whoever has closed it may be dead by then."""
    await gated.access.shut()
    await gated.boot()
    assert await gated.gating() is Gating.CLOSED
    assert await gated.seen() == {Seen.PAGE}


async def test_a_boot_leaves_it_open(gated: Gated) -> None:
    """And what was open stays open."""
    await gated.access.shut()
    await gated.access.reopen()
    await gated.boot()
    assert await gated.gating() is Gating.OPEN


# What is nftables' own


async def test_the_allowlist_is_by_port(real: RealGate) -> None:
    """By IPv4 and IPv6: the page at public ports, a refusal at the port that only the allowlist names."""
    await real.access.shut()
    tester, outside = TESTER.values(), OUTSIDE.values()
    assert [await ask(real, it, OTHER) for it in tester] == [b"200"] * 2
    assert [await ask(real, it, PUBLIC) for it in tester] == [b"503"] * 2
    assert [await ask(real, it, OTHER) for it in outside] == [b"503"] * 2
    assert [await ask(real, it, GUARDED) for it in (TESTER[4], OUTSIDE[4])] == [b"200", b""]


async def test_the_conductor_and_every_other_port_are_let_through(real: RealGate) -> None:
    """It cannot lock itself out."""
    await real.access.shut()
    assert [await ask(real, CONDUCTOR, port) for port in (PUBLIC, OTHER, GUARDED, ELSE)] == [b"200"] * 4
    assert [await ask(real, it, ELSE) for it in OUTSIDE.values()] == [b"200"] * 2
    from_there = f"curl -s -o /dev/null -w '%{{http_code}}' http://{HOST[4]}:{PUBLIC}/"
    assert await asyncio.to_thread(real.host.run, from_there) == "200"


@pytest.mark.parametrize("page", [0, PAGE])
@pytest.mark.parametrize("source", [OUTSIDE[4], OUTSIDE[6]], ids=["4", "6"])
async def test_what_is_established_is_cut(source: str, page: int) -> None:
    """The next byte is answered with a reset; the testers' connections and the conductor's go on."""
    async with real_gate(a_gated_site(page)) as real, AsyncExitStack() as stack:
        public = await stack.enter_async_context(connected(real, source, PUBLIC))
        tester = await stack.enter_async_context(connected(real, TESTER[4], OTHER))
        conductor = await stack.enter_async_context(connected(real, CONDUCTOR, PUBLIC))
        assert [await it() for it in (public, tester, conductor)] == [b"200"] * 3
        await real.access.shut()
        with pytest.raises(ConnectionResetError):
            await public()
        assert [await it() for it in (tester, conductor)] == [b"200"] * 2


@pytest.mark.parametrize("page", [0, PAGE])
async def test_what_is_established_is_kept(page: int) -> None:
    """If that is declared; new connections are turned away all the same."""
    async with (
        real_gate(a_gated_site(page, established="keep")) as real,
        connected(real, OUTSIDE[4], PUBLIC) as public,
    ):
        assert await public() == b"200"
        await real.access.shut()
        assert [await public(), await public()] == [b"200"] * 2
        assert await ask(real, OUTSIDE[4], PUBLIC) == (b"503" if page else b"")


async def test_what_the_application_sends_by_itself_is_cut_too(real: RealGate) -> None:
    """No byte reaches the public any more, and the application learns of it."""
    real.servers.pop(PUBLIC).close()
    listening = real.host.listen(PUBLIC)
    client = await asyncio.to_thread(real.clients.connect, OUTSIDE[4], PUBLIC)
    accepted, _ = await asyncio.to_thread(listening.accept)
    with client, accepted, listening:
        accepted.sendall(b"before")
        assert client.recv(100) == b"before"
        await real.access.shut()
        accepted.sendall(b"after")
        with pytest.raises(ConnectionResetError):
            accepted.recv(100)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(100)


async def test_a_connection_with_the_page_goes_on(real: RealGate) -> None:
    """What was redirected is not what was begun before."""
    await real.access.shut()
    async with connected(real, OUTSIDE[4], PUBLIC) as page:
        assert [await page(), await page()] == [b"503"] * 2


async def test_what_others_redirect_is_closed_too(real: RealGate) -> None:
    """As the ports that containers publish: they are elsewhere by the time that a firewall sees them."""
    real.host.run(
        "nft -f - <<'END'\n"
        "table ip published {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat;\n"
        f"\t\ttcp dport {{ {PUBLIC}, {GUARDED} }} redirect to :{ELSE}\n\t}}\n}}\nEND"
    )
    real.servers.pop(PUBLIC).close()
    real.servers.pop(GUARDED).close()
    ports = (PUBLIC, GUARDED)
    async with connected(real, OUTSIDE[4], PUBLIC) as public:
        assert await public() == b"200"
        await real.access.shut()
        with pytest.raises(ConnectionResetError):
            await public()
    assert [await ask(real, OUTSIDE[4], port) for port in ports] == [b"503", b""]
    assert [await ask(real, CONDUCTOR, port) for port in ports] == [b"200", b"200"]


async def test_without_a_page_the_public_is_refused() -> None:
    """At once: with a reset, not by silence."""
    async with real_gate(a_gated_site(page=0)) as real:
        await real.access.shut()
        assert await real.seen() == {Seen.REFUSED}
        assert [await ask(real, it, PUBLIC) for it in OUTSIDE.values()] == [b""] * 2


async def test_datagrams_are_turned_away(real: RealGate) -> None:
    """HTTP/3 comes by UDP to the same ports."""
    server = real.host.within(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client = real.clients.within(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with server, client:
        server.bind((HOST[4], PUBLIC))
        server.settimeout(5)
        client.connect((HOST[4], PUBLIC))
        client.send(b"hello")
        assert server.recv(100) == b"hello"
        await real.access.shut()
        client.send(b"hello")
        client.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


async def test_nothing_but_its_own_is_touched(real: RealGate) -> None:
    """Somebody's own table is the same before, while it is closed, and after."""
    real.host.run(
        "nft -f - <<'END'\n"
        "table inet site {\n\tchain input {\n\t\ttype filter hook input priority 0; policy accept;\n"
        "\t\ttcp dport 25 drop\n\t}\n}\nEND"
    )
    files = "find /etc/changeover* /etc/systemd/system/changeover* /etc/systemd/system/*.wants/changeover* 2>/dev/null || true"
    before = real.host.run("nft list ruleset")
    await real.access.shut()
    assert before in real.host.run("nft list ruleset")
    assert real.host.run(files).splitlines() == [
        "/etc/changeover",
        "/etc/changeover/changeover-my-site-public.nft",
        "/etc/systemd/system/changeover-my-site-public.service",
        "/etc/systemd/system/sysinit.target.wants/changeover-my-site-public.service",
    ]
    await real.access.reopen()
    assert real.host.run("nft list ruleset") == before
    assert real.host.run(files) == ""


async def test_the_unit_is_one_that_systemd_can_read(real: RealGate) -> None:
    """It has nothing to complain about."""
    await real.access.shut()
    said = real.host.run(
        "systemd-analyze verify /etc/systemd/system/changeover-my-site-public.service 2>&1 || true"
    )
    assert "changeover" not in said


CHANGES = {
    "nft delete chain inet changeover_my/site_public leaving": "the chain leaving is gone",
    "nft flush chain inet changeover_my/site_public arriving": "the rules of the chain arriving were changed",
    "nft add chain inet changeover_my/site_public more": "a chain more was added",
    "nft add element inet changeover_my/site_public allowed4 '{ 8080 . 192.0.2.7 }'": "8080 . 192.0.2.7 was put into allowed4",
    "nft delete element inet changeover_my/site_public closed '{ 8443 }'": "8443 is no longer in closed",
    "rm /etc/systemd/system/changeover-my-site-public.service": "no unit loads it at boot",
    "rm /etc/systemd/system/sysinit.target.wants/changeover-my-site-public.service": "no unit loads it at boot",
    "rm /etc/changeover/changeover-my-site-public.nft": "no ruleset is kept for the next boot",
    "echo >>/etc/changeover/changeover-my-site-public.nft": "another ruleset is kept for the next boot",
    "nft add element inet changeover_my/site_public conductor4 '{ 192.0.2.7 }'": "another ruleset is kept for the next boot",
}


async def test_whatever_somebody_changes_is_told(real: RealGate) -> None:
    """Each change alone leaves the gate neither open nor closed, and says what it was."""
    for change, told in CHANGES.items():
        await real.access.shut()
        real.host.run(change)
        (state,) = (await real.access.state()).values()
        assert (state.gating, state.evidence) == (Gating.PARTLY, told)


async def test_without_the_page_it_cannot_be_used(real: RealGate) -> None:
    """Said before anything is closed."""
    await real.serve(page=False)
    with pytest.raises(AccessError, match="no maintenance page answers at port 8081 of app1"):
        await real.access.version()


async def test_without_nftables_it_cannot_be_used(real: RealGate) -> None:
    """The error names what is missing."""
    real.host.run('mount --bind /dev/null "$(command -v nft)"')
    with pytest.raises(AccessError, match="nftables is not installed there"):
        await real.access.version()


async def test_a_conductor_from_nowhere_closes_nothing(
    real: RealGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not get in again."""
    monkeypatch.setattr("tests.nftkit.CONDUCTOR", "")
    with pytest.raises(AccessError, match="does not tell from where the conductor comes"):
        await real.access.shut()
    assert await real.gating() is Gating.OPEN


async def test_the_port_that_the_conductor_comes_by_is_never_closed(
    real: RealGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is on the host: the file has the port that the conductor dials."""
    monkeypatch.setattr("tests.nftkit.SSHD", PUBLIC)
    with pytest.raises(AccessError, match="the conductor comes to app1 by port 8080: it is not closed"):
        await real.access.shut()
    assert await real.gating() is Gating.OPEN


def test_sshs_port_is_refused() -> None:
    """By the driver, too: not every site comes from our file."""
    site = a_gated_site()
    hosts = tuple(
        msgspec.structs.replace(host, ssh=Ssh(port=PUBLIC)) if host.name == "app1" else host
        for host in site.hosts
    )
    site = msgspec.structs.replace(site, hosts=hosts)
    with pytest.raises(SpecError, match="port 8080 is SSH's on app1"):
        nftables.create(site.access[0], site=site, secrets=Secrets(), hosts={})


# On a host that boots


@pytest.fixture
async def in_the_lab(lab: LabUnderTest) -> AsyncIterator[tuple[LabUnderTest, Access, SshHost]]:
    """A gate before a node of the lab, by SSH and sudo; another node is the public."""
    ssh = Ssh(user="deploy", key=str(lab.key), known_hosts=str(lab.known_hosts))
    configs = tuple(
        HostConfig(name, lab.addresses[name], ssh=ssh, become=Become()) for name in ("app2", "app3")
    )
    gate = AccessConfig("public", "nftables", ("app2",), (APP_PORT,), outside=("app3",))
    site = Site("lab", configs, Application("app", (), {}), access=(gate,))
    hosts = {it.name: SshHost(it, secrets=Secrets(), hosts={}) for it in configs}
    yield lab, nftables.create(gate, site=site, secrets=Secrets(), hosts=hosts), hosts["app2"]
    for host in hosts.values():
        await host.close()


@pytest.mark.lab
async def test_a_power_cut_leaves_it_closed_from_the_first_packet_on(
    in_the_lab: tuple[LabUnderTest, Access, SshHost],
) -> None:
    """The host comes up closed before it has a network, lets the conductor in, and is opened by it."""
    lab, access, connection = in_the_lab
    where = f"app2:{APP_PORT}"
    before = lab.run_on("app2", "nft list ruleset")
    assert await access.seen_from("app3") == {where: Seen.APPLICATION}
    await access.shut()
    assert await access.seen_from("app3") == {where: Seen.REFUSED}
    lab.world.cut_power("app2")
    await connection.close()
    lab.cluster.mend("app2")  # which asks its node from where the conductor is
    lab.run_on("app2", "systemctl --wait is-system-running >/dev/null || :; systemctl is-active ssh.service")
    assert [it.gating for it in (await access.state()).values()] == [Gating.CLOSED]
    assert await access.seen_from("app3") == {where: Seen.REFUSED}
    gate, network, node = (
        int(lab.run_on("app2", f"systemctl show --property ActiveEnterTimestampMonotonic --value {unit}"))
        for unit in ("changeover-lab-public.service", "ssh.service", "lab-app.service")
    )
    assert 0 < gate < min(network, node)
    await access.reopen()
    assert await access.seen_from("app3") == {where: Seen.APPLICATION}
    assert lab.run_on("app2", "nft list ruleset") == before
    assert lab.run_on("app2", "find /etc -name '*changeover*'") == ""
