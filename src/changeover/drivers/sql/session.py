"""One session on a server: statements one after the other, each of which comes back whatever becomes of the server."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from changeover.drivers.sql.errors import ServerError, silence
from changeover.drivers.sql.pulse import Pulse

Rows = list[tuple[Any, ...]]


class Session(ABC):
    """What a dialect adds is how its library runs, interrupts and lets go.

    `id` is the server's name for the session; `notices` are what it said beside the results.
    """

    id: int

    def __init__(self, pulse: Pulse) -> None:
        self.notices: list[str] = []
        self._pulse = pulse
        self._turn = asyncio.Lock()
        self._gone = False

    @property
    def busy(self) -> bool:
        """Whether a statement is under way."""
        return self._turn.locked()

    async def execute(self, statement: str, arguments: Sequence[object] | None = None) -> Rows:
        """The rows of the (first) result. When cancelled, the server is asked to give the statement up."""
        async with self._turn:
            if self._gone:
                raise silence(self._pulse.silence)
            work = asyncio.ensure_future(self._run(statement, arguments))
            try:
                answered = await self._pulse.outlives(work)
            except asyncio.CancelledError:
                await self._give_up(work)
                raise
            if not answered:
                await self._leave(work)
                raise silence(self._pulse.silence)
            return work.result()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All of what is executed while this is open, or nothing."""
        await self.execute("BEGIN")
        try:
            yield
        except BaseException:
            # A session that cannot even roll back is lost, and its transaction with it.
            with suppress(ServerError):
                await self.execute("ROLLBACK")
            raise
        await self.execute("COMMIT")

    async def _give_up(self, work: "asyncio.Future[Rows]") -> None:
        try:
            async with asyncio.timeout(self._pulse.within):
                await self._interrupt()
                await asyncio.wait({work})
        except (ServerError, TimeoutError):
            # It does not answer, or has ended by itself.
            pass
        finally:
            await self._leave(work)

    async def _leave(self, work: "asyncio.Future[Rows]") -> None:
        if not work.done():
            self._gone = True
            self._let_go()
            await asyncio.wait({work})
        with suppress(ServerError):
            work.result()

    @abstractmethod
    async def close(self) -> None:
        """End the session; it has not to be alive for that."""

    @abstractmethod
    async def _run(self, statement: str, arguments: Sequence[object] | None) -> Rows:
        """Run it; `ServerError`."""

    @abstractmethod
    async def _interrupt(self) -> None:
        """Ask the server to give up the statement that runs; `ServerError`."""

    @abstractmethod
    def _let_go(self) -> None:
        """Shut the way to the server: what waits for an answer fails at once."""
