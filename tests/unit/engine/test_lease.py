"""Only the owner of the latest epoch appends, and only while its lease lasts."""

import asyncio
import threading

import msgspec
import pytest
import sqlalchemy as sa

from changeover.engine import tables
from changeover.engine.events import Claimed, RunChanged
from changeover.engine.journal import Journal
from changeover.engine.lease import Lease
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.records import Records
from changeover.engine.writer import Writer
from changeover.errors import FencedError, JournalError, LockedError, RefusedError
from changeover.model.states import RunState
from tests.enginekit import PATIENCE, Scripted, a_plan, a_step, begin, conduct, eventually

HERE = Owner.current()
DEAD = msgspec.structs.replace(HERE, started=0)
ELSEWHERE = msgspec.structs.replace(HERE, host="db7", boot="another")
PLAN = a_plan([a_step("x")])


async def end_lease(journal: Records, run: str) -> None:
    """Let the lease of whoever has it end, by the journal's clock."""
    if isinstance(journal, MemoryJournal):
        journal._runs[run].lease_until = 0.0
        return
    assert isinstance(journal, Journal)
    query = sa.update(tables.run).where(tables.run.c.id == run).values(lease_until=0.0)
    await journal.store.write(lambda connection: connection.execute(query))


async def claim(journal: Records, run: str, owner: Owner = HERE) -> Lease:
    """Claim it for so long that no test sees the end."""
    return await journal.claim(run, owner, 0.0, seconds=600)


async def test_each_claim_is_the_next_epoch(journal: Records) -> None:
    """It is recorded together with who claimed."""
    run = await begin(journal, PLAN)
    assert (await claim(journal, run, DEAD)).epoch == 1
    assert (await claim(journal, run)).epoch == 2
    claims = [event for event in await journal.events(run) if isinstance(event, Claimed)]
    assert [(event.epoch, event.owner) for event in claims] == [(1, DEAD), (2, HERE)]


@pytest.mark.parametrize("owner", [HERE, ELSEWHERE])
async def test_a_live_lease_is_respected(journal: Records, owner: Owner) -> None:
    """Whether its process is seen to be alive, or cannot be seen from here."""
    run = await begin(journal, PLAN)
    await claim(journal, run, owner)
    with pytest.raises(LockedError) as locked:
        await claim(journal, run)
    assert f"is conducted by {owner}" in locked.value.message
    assert run in locked.value.hint


async def test_a_lease_that_has_ended_may_be_taken(journal: Records) -> None:
    """Wherever its owner is."""
    run = await begin(journal, PLAN)
    await claim(journal, run, ELSEWHERE)
    await end_lease(journal, run)
    assert (await claim(journal, run)).epoch == 2


async def test_a_released_lease_may_be_taken(journal: Records) -> None:
    """At once."""
    run = await begin(journal, PLAN)
    await journal.release(await claim(journal, run, ELSEWHERE))
    await claim(journal, run)


async def test_a_run_that_has_ended_or_never_was_cannot_be_claimed(journal: Records) -> None:
    """With what to do instead."""
    run = await begin(journal, PLAN)
    await conduct(journal, run, Scripted())
    with pytest.raises(RefusedError, match="has ended: done"):
        await claim(journal, run)
    with pytest.raises(RefusedError, match="no run nonsense"):
        await claim(journal, "nonsense")


async def test_who_lost_the_lease_can_neither_renew_nor_append(journal: Records) -> None:
    """The database refuses, whatever the process believes; and nothing is appended later either."""
    run = await begin(journal, PLAN)
    lost = await claim(journal, run, DEAD)
    await claim(journal, run)
    before = await journal.events(run)
    with pytest.raises(FencedError):
        await journal.renew(lost)
    writer = Writer(journal, lost, lambda _: None)
    for _ in range(2):
        with pytest.raises(FencedError, match=r"no longer owns run .* \(epoch 1\)"):
            await writer.append([RunChanged(seq=4, state=RunState.PAUSED)])
    assert await journal.events(run) == before


async def test_a_lease_that_ended_unclaimed_is_lost_too(journal: Records) -> None:
    """Between its end and the next claim nobody appends."""
    run = await begin(journal, PLAN)
    lease = await claim(journal, run)
    await end_lease(journal, run)
    with pytest.raises(FencedError):
        await journal.renew(lease)
    with pytest.raises(FencedError):
        await Writer(journal, lease, lambda _: None).append([RunChanged(seq=3, state=RunState.PAUSED)])


async def test_renewing_moves_the_end(journal: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the journal and in the process, whose end is the earlier."""
    run = await begin(journal, PLAN)
    now = 100.0
    monkeypatch.setattr(journal, "_clock", lambda: now)
    lease = await journal.claim(run, HERE, 0.0, seconds=10)
    now = 105.0
    await journal.renew(lease)
    assert lease.until == 105.0 + 9.0
    now = 113.9
    lease.check()
    now = 114.0
    with pytest.raises(FencedError, match="no longer owns"):
        lease.check()


async def test_a_conductor_that_is_fenced_breaks_off_what_is_in_flight(journal: Records) -> None:
    """It records nothing, launches nothing and says who to ask."""
    run = await begin(journal, a_plan([a_step("x"), a_step("y", needs=("x",))]))
    action = Scripted()
    action.hold["x"] = asyncio.Event()
    conducting = asyncio.create_task(conduct(journal, run, action, lease_seconds=3))

    async def performing() -> bool:
        return "x" in action.performed

    await eventually(performing, expected=True)
    await end_lease(journal, run)
    other = await journal.claim(run, HERE, 0.0)
    with pytest.raises(FencedError) as fenced:
        await conducting
    assert run in fenced.value.hint
    assert action.effects == {}
    assert action.performed == ["x"]
    assert (await journal.events(run))[-1] == other.claimed


async def test_a_conductor_stops_by_itself_when_it_cannot_renew(stored: Journal) -> None:
    """A database that does not answer must not make it believe that it owns the run."""
    run = await begin(stored, PLAN)
    action = Scripted()
    action.hold["x"] = asyncio.Event()
    conducting = asyncio.create_task(conduct(stored, run, action, lease_seconds=3))

    async def performing() -> bool:
        return "x" in action.performed

    await eventually(performing, expected=True)
    gate = threading.Event()
    blocked = asyncio.create_task(stored.store.read(lambda _: gate.wait(PATIENCE)))

    async def broken_off() -> list[str]:
        return action.broken_off

    await eventually(broken_off, expected=["x"])
    gate.set()
    with pytest.raises(FencedError):
        await conducting
    await blocked
    assert action.effects == {}


def test_a_failing_journal_is_no_fencing() -> None:
    """They are told apart: after one the run can be resumed at once, after the other somebody else has it."""
    assert issubclass(FencedError, JournalError)
