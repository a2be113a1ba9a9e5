"""Tells people, beside the run: whoever delivers a message never stops the run, and never holds it up."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from changeover.engine import notices
from changeover.engine.events import RunChanged, Told
from changeover.engine.fold import RunStatus
from changeover.engine.notices import Occasion
from changeover.engine.recorder import Recorder
from changeover.errors import ChangeoverError, JournalError
from changeover.model.release import Notice
from changeover.ports import Notifier

PAUSES = (5.0, 30.0)
"""Seconds between the attempts to tell somebody something."""

AT_THE_END = 15.0
"""Seconds in which what was not told yet still is, when the conductor has nothing else to do."""


class Teller:
    """One line for each notifier, in which everything is told after one another.

    What was told is recorded then: a conductor that dies in between leaves it to the next one, who tells it again.
    What could not be told is recorded as well, and tried again by the next conductor. `tasks` are the lines at work.
    """

    def __init__(
        self,
        status: RunStatus,
        recorder: Recorder,
        notifiers: Mapping[str, Notifier],
        sleep: Callable[[float], Awaitable[None]],
        tasks: dict[str, asyncio.Task[None]],
    ) -> None:
        self._status = status
        self._recorder = recorder
        self._notifiers = notifiers
        self._sleep = sleep
        self._taken: set[tuple[str, int]] = set()
        self._lines: dict[str, deque[Occasion]] = {}
        self._tasks = tasks

    def tell(self) -> None:
        """Begin to tell whatever there is to tell by now, of what is durable."""
        if self._status.occasions:
            for notice, occasion in notices.due(self._status, self._recorder.durable):
                self._line_up(notice, occasion)

    async def tell_end(self, event: RunChanged) -> None:
        """Tell that the run is about to end like this, and return when that was told, or could not be in time."""
        self.tell()
        end = notices.the_end(self._status, event)
        for notice, occasion in notices.to_be_told(self._status, end):
            self._line_up(notice, occasion)
        await self.settle()
        for notice, occasion in notices.to_be_told(self._status, end):
            if (notice.name, occasion.of) not in self._status.untold:
                late = f"not within {AT_THE_END:g} s, and the run has ended since"
                await self._recorder.record(
                    Told(notice=notice.name, moment=occasion.moment, of=occasion.of, error=late)
                )

    async def settle(self) -> None:
        """Return when nobody is being told anything any more, or `AT_THE_END` seconds later."""
        self.tell()
        if self._tasks:
            with suppress(TimeoutError):
                async with asyncio.timeout(AT_THE_END):
                    await asyncio.gather(*self._tasks.values())

    def _line_up(self, notice: Notice, occasion: Occasion) -> None:
        key = (notice.name, occasion.of)
        if key in self._taken or notice.name not in self._notifiers:
            return
        self._taken.add(key)
        self._lines.setdefault(notice.name, deque()).append(occasion)
        if notice.name not in self._tasks:
            task = self._tasks[notice.name] = asyncio.create_task(self._work_off(notice.name))
            task.add_done_callback(lambda _: self._tasks.pop(notice.name, None))

    async def _work_off(self, name: str) -> None:
        line = self._lines[name]
        while line:
            occasion = line.popleft()
            error = await self._try(self._notifiers[name], occasion)
            with suppress(JournalError):  # whoever conducts the run hears of it as well
                await self._recorder.record(
                    Told(notice=name, moment=occasion.moment, of=occasion.of, error=error)
                )

    async def _try(self, notifier: Notifier, occasion: Occasion) -> str:
        """Why nobody took it; empty if somebody has."""
        for pause in (*PAUSES, None):
            try:
                await notifier.send(occasion.title, occasion.text)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the run goes on
                said = (
                    error.message
                    if isinstance(error, ChangeoverError)
                    else f"{type(error).__name__}: {error}"
                )
                if pause is None:
                    return said
                await self._sleep(pause)
            else:
                return ""
        raise AssertionError
