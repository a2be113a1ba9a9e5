"""The writer: durable, in order, and many at once."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from changeover.engine.events import StepChanged
from changeover.engine.journal import Journal
from changeover.engine.lease import Lease
from changeover.engine.owner import Owner
from changeover.engine.port import Entry
from changeover.engine.records import Records
from changeover.engine.writer import Writer
from changeover.errors import JournalError
from changeover.model.states import StepState
from tests.enginekit import a_plan, a_step, begin


@dataclass
class Counting:
    """Counts the transactions of a journal; the next one fails if it is told to."""

    journal: Records
    appended: int = 0
    fails: Exception | None = None

    async def append(self, lease: Lease, entries: Sequence[Entry], *, before: Callable[[], None]) -> None:
        self.appended += 1
        if self.fails:
            raise self.fails
        await type(self.journal).append(self.journal, lease, entries, before=before)


@pytest.fixture
def counting(journal: Records, monkeypatch: pytest.MonkeyPatch) -> Counting:
    """What counts for that journal."""
    it = Counting(journal)
    monkeypatch.setattr(journal, "append", it.append)
    return it


async def a_writer(journal: Records) -> tuple[str, Writer]:
    """A run, and what writes it."""
    run = await begin(journal, a_plan([a_step("x")]))
    return run, Writer(journal, await journal.claim(run, Owner.current(), 0.0), lambda _: None)


def changes(count: int) -> list[StepChanged]:
    """So many events that follow the creation and the claim."""
    return [StepChanged(seq=seq, step="x", state=StepState.RUNNING) for seq in range(3, 3 + count)]


async def test_what_arrives_together_is_written_together(journal: Records, counting: Counting) -> None:
    """A hundred events in no more than three transactions, and in the order they came."""
    run, writer = await a_writer(journal)
    events = changes(100)
    await asyncio.gather(*(writer.append([event]) for event in events))
    assert counting.appended <= 3
    assert (await journal.events(run))[2:] == events


async def test_an_event_is_durable_when_append_returns(where: str) -> None:
    """Another process sees it then."""
    async with Journal.open(where) as journal, Journal.open(where) as other:
        run, writer = await a_writer(journal)
        (event,) = changes(1)
        await writer.append([event])
        assert (await other.events(run))[-1] == event


async def test_what_is_recorded_together_is_there_together_or_not_at_all(journal: Records) -> None:
    """A conductor that dies within the transaction has written nothing of it."""
    run = await begin(journal, a_plan([a_step("x")]))
    lease = await journal.claim(run, Owner.current(), 0.0)

    def die() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await journal.append(lease, [Entry([event]) for event in changes(2)], before=die)
    assert len(await journal.events(run)) == 2
    assert (await journal.run(run)).ended_at is None


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (JournalError("disk full"), "disk full"),
        (ZeroDivisionError("a defect"), "ZeroDivisionError: a defect"),
    ],
)
async def test_after_a_failure_nothing_is_written_any_more(
    journal: Records, counting: Counting, raised: Exception, says: str
) -> None:
    """Everyone who waits hears of it, and so does everyone who comes later."""
    run, writer = await a_writer(journal)
    counting.fails = raised
    results = await asyncio.gather(*(writer.append([event]) for event in changes(3)), return_exceptions=True)
    assert [str(result) for result in results] == [says] * 3
    counting.fails = None
    with pytest.raises(JournalError, match=says):
        await writer.append(changes(1))
    assert len(await journal.events(run)) == 2
