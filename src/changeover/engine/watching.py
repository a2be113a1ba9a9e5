"""What goes on beside a conductor's loop: its lease is kept, and commands are looked for."""

import asyncio
import math
from collections.abc import Callable

from changeover.engine.faults import Fault
from changeover.engine.lease import Lease
from changeover.engine.port import JournalPort
from changeover.errors import FencedError, JournalError
from changeover.ports import Clock


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


async def moment(clock: Clock, at: float, come: Callable[[], None]) -> None:
    """Say when that moment (seconds since the epoch) has come; nothing if it is past."""
    if clock.now() >= at:
        return
    while (left := at - clock.now()) > 0:
        await clock.sleep(left)
    come()
