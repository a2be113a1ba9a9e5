"""The transaction that appends to a run in a database."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from changeover.engine import leasing, tables
from changeover.engine.events import Event, encode_all, leads_to
from changeover.engine.lease import Lease
from changeover.engine.port import Answer, Entry
from changeover.engine.store import Store
from changeover.model.states import ENDED, RunState

# One statement for all events of a transaction, whatever their number: the driver lets go of Python's lock for
# each row of an `executemany`, and then waits for it as long as the event loop is busy.
_SQLITE_APPEND = sa.text(
    "INSERT INTO event (run, seq, epoch, body)"
    " SELECT :run, json_extract(value, '$.seq'), :epoch, value FROM json_each(:events)"
)
_POSTGRESQL_APPEND = sa.text(
    "INSERT INTO event (run, seq, epoch, body)"
    " SELECT :run, CAST(value ->> 'seq' AS bigint), :epoch, CAST(value AS text) FROM json_array_elements(CAST(:events AS json))"
)


async def append(store: Store, lease: Lease, entries: Sequence[Entry], before: Callable[[], None]) -> None:
    """The lease is checked, the events appended, the commands answered."""
    appended: list[Event] = []
    states: list[RunState] = []
    for entry in entries:
        appended += entry.events
        states += filter(None, map(leads_to, entry.events))
    body = encode_all(appended)

    def write(connection: Connection) -> None:
        leasing.verify(connection, store, lease)
        statement = _SQLITE_APPEND if store.sqlite else _POSTGRESQL_APPEND
        connection.execute(statement, {"run": lease.run, "epoch": lease.epoch, "events": body})
        for entry in entries:
            if entry.answer:
                _answer(connection, entry.answer)
        if states:
            _change_run(connection, store, lease.run, states[-1])
        before()

    await store.write(write)


def _answer(connection: Connection, answer: Answer) -> None:
    connection.execute(
        sa.update(tables.command)
        .where(tables.command.c.id == answer.command)
        .values(outcome=answer.outcome, answer=answer.text)
    )


def _change_run(connection: Connection, store: Store, run: str, state: RunState) -> None:
    ended = state in ENDED
    connection.execute(
        sa.update(tables.run)
        .where(tables.run.c.id == run)
        .values(state=state.value, ended_at=store.now() if ended else None)
    )
    if ended:
        unanswered = (tables.command.c.run == run, tables.command.c.outcome == "")
        connection.execute(
            sa.update(tables.command)
            .where(*unanswered)
            .values(outcome="refused", answer=f"the run has ended: {state}")
        )
