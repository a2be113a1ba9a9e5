"""The one writer of a run: what arrives while a transaction is under way shares the next."""

import asyncio
from collections.abc import Sequence

from changeover.engine.events import Event
from changeover.engine.faults import Fault
from changeover.engine.lease import Lease
from changeover.engine.port import Answer, Entry, JournalPort
from changeover.errors import JournalError


class Writer:
    """Appends events, durably and in order, for as long as the lease holds.

    After the first failure nothing is appended any more: every later append raises the same error.
    """

    def __init__(self, journal: JournalPort, lease: Lease, fault: Fault) -> None:
        self._journal = journal
        self._lease = lease
        self._fault = fault
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._broken: JournalError | None = None

    async def append(self, events: Sequence[Event], answer: Answer | None = None) -> None:
        """Return when they are durable, all in the same transaction; `FencedError`, `JournalError` if not."""
        if self._broken:
            raise self._broken
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((Entry(events, answer), done))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # let everything that is ready now come along
            batch, self._waiting = self._waiting, []
            try:
                await self._journal.append(
                    self._lease, [entry for entry, _ in batch], before=lambda: self._fault("appended")
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                self._broken = self._judged(error)
                batch += self._waiting
                self._waiting = []
            for _, done in batch:
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
