"""A journal of each kind for every test that asks for one."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from changeover.engine.journal import Journal
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.records import Records
from tests.pg import postgres_server

__all__ = ["postgres_server"]


def place(kind: str, request: pytest.FixtureRequest) -> str:
    """Where a journal in a database of that kind may be kept."""
    if kind == "sqlite":
        return str(request.getfixturevalue("tmp_path") / "journal.db")
    return str(request.getfixturevalue("postgres_server").schema())


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a journal may be kept."""
    return place(request.param, request)


@pytest.fixture
async def stored(where: str) -> AsyncIterator[Journal]:
    """An empty journal in a database."""
    async with Journal.open(where) as journal:
        yield journal


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Records]:
    """An empty journal."""
    if request.param == "memory":
        yield MemoryJournal(time.time, gone=Owner.gone)
        return
    async with Journal.open(place(request.param, request)) as journal:
        yield journal
