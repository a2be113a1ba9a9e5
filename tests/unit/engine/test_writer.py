"""The writer: durable, in order, and many at once."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy.engine import Connection

from changeover.engine import lease as leases
from changeover.engine.events import StepChanged
from changeover.engine.journal import Journal
from changeover.engine.owner import Owner
from changeover.engine.store import Store
from changeover.engine.writer import Writer
from changeover.errors import JournalError
from changeover.model.states import StepState
from tests.enginekit import a_plan, a_step, begin

T = TypeVar("T")


class Counting(Store):
    """A store that counts its transactions; the next one fails if it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.written = 0
        self.fails: Exception | None = None

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.written += 1
        if self.fails:
            raise self.fails
        return await super().write(work)


def changes(count: int) -> list[StepChanged]:
    """So many events that follow the creation and the claim."""
    return [StepChanged(seq=seq, step="x", state=StepState.RUNNING) for seq in range(3, 3 + count)]


async def test_what_arrives_together_is_written_together(where: str) -> None:
    """A hundred events in no more than three transactions, and in the order they came."""
    store = Counting(where)
    async with Journal(store) as journal:
        run = await begin(journal, a_plan([a_step("x")]))
        writer = Writer(store, await leases.claim(store, run, Owner.current(), 0.0), lambda _: None)
        before = store.written
        events = changes(100)
        await asyncio.gather(*(writer.append([event]) for event in events))
        assert store.written - before <= 3
        assert (await journal.events(run))[2:] == events


async def test_an_event_is_durable_when_append_returns(where: str) -> None:
    """Another process sees it then."""
    async with Journal.open(where) as journal, Journal.open(where) as other:
        run = await begin(journal, a_plan([a_step("x")]))
        writer = Writer(
            journal.store, await leases.claim(journal.store, run, Owner.current(), 0.0), lambda _: None
        )
        (event,) = changes(1)
        await writer.append([event])
        assert (await other.events(run))[-1] == event


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (JournalError("disk full"), "disk full"),
        (ZeroDivisionError("a defect"), "ZeroDivisionError: a defect"),
    ],
)
async def test_after_a_failure_nothing_is_written_any_more(where: str, raised: Exception, says: str) -> None:
    """Everyone who waits hears of it, and so does everyone who comes later."""
    store = Counting(where)
    async with Journal(store) as journal:
        run = await begin(journal, a_plan([a_step("x")]))
        writer = Writer(store, await leases.claim(store, run, Owner.current(), 0.0), lambda _: None)
        store.fails = raised
        results = await asyncio.gather(
            *(writer.append([event]) for event in changes(3)), return_exceptions=True
        )
        assert [str(result) for result in results] == [says] * 3
        store.fails = None
        with pytest.raises(JournalError, match=says):
            await writer.append(changes(1))
        assert len(await journal.events(run)) == 2
