"""The steps that are under way, each in a task of its own, and those that wait for their next attempt."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, KeysView
from typing import Any

from changeover.model.plan import Step

Work = Coroutine[Any, Any, None]


class Flight:
    """`wake` is called whenever a step has come down, or has waited long enough."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._flying: dict[str, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._landed: list[tuple[Step, asyncio.Task[None]]] = []
        self._naps: dict[str, asyncio.Task[None]] = {}

    @property
    def flying(self) -> KeysView[str]:
        """The steps under way, until what came of them was taken in."""
        return self._flying.keys()

    @property
    def waiting(self) -> KeysView[str]:
        """The steps that wait for their next attempt."""
        return self._naps.keys()

    @property
    def busy(self) -> bool:
        """Whether any task has not ended, or was not taken in."""
        return bool(self._flying or self._closing)

    @property
    def empty(self) -> bool:
        """Whether nothing is under way, and nothing waits."""
        return not (self.busy or self._naps)

    def begin(self, step: Step, work: Work) -> None:
        """Let it do that, in a task that is called after the step."""
        task = self._flying[step.id] = asyncio.create_task(work, name=step.id)
        task.add_done_callback(lambda task: self._down(step, task))

    def over(self, step: Step) -> None:
        """The step is no longer under way, although its task still has to see that durable."""
        self._closing.add(self._flying.pop(step.id))

    def landed(self) -> Iterable[tuple[Step, asyncio.Task[None], bool]]:
        """What has ended since this was last asked, each with its task, and whether it was `over` before."""
        landed, self._landed = self._landed, []
        for step, task in landed:
            over = task in self._closing
            if over:
                self._closing.discard(task)
            else:
                del self._flying[step.id]
            yield step, task, over

    def wait(self, step: Step, rest: Work, then: Callable[[Step], None]) -> None:
        """Let it rest, and call `then` afterwards."""
        task = self._naps[step.id] = asyncio.create_task(rest)
        task.add_done_callback(lambda task: self._rested(step, task, then))

    def wait_no_longer(self, step: str) -> None:
        """Forget that it waits."""
        self._naps.pop(step).cancel()

    def break_off(self) -> None:
        """Cancel all that is under way."""
        for task in (*self._flying.values(), *self._closing):
            task.cancel()

    def tasks(self) -> list[asyncio.Task[None]]:
        """All there are."""
        return [*self._naps.values(), *self._flying.values(), *self._closing]

    def _down(self, step: Step, task: asyncio.Task[None]) -> None:
        self._landed.append((step, task))
        self._wake()

    def _rested(self, step: Step, task: asyncio.Task[None], then: Callable[[Step], None]) -> None:
        if self._naps.get(step.id) is task and not task.cancelled():
            del self._naps[step.id]
            then(step)
            self._wake()
