"""Two conductors on one journal: the second takes over, the first is fenced."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from changeover.engine import tables
from changeover.engine.events import Claimed, Event
from changeover.engine.journal import Journal
from changeover.engine.owner import Owner
from changeover.model.states import RunState
from tests.chaos import files
from tests.chaos.harness import FENCED, Conducting, end, start, wait_for
from tests.pg import PostgresServer, postgres_server

__all__ = ["postgres_server"]

LEASE = 1.5


async def begin(journal: str, directory: Path) -> str:
    async with Journal.open(journal) as opened:
        return await opened.create_run(
            files.slow_rolling(directory).plan, actor="chaos", reason="", owner=Owner.current()
        )


def events(journal: str, run: str) -> list[Event]:
    async def read() -> list[Event]:
        async with Journal.open(journal) as opened:
            return await opened.events(run)

    return asyncio.run(read())


def claims(journal: str, run: str) -> int:
    return sum(isinstance(event, Claimed) for event in events(journal, run))


@pytest.fixture
def journal(postgres_server: PostgresServer) -> str:
    """A journal that several machines could share."""
    return postgres_server.schema()


@pytest.fixture
def pair(tmp_path: Path, journal: str) -> tuple[str, Conducting]:
    """A run, and how to start a conductor of it that looks like one of another machine."""
    run = asyncio.run(begin(journal, tmp_path))
    return (
        run,
        Conducting(files.slow_rolling, tmp_path, journal, run, lease=LEASE, elsewhere=True, standby=True),
    )


@pytest.mark.slow
def test_the_second_conductor_takes_over_when_the_first_is_killed(
    tmp_path: Path, journal: str, pair: tuple[str, Conducting]
) -> None:
    """All it can go by is the lease; then it finishes what the other began."""
    run, conducting = pair
    first = start(conducting)
    wait_for(
        "a first effect", lambda: (tmp_path / "effects.log").exists() and files.counts(tmp_path)["made"] > 3
    )
    second = start(conducting)
    first.kill()
    assert end(first) == -signal.SIGKILL
    assert end(second) == 0
    words = files.counts(tmp_path)
    assert words["repeated"] == words["disorder"] == 0
    assert claims(journal, run) == 2
    assert asyncio.run(_state(journal, run)) is RunState.WAITING


@pytest.mark.slow
def test_a_conductor_that_was_frozen_is_fenced_when_it_wakes(
    tmp_path: Path, journal: str, pair: tuple[str, Conducting]
) -> None:
    """It begins nothing, records nothing, and ends by saying so."""
    run, conducting = pair
    first = start(conducting)
    assert first.pid is not None
    wait_for(
        "a first effect", lambda: (tmp_path / "effects.log").exists() and files.counts(tmp_path)["made"] > 3
    )
    os.kill(first.pid, signal.SIGSTOP)
    second = start(conducting)
    wait_for("the takeover", lambda: claims(journal, run) == 2)
    begun = [line for line in files.log(tmp_path) if line[0] == "begin" and line[2] == first.pid]
    os.kill(first.pid, signal.SIGCONT)
    assert end(first) == FENCED
    assert end(second) == 0
    assert begun == [line for line in files.log(tmp_path) if line[0] == "begin" and line[2] == first.pid]
    asserted = [event for event in events(journal, run) if isinstance(event, Claimed)]
    assert [claim.epoch for claim in asserted] == [1, 2]
    assert asyncio.run(_epochs_in_order(journal, run))
    assert asyncio.run(_state(journal, run)) is RunState.WAITING


async def _state(journal: str, run: str) -> RunState:
    async with Journal.open(journal) as opened:
        return (await opened.status(run)).state


async def _epochs_in_order(journal: str, run: str) -> bool:
    """Whether every event after the takeover was written by the second conductor."""
    async with Journal.open(journal) as opened:
        query = sa.select(tables.event.c.epoch).where(tables.event.c.run == run).order_by(tables.event.c.seq)
        epochs = await opened.store.read(lambda connection: list(connection.execute(query).scalars()))
    return epochs == sorted(epochs) and set(epochs) == {0, 1, 2}
