"""How a database in memory is restored: one that has no transactions for its schema is never closed."""

import msgspec
import pytest

from changeover.errors import DatabaseError
from changeover.ports import restoring
from changeover.simulation import Fault, LoopClock, SimulatedSite, aimed, run
from tests.sites import a_release, a_site


def begun(driver: str, skip: int = 0) -> tuple[bool, list[str]]:
    """Whether the database is closed, and what its ledger holds, after a restore that was broken off."""

    async def work(clock: LoopClock) -> tuple[bool, list[str]]:
        described = a_site(2)
        databases = (msgspec.structs.replace(described.databases[0], driver=driver),)
        site = SimulatedSite(
            msgspec.structs.replace(described, databases=databases), "v1", clock, release=a_release()
        )
        database = site.world.databases["main"]
        await database.snapshot("before")
        await database.verify_snapshot("before")
        with aimed(Fault.BROKEN_OFF, skip=skip), pytest.raises(DatabaseError):
            await database.restore("before")
        store = site.stores["main"]
        left = store.closed, list(store.ledger)
        await database.restore("before")
        assert (store.closed, list(store.ledger)) == (False, [])
        return left

    return run(work)


def test_one_with_transactions_is_closed_until_it_is_restored() -> None:
    """And the next restore opens it."""
    assert begun("postgresql") == (True, [])


def test_one_without_is_open_and_its_ledger_says_that_a_part_of_it_is_there() -> None:
    """Before the tables are exchanged nothing has changed; after that an entry stands there until all is back."""
    assert begun("mariadb") == (False, [])
    assert begun("mariadb", skip=1) == (False, [restoring("before")])
