"""What every scenario has."""

from collections.abc import AsyncIterator

import pytest

from tests.scenarios import operator


@pytest.fixture(autouse=True)
async def _operators_leave() -> AsyncIterator[None]:
    """Every operator of the test lets go of the site and of the journal at its end."""
    yield
    while operator.AT_WORK:
        await operator.AT_WORK.pop().conductor.close()
