"""The one writer of a run: what arrives while a transaction is under way shares the next."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from changeover.engine import lease as leases
from changeover.engine import tables
from changeover.engine.events import Event, RunChanged, encode_all
from changeover.engine.lease import Lease
from changeover.engine.store import Store
from changeover.errors import JournalError
from changeover.model.states import ENDED


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to, written down together with its events."""

    command: int
    outcome: str
    text: str


class Writer:
    """Appends events, durably and in order, for as long as the lease holds.

    After the first failure nothing is appended any more: every later append raises the same error.
    """

    def __init__(self, store: Store, lease: Lease, fault: Callable[[str], None]) -> None:
        self._store = store
        self._lease = lease
        self._fault = fault
        self._waiting: list[tuple[Sequence[Event], Answer | None, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._broken: JournalError | None = None

    async def append(self, events: Sequence[Event], answer: Answer | None = None) -> None:
        """Return when they are durable, all in the same transaction; `FencedError`, `JournalError` if not."""
        if self._broken:
            raise self._broken
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, answer, done))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # let everything that is ready now come along
            batch, self._waiting = self._waiting, []
            try:
                await self._store.write(_Batch(self._store, self._lease, batch, self._fault))
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                self._broken = self._judged(error)
                batch += self._waiting
                self._waiting = []
            for _, _, done in batch:
                if not done.done():
                    if self._broken:
                        done.set_exception(self._broken)
                    else:
                        done.set_result(None)
        self._task = None

    def _judged(self, error: Exception) -> JournalError:
        """A journal that fails after the lease has ended is no failure: another conductor may be at work."""
        if self._lease.over:
            return self._lease.lost()
        return error if isinstance(error, JournalError) else JournalError(f"{type(error).__name__}: {error}")


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


class _Batch:
    """One transaction: the lease is checked, the events appended, the commands answered."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        entries: Sequence[tuple[Sequence[Event], Answer | None, object]],
        fault: Callable[[str], None],
    ) -> None:
        self._store = store
        self._lease = lease
        self._entries = entries
        self._fault = fault

    def __call__(self, connection: Connection) -> None:
        leases.verify(connection, self._store, self._lease)
        appended: list[Event] = []
        for events, answer, _ in self._entries:
            appended += events
            for event in events:
                if isinstance(event, RunChanged):
                    self._run_changed(connection, event)
            if answer:
                connection.execute(
                    sa.update(tables.command)
                    .where(tables.command.c.id == answer.command)
                    .values(outcome=answer.outcome, answer=answer.text)
                )
        append = _SQLITE_APPEND if self._store.sqlite else _POSTGRESQL_APPEND
        lease = self._lease
        connection.execute(append, {"run": lease.run, "epoch": lease.epoch, "events": encode_all(appended)})
        self._fault("appended")

    def _run_changed(self, connection: Connection, event: RunChanged) -> None:
        ended = event.state in ENDED
        connection.execute(
            sa.update(tables.run)
            .where(tables.run.c.id == self._lease.run)
            .values(state=event.state.value, ended_at=self._store.now() if ended else None)
        )
        if ended:
            unanswered = (tables.command.c.run == self._lease.run, tables.command.c.outcome == "")
            connection.execute(
                sa.update(tables.command)
                .where(*unanswered)
                .values(outcome="refused", answer=f"the run has ended: {event.state}")
            )
