import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from changeover.probe.exchange import Site
from changeover.probe.ledger import Ledger, Writer, read
from changeover.probe.profile import Profile
from changeover.probe.running import Probe
from changeover.probe.schedule import Load
from tests.unit.probe.scripted import NOTES, JumpClock, Measure, ScriptedSite, header


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedSite]:
    """A site on loopback, in this process."""
    site = ScriptedSite()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield site
    server.close()


@pytest.fixture
def clock() -> JumpClock:
    """A clock of the tests' own."""
    return JumpClock()


@pytest.fixture
def measure(scripted: ScriptedSite, clock: JumpClock, tmp_path: Path) -> Measure:
    """Run the probe over the scripted site, one request after the other, and read its ledger."""

    async def run(load: Load, profile: Profile = NOTES, secrets: dict[str, str] | None = None) -> Ledger:
        path = tmp_path / "ledger.jsonl"
        with Writer(path, header(scripted.url, load, profile)) as writer:
            site = Site(scripted.url, load.timeout, headers=profile.headers)
            probe = Probe(site, profile, load, secrets=secrets or {}, writer=writer, clock=clock, run="t")
            clock.idle = lambda: not probe.in_flight
            await probe.run(asyncio.Event())
        return read(path)

    return run
