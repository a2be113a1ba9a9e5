"""A journal of each kind for every test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from changeover.engine.journal import Journal
from tests.pg import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a journal may be kept."""
    if request.param == "sqlite":
        return str(tmp_path / "journal.db")
    return str(request.getfixturevalue("postgres_server").schema())


@pytest.fixture
async def journal(where: str) -> AsyncIterator[Journal]:
    """An empty journal."""
    async with Journal.open(where) as journal:
        yield journal
