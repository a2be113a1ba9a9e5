"""The schema of a simulated database: locks, and what is applied to it."""

from functools import partial
from typing import TYPE_CHECKING

from changeover.errors import DatabaseError
from changeover.model.release import SqlMigration
from changeover.ports import Applied
from changeover.simulation.state import Store

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite, Transition


async def locked(site: "SimulatedSite", database: str, lock_timeout: float) -> bool:
    """Wait for the lock that a migration needs, so long at the most; whether another still holds it.

    Another: a long transaction, or a migration whose conductor has died.
    """
    held = [site.stores[database].locked_until]
    held += [orphan.at for orphan in site.orphans if orphan.locks == database]
    left = max(held) - site.clock.now()
    if left > 0:
        waits = min(left, lock_timeout)
        await site.clock.sleep(waits)
        store = site.stores[database]
        store.waited = max(store.waited, waits)
    return left > lock_timeout


def commanding(database: str, name: str, applied: bool) -> tuple["Transition", "Transition"]:
    """The begin and the end of what the application does to its own schema: half of it may be left, and done again."""
    begin, end = (partial(it, database=database, name=name, applied=applied) for it in (_command, _commanded))
    return begin, end


def said(store: Store, name: str) -> str:
    """What the application says of a migration that it performs itself."""
    return "partly" if name in store.partly else "yes" if name in store.applied else "no"


def applying(database: str, migration: SqlMigration, whole: bool) -> tuple["Transition | None", "Transition"]:
    """The begin and the end of a migration; one that is `whole` is there with its entry or not at all."""
    name, checksum = migration.name, migration.checksum
    begin = partial(_begin, database=database, name=name, checksum=checksum)
    end = partial(_apply, database=database, name=name, checksum=checksum, begun=not whole)
    return None if whole else begin, end


def reverting(database: str, name: str, whole: bool) -> tuple["Transition | None", "Transition"]:
    """The begin and the end of its way back."""
    begin, end = (
        partial(_reopen, database=database, name=name),
        partial(_strike, database=database, name=name),
    )
    return None if whole else begin, end


def _command(site: "SimulatedSite", database: str, name: str, applied: bool) -> None:
    store = site.stores[database]
    if applied is not (name in store.applied):
        store.partly.add(name)


def _commanded(site: "SimulatedSite", database: str, name: str, applied: bool) -> None:
    store = site.stores[database]
    store.partly.discard(name)
    if applied and name not in store.applied:
        store.applied.append(name)
    elif not applied and name in store.applied:
        store.applied.remove(name)


def _begin(site: "SimulatedSite", database: str, name: str, checksum: str) -> None:
    ledger = site.stores[database].ledger
    if name in ledger:
        raise DatabaseError(f"{name}: another conductor has begun it", hint="see what it does")
    ledger[name] = Applied(name, checksum, site.moment, 0)


def _apply(site: "SimulatedSite", database: str, name: str, checksum: str, begun: bool) -> None:
    store = site.stores[database]
    entry = store.ledger.get(name)
    if entry is not None and not begun:
        raise DatabaseError(f"{name}: another conductor has applied it", hint="look at the ledger")
    started = entry.started_at if entry else site.moment
    store.ledger[name] = Applied(name, checksum, started, site.moment)
    store.applied.append(name)


def _reopen(site: "SimulatedSite", database: str, name: str) -> None:
    entry = site.stores[database].ledger[name]
    site.stores[database].ledger[name] = Applied(name, entry.checksum, entry.started_at, 0)


def _strike(site: "SimulatedSite", database: str, name: str) -> None:
    store = site.stores[database]
    store.ledger.pop(name, None)
    if name in store.applied:
        store.applied.remove(name)
