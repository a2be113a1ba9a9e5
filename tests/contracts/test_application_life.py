"""The contract of the Application port as strategies rely on it: a node's life, by real bindings and simulated.

How a binding is performed (shell lines, HTTP, SQL, files, units) is held in `test_application.py`; the simulation
has no bindings.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from changeover.drivers import bindings
from changeover.drivers.local import LocalHost
from changeover.drivers.secrets import Secrets
from changeover.errors import ApplicationError, SpecError
from changeover.model.release import Release
from changeover.model.site import Application as Described
from changeover.model.site import Binding, File, HostConfig, Http, Node, Shell, Site
from changeover.ports import Answer, Application
from changeover.simulation import SimulatedSite
from tests.sites import a_site
from tests.sshdkit import free_port

SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.path.basename(os.getcwd()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""Answers every request with the name of its directory, which is that of its release."""

BOUND: dict[str, Binding] = {
    "install": Shell("mkdir -p {base}/releases/{release}; cp {base}/server.py {base}/releases/{release}"),
    "installed": Shell("test -d {base}/releases/{release}"),
    "remove": Shell("rm -rf {base}/releases/{release}"),
    "switch": File("{base}/current", link="{base}/releases/{release}"),
    "release": Shell("readlink {base}/current", match="([^/]+)$"),
    "start": Shell(
        "readlink -e /proc/$(cat {base}/pid)/exe && exit; cd -P {base}/current || exit 1; "
        "setsid {python} server.py {port} </dev/null >/dev/null 2>&1 & echo $! >{base}/pid"
    ),
    "running": Shell("readlink -e /proc/$(cat {base}/pid)/exe"),
    "stop": Shell(
        "pid=$(cat {base}/pid); kill $pid; while readlink -e /proc/$pid/exe; do sleep 0.01; done; true"
    ),
    "health": Http("http://{address}:{port}/health"),
    "version": Http("http://{address}:{port}/version", match="(.*)"),
}


@dataclass
class Subject:
    """An application with one node `app1`, of release v1, stopped; and how to wait, and to kill it unasked."""

    application: Application
    wait: Callable[[], Awaitable[None]]
    kill: Callable[[], None]

    async def until(self, capability: str) -> Answer:
        """Ask until the answer is well."""
        for _ in range(1000):
            if (answer := await self.application.ask(capability, "app1")).ok:
                return answer
            await self.wait()
        raise TimeoutError(answer)


@pytest.fixture(params=["bindings", "simulated"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """A server on this machine, and one in memory."""
    if request.param == "simulated":
        site = SimulatedSite(a_site(1), "v1")
        site.nodes["app1"].running = ""

        def die() -> None:
            site.nodes["app1"].running = ""
            site.settle()

        yield Subject(site.application, lambda: site.clock.sleep(0.1), die)
        return
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "pid").write_text("0\n")
    config = HostConfig("app1", "127.0.0.1", driver="local")
    host = LocalHost(config, secrets=Secrets())
    variables = {"base": str(tmp_path), "port": str(free_port()), "python": sys.executable}
    described = Described("app", (Node("app1", "app1"),), BOUND, variables=variables)
    made = bindings.create(
        Site("s", (config,), described),
        Release("v1", "v2"),
        secrets=Secrets(),
        hosts={"app1": host},
        databases={},
    )
    await made.do("install", "app1", release="v1")
    await made.do("switch", "app1", release="v1")

    def pid() -> int:
        return int((tmp_path / "pid").read_text())

    yield Subject(made, lambda: asyncio.sleep(0.01), lambda: os.kill(pid(), signal.SIGKILL))
    if (await made.ask("running", "app1")).ok:
        await made.do("stop", "app1")
    await made.close()
    await host.close()


async def test_a_release_is_installed_beside_the_other_and_removed(subject: Subject) -> None:
    """Each of them is there or not by itself; done twice, it is as done once."""
    application = subject.application
    assert (await application.ask("installed", "app1", release="v1")).ok
    for capability, there in (("install", True), ("remove", False)):
        for _ in range(2):
            await application.do(capability, "app1", release="v2")
            assert (await application.ask("installed", "app1", release="v2")).ok is there
            assert (await application.ask("installed", "app1", release="v1")).ok


async def test_a_node_starts_gets_well_and_stops(subject: Subject) -> None:
    """Stopped it answers nothing, which is an answer; started twice or stopped twice it is as once."""
    application = subject.application
    for capability in ("running", "health", "version"):
        assert not (await application.ask(capability, "app1")).ok
    for _ in range(2):
        await application.do("start", "app1")
        assert (await application.ask("running", "app1")).ok
    await subject.until("health")
    assert (await application.ask("version", "app1")).value == "v1"
    for _ in range(2):
        await application.do("stop", "app1")
        for capability in ("running", "health", "version"):
            assert not (await application.ask(capability, "app1")).ok


async def test_a_switch_is_read_back_and_takes_effect_with_the_next_start(subject: Subject) -> None:
    """What runs goes on as it is."""
    application = subject.application
    await application.do("start", "app1")
    await subject.until("health")
    await application.do("install", "app1", release="v2")
    for _ in range(2):
        await application.do("switch", "app1", release="v2")
        assert (await application.ask("release", "app1")).value == "v2"
    assert (await application.ask("version", "app1")).value == "v1"
    await application.do("stop", "app1")
    await application.do("start", "app1")
    await subject.until("health")
    assert (await application.ask("version", "app1")).value == "v2"


async def test_a_node_that_died_does_not_run_and_can_be_started(subject: Subject) -> None:
    """Nobody told it to stop."""
    application = subject.application
    await application.do("start", "app1")
    await subject.until("health")
    subject.kill()
    for _ in range(1000):
        if not (await application.ask("running", "app1")).ok:
            break
        await subject.wait()
    assert not (await application.ask("health", "app1")).ok
    await application.do("start", "app1")
    assert (await subject.until("health")).ok


async def test_what_is_not_bound_is_named(subject: Subject) -> None:
    """To do and to ask, with what could bind it."""
    application = subject.application
    assert application.can("start")
    assert not application.can("flush")
    for call in (application.do, application.ask):
        with pytest.raises(ApplicationError, match="flush is not bound") as caught:
            await call("flush", "app1")
        assert "shell line" in caught.value.hint


@pytest.mark.parametrize("value", ["", "..", "2/../../x"])
async def test_a_value_that_would_lead_elsewhere_is_refused(subject: Subject, value: str) -> None:
    """Removing it removes nothing."""
    with pytest.raises(ApplicationError, match="remove on app1: release cannot be"):
        await subject.application.do("remove", "app1", release=value)
    assert (await subject.application.ask("installed", "app1", release="v1")).ok


async def test_a_node_that_is_not_of_the_site_is_an_error(subject: Subject) -> None:
    """It is named."""
    with pytest.raises(SpecError, match="'app9'"):
        await subject.application.ask("running", "app9")
