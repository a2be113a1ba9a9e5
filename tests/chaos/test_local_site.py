"""The real plan over real local hosts: HAProxy, PostgreSQL and nodes as processes, its conductors killed."""

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.actions import ACTIONS
from changeover.conductor import Conductor
from changeover.drivers.secrets import Secrets
from changeover.engine.events import Event, StepChanged
from changeover.engine.guard import Guard
from changeover.engine.journal import Journal
from changeover.lab import operations
from changeover.lab.layout import Form, Layout
from changeover.model.plan import Plan
from changeover.model.states import RunState, StepState
from changeover.probe import ledger
from changeover.wiring import make_world
from tests.chaos.harness import Built, Chaos, DieAt, retry_and_approve
from tests.pg import postgres_server

__all__ = ["postgres_server"]

pytestmark = pytest.mark.slow

KILLS = 40
"""Of conductors, for each kind of journal."""

RATE = 30


def build(directory: Path) -> Built:
    """The reviewed plan, and the ports of the site that it is for."""
    plan = Plan.from_json((directory / "plan.json").read_bytes())
    world = make_world(plan.site, plan.release, Secrets())
    return Built(plan, world, ACTIONS, lambda run: Guard(plan, world, run))


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """The directory of an embedded lab whose nodes start at once."""
    layout = Layout(
        name=f"chaos-{os.getpid()}", form=Form.EMBEDDED, startup_seconds=0.1, session_idle_seconds=2
    )
    lab = operations.up(layout)
    try:
        yield lab.directory.path
    finally:
        operations.down(layout.name)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_over_real_local_hosts(
    site: Path, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whatever moment they are killed at: no node is started twice, no step is repeated or lost, no write is lost."""
    where = str(request.getfixturevalue("postgres_server").create()) if kind == "postgresql" else ""
    chance = random.Random(20261121)
    killed = 0
    for number in itertools.count():
        if killed >= KILLS:
            return
        run = tmp_path / str(number)
        run.mkdir()
        operations.find(site.name).reset()
        killed += _upgrade(site, run, where or str(run / "journal.db"), chance)


def _upgrade(site: Path, run: Path, where: str, chance: random.Random) -> int:
    """One upgrade with its deaths under load; everything that must hold afterwards is asserted here."""
    plan = asyncio.run(_plan(site, where))
    (run / "plan.json").write_bytes(plan.to_json())
    book = run / "probe.jsonl"
    probe = _probe(operations.find(site.name).site()["balancer"]["url"], book)
    try:
        deaths = iter(
            [
                DieAt(chance.randint(1, 60)) if chance.random() < 0.5 else chance.uniform(0.05, 1.0)
                for _ in range(25)
            ]
        )
        chaos = Chaos(build, run, where, deaths, retry_and_approve)
        status = chaos.finish()
    finally:
        probe.send_signal(signal.SIGTERM)
        probe.wait(60)
    assert status.state is RunState.DONE
    assert status.counts[StepState.DONE] == len(status.steps)
    _no_step_repeated(asyncio.run(_events(where, status.run)))
    for node in status.plan.site.application.nodes:
        log = (site / "hosts" / node.name / "service.log").read_text()
        assert log.count("release v2 is ready") == 1, f"{node.name} was started more than once"
    cost = ledger.read(book).summary()
    assert cost.writes.acknowledged > 0
    assert (cost.writes.missing, cost.writes.unverified) == (0, 0)
    return len(chaos.killed)


async def _plan(site: Path, where: str) -> Plan:
    conductor = Conductor.from_file(site / "changeover.yaml", journal=where)
    try:
        return await conductor.plan()
    finally:
        await conductor.close()


async def _events(where: str, run: str) -> list[Event]:
    async with Journal.open(where) as journal:
        return await journal.events(run)


def _no_step_repeated(events: list[Event]) -> None:
    done: set[str] = set()
    for event in events:
        if isinstance(event, StepChanged) and event.state is StepState.RUNNING:
            assert event.step not in done, f"{event.step} was repeated after it was done"
        elif isinstance(event, StepChanged) and event.state is StepState.DONE:
            done.add(event.step)


def _probe(url: str, book: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "changeover.probe", url, "--profile", "lab", "--rate", str(RATE)]
    probe = subprocess.Popen(
        [*command, "--sessions", "5", "--session-length", "5", "--ledger", str(book)],
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not book.exists():
        assert probe.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    return probe
