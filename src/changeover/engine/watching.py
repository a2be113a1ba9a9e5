"""What goes on beside a conductor's loop: its lease is kept, and commands are looked for."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress

from changeover.engine.faults import Fault
from changeover.engine.lease import Lease
from changeover.engine.port import JournalPort
from changeover.errors import FencedError, JournalError
from changeover.ports import Clock

NOTES_SECONDS = 1.0


async def keep(
    journal: JournalPort, lease: Lease, *, failed: Callable[[JournalError], None], fault: Fault
) -> None:
    """Renew the lease in time, for ever; `FencedError` once it is lost, or was not renewed in time.

    A journal that fails is told to `failed`, and asked again for as long as the lease lasts.
    """
    while lease.seconds < math.inf:
        await asyncio.sleep(min(lease.seconds / 3, max(0.0, lease.until - lease.clock())))
        lease.check()
        fault("renewing")
        try:
            async with asyncio.timeout(lease.until - lease.clock()):
                await journal.renew(lease)
        except FencedError:
            raise
        except TimeoutError:
            raise lease.lost() from None
        except JournalError as error:
            failed(error)
        fault("renewed")


async def commands(journal: JournalPort, run: str, poll: float, arrived: Callable[[], None]) -> None:
    """Say whenever a command waits for its answer, for ever."""
    while True:
        if await journal.pending_commands(run):
            arrived()
        await journal.arrival(run, poll)


class Notes:
    """What the steps in flight say of how far they have come: kept for those who watch, the latest word of each."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._new = asyncio.Event()

    def say(self, step: str, text: str) -> None:
        """Take it in; what was said before is forgotten."""
        if self._said.get(step) != text:
            self._said[step] = text
            self._new.set()

    def over(self, step: str) -> None:
        """The step is in flight no more."""
        self._said.pop(step, None)

    async def keep(self, journal: JournalPort, lease: Lease) -> None:
        """Write them down when there is something new, at most once in a while, for ever.

        Who watches can do without: a journal that fails is for others to find.
        """
        while True:
            await self._new.wait()
            self._new.clear()
            with suppress(JournalError):
                await journal.note(lease, dict(self._said))
            await asyncio.sleep(NOTES_SECONDS)


async def moment(clock: Clock, at: float, come: Callable[[], None]) -> None:
    """Say when that moment (seconds since the epoch) has come; nothing if it is past."""
    if clock.now() >= at:
        return
    while (left := at - clock.now()) > 0:
        await clock.sleep(left)
    come()
