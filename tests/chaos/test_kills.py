"""Whatever moment a conductor is killed at: no finished step is repeated, none is lost, the order is kept."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from changeover.engine.events import Verb
from changeover.engine.faults import FAULT_POINTS
from changeover.engine.fold import RunStatus
from changeover.engine.journal import Journal
from changeover.model.states import RunState, StepState
from tests.chaos import files
from tests.chaos.harness import Chaos, DieAt, retry_and_approve
from tests.pg import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the journal is."""
    if request.param == "sqlite":
        return str(tmp_path / "journal.db")
    return str(request.getfixturevalue("postgres_server").schema())


async def mend_and_retry(journal: Journal, status: RunStatus, directory: Path) -> None:
    """The person whom the engine asks when an effect is half there."""
    for step in status.steps_in(StepState.FAILED):
        assert "half of the file is there" in status.steps[step].evidence
        files.mend(directory, step)
    await retry_and_approve(journal, status, directory)
    if status.state is RunState.PAUSED:
        await journal.command(status.run, Verb.CONTINUE, actor="person")


def see_through(directory: Path, journal: str, deaths: Iterator[DieAt | float], **more: Any) -> list[str]:
    """One run with its deaths, and where they came; everything that must hold afterwards is asserted here."""
    directory.mkdir()
    chaos = Chaos(more.pop("build", files.rolling), directory, journal, deaths, mend_and_retry, **more)
    status = chaos.finish()
    words = files.counts(directory)
    steps = [step.id for step in status.plan.steps() if not step.person]
    assert status.state is RunState.DONE
    assert status.counts[StepState.DONE] == len(status.steps)
    assert words["repeated"] == 0
    assert words["disorder"] == 0
    assert Counter(name for word, name, _ in files.log(directory) if word == "made") <= Counter(steps)
    assert all(files.effect(directory, step).exists() for step in steps)
    # Nothing is begun again but what was in flight when a conductor died.
    assert words["begin"] <= len(steps) + len(chaos.killed) * files.NODES
    return chaos.killed


def killed_often(directory: Path, journal: str, seed: int, kills: int) -> None:
    """Runs one after another, until so many conductors were killed: at any fault point, or at any moment."""
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails
    rng = random.Random(seed)
    killed = 0

    def deaths() -> Iterator[DieAt | float]:
        yield DieAt(rng.randint(1, 20))
        while killed < kills:
            yield DieAt(rng.randint(1, 90)) if rng.random() < 0.5 else rng.uniform(0.02, 0.3)

    for number in itertools.count():
        left = kills - killed
        if left <= 0:
            return
        killed += len(see_through(directory / str(number), journal, itertools.islice(deaths(), left)))


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random(tmp_path: Path, journal: str, seed: int) -> None:
    """The short form, for the daily loop."""
    killed_often(tmp_path, journal, seed, kills=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 106))
def test_killed_at_random_often(tmp_path: Path, journal: str, seed: int) -> None:
    """Many more of the same."""
    killed_often(tmp_path, journal, seed, kills=16)


@pytest.mark.slow
@pytest.mark.parametrize("point", [point for point in FAULT_POINTS if not point.startswith("renew")])
def test_killed_at_every_fault_point(tmp_path: Path, journal: str, point: str) -> None:
    """Each named point is reached, and dying there, early and later, loses nothing."""
    in_flight = DieAt(30, "performing")  # so that something is in doubt
    deaths = iter([in_flight, *(DieAt(nth, point) for nth in (1, 1, 2))])
    assert point in see_through(tmp_path / "run", journal, deaths)


@pytest.mark.slow
@pytest.mark.parametrize("point", [point for point in FAULT_POINTS if point.startswith("renew")])
def test_killed_while_renewing(tmp_path: Path, journal: str, point: str) -> None:
    """The same around the renewal of the lease, in a run that lasts for several."""
    deaths = iter([DieAt(1, point), DieAt(2, point)])
    assert point in see_through(tmp_path / "run", journal, deaths, build=files.slow_rolling, lease=2.0)
