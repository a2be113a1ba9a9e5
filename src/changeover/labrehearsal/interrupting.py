"""Ctrl-C while hosts are broken: first everything is put right, then it ends."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):  # noqa: N818 -- nothing is wrong
    """A person has ended it, and it has cleaned up."""


async def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Ctrl-C, SIGTERM or the end of the terminal cancels the work once; no second one disturbs its cleaning up."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    told = False

    def interrupt() -> None:
        nonlocal told
        if not told:
            told = True
            task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        raise Interrupted from None
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            if told:  # what is left is to say so
                signal.signal(number, signal.SIG_IGN)
