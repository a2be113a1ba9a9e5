"""Whether a server still answers. A statement may take hours, so its own silence says nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from changeover.drivers.sql.errors import ServerError
from changeover.errors import DatabaseError

SILENCE = 30.0
"""Seconds without an answer after which a server is taken for gone, unless the options say otherwise."""


class Pulse:
    """While something takes long, the server is asked on connections of its own.

    Work on a server that fell silent is given up at most 1.5 x `silence` seconds later, and what follows
    on the same server, such as cleaning up, after 0.5 x `silence` each.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]], silence: float = SILENCE) -> None:
        self.silence = silence
        self.within = silence / 3
        self._between = silence / 6
        self._ask = ask
        self._answered = 0.0
        self._silent = False

    async def outlives(self, work: "asyncio.Future[Any]") -> bool:
        """Wait for the work to end, however it does; return False as soon as the server is taken for gone."""
        since = _now()
        while not (await asyncio.wait({work}, timeout=self._between))[0]:
            if not await self._answers(since):
                return False
        if not work.cancelled() and work.exception() is None:
            self._silent = False
        return True

    async def _answers(self, since: float) -> bool:
        try:
            async with asyncio.timeout(self.within):
                await self._ask()
        except ServerError as error:
            # A refusal is an answer.
            heard = not error.silent
        except (DatabaseError, TimeoutError):
            heard = False
        else:
            heard = True
        if heard:
            self._answered, self._silent = _now(), False
        elif _now() - max(self._answered, since) >= self.silence:
            self._silent = True
        return not self._silent


def _now() -> float:
    return asyncio.get_running_loop().time()
