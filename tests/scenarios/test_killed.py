"""The conductor killed at random moments of a rolling run in the lab, under load."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from changeover.engine.events import Event, StepChanged
from changeover.engine.journal import Journal
from changeover.model.states import RunState, StepState
from changeover.probe import ledger
from tests.labkit import LabUnderTest

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
KILLS = 12
SEED = 20261121


async def test_killed_again_and_again_the_run_comes_to_its_end(
    fresh_lab: LabUnderTest, tmp_path: Path
) -> None:
    """Given SIGKILL at random moments, then no finished step is repeated, none is lost, and no write is lost."""
    chance = random.Random(SEED)
    kills, runs = 0, 0
    while kills < KILLS:
        if runs:
            fresh_lab.cluster.reset()
        runs += 1
        before = {node: _starts(fresh_lab, node) for node in fresh_lab.nodes}
        book = tmp_path / f"probe-{runs}.jsonl"
        probe = await _begin(
            "probe", fresh_lab.url, "--profile", "lab", "--rate", "50", "--ledger", str(book)
        )
        try:
            kills += await _run_with_kills(fresh_lab, tmp_path / f"journal-{runs}.db", chance)
        finally:
            probe.send_signal(signal.SIGTERM)
            await asyncio.wait_for(probe.wait(), 60)
        cost = ledger.read(book).summary()
        assert cost.writes.acknowledged > 0
        assert (cost.writes.missing, cost.writes.unverified) == (0, 0)
        for node in fresh_lab.nodes:
            assert _starts(fresh_lab, node) - before[node] == 1, f"{node} was not started just once"


async def _run_with_kills(lab: LabUnderTest, where: Path, chance: random.Random) -> int:
    """Run the upgrade, killing each conductor after a few more events; return how many were killed."""
    kills = 0
    command: tuple[str, ...] = ("run", "--yes", "--on-stop", "return")
    async with Journal.open(where) as journal:
        while True:
            conductor = await _begin(
                *command,
                "--file",
                str(lab.cluster.directory.path / "changeover.yaml"),
                "--journal",
                str(where),
            )
            ended = asyncio.create_task(conductor.wait())
            limit = len(await _events(journal)) + chance.randint(6, 18)
            while not ended.done() and len(await _events(journal)) < limit:
                await asyncio.sleep(0.01)
            if ended.done():
                assert ended.result() == 0
                break
            os.kill(conductor.pid, signal.SIGKILL)
            await ended
            kills += 1
            if await journal.runs():
                command = ("resume", "--on-stop", "return")
        [record] = await journal.runs()
        assert record.state is RunState.WAITING
        _check(await journal.events(record.run))
        status = await journal.status(record.run)
        assert status.steps_in(StepState.WAITING) == ["finalize/approve"]
    return kills


def _starts(lab: LabUnderTest, node: str) -> int:
    """How often v2 has come up on a node, by systemd's journal there."""
    log = lab.run_on(node, "journalctl --unit=lab-app.service --output=cat --no-pager")
    return log.count("release v2 is ready")


async def _events(journal: Journal) -> list[Event]:
    runs = await journal.runs()
    return await journal.events(runs[0].run) if runs else []


def _check(events: list[Event]) -> None:
    """No step begins again after it was done."""
    done: set[str] = set()
    for event in events:
        if not isinstance(event, StepChanged):
            continue
        if event.state is StepState.RUNNING:
            assert event.step not in done, f"{event.step} was repeated after it was done"
        elif event.state is StepState.DONE:
            assert event.step not in done
            done.add(event.step)


async def _begin(*arguments: str) -> asyncio.subprocess.Process:
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        CHANGEOVER, *arguments, stdin=quiet, stdout=quiet, stderr=quiet
    )
