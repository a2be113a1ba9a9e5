"""The one writer of a run: what arrives while a transaction is under way shares the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from changeover.engine.events import Event
from changeover.engine.faults import Fault
from changeover.engine.lease import Lease
from changeover.engine.port import Answer, Entry, JournalPort
from changeover.errors import JournalError

TURNS = 2
"""Of the event loop, before a transaction begins: what was ready comes along, and what the end of a step lets begin."""


class Writer:
    """Appends events, durably and in order, for as long as the lease holds.

    `durable` is called with what was appended, in order, before those who wait for it go on. After the first failure
    nothing is appended any more: every later append raises the same error.
    """

    def __init__(
        self,
        journal: JournalPort,
        lease: Lease,
        fault: Fault,
        durable: Callable[[Sequence[Event]], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._lease = lease
        self._fault = fault
        self._durable = durable
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._broken: JournalError | None = None

    def append(self, events: Sequence[Event], answer: Answer | None = None) -> Awaitable[None]:
        """Append them after all that came before; what is returned ends when they are durable.

        They are in one transaction, the answer too. `FencedError`, `JournalError` for whoever waits if they are not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._broken:
            _refuse(done, self._broken)
            return done
        self._waiting.append((Entry(events, answer), done))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        return done

    async def _write(self) -> None:
        while self._waiting:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            batch, self._waiting = self._waiting, []
            try:
                await self._journal.append(
                    self._lease, [entry for entry, _ in batch], before=lambda: self._fault("appended")
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                self._broken = self._judged(error)
                batch += self._waiting
                self._waiting = []
            for entry, done in batch:
                if self._broken:
                    _refuse(done, self._broken)
                    continue
                self._durable(entry.events)
                if not done.done():
                    done.set_result(None)
        self._task = None

    def _judged(self, error: Exception) -> JournalError:
        """A journal that fails after the lease has ended is no failure: another conductor may be at work."""
        if self._lease.over:
            return self._lease.lost()
        return error if isinstance(error, JournalError) else JournalError(f"{type(error).__name__}: {error}")


def _refuse(done: asyncio.Future[None], error: JournalError) -> None:
    if not done.done():
        done.set_exception(error)
        done.exception()  # nobody need wait for it: who breaks off does not
