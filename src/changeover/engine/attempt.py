"""One attempt at a step: perform it within its time, then observe that it is done. Nothing is recorded here."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from changeover.actions.base import Action, Context
from changeover.errors import (
    BrokenOffError,
    BusyError,
    ChangeoverError,
    FencedError,
    StepError,
    StepTimeoutError,
)
from changeover.model.plan import Step
from changeover.model.values import Observation, Presence

T = TypeVar("T")

Timeout = Callable[[float], AbstractAsyncContextManager[object]]
"""A time limit in seconds that raises `TimeoutError`, as `asyncio.timeout` does."""


LAST_LOOK = 10.0
"""Seconds in which an attempt that was broken off may still be looked at."""


class Came(Enum):
    """What an attempt came to. *put off*: nothing was done, and it may begin anew."""

    DONE = auto()
    ABSENT = auto()
    UNKNOWN = auto()
    UNSEEN = auto()
    BROKEN_OFF = auto()
    PUT_OFF = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to, with the evidence; `UNSEEN` if it could not be observed."""

    came: Came
    evidence: str
    error: str = ""
    hint: str = ""


_CAME = {Presence.DONE: Came.DONE, Presence.ABSENT: Came.ABSENT, Presence.UNKNOWN: Came.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A step and the code for it, at one moment. What its action raises becomes part of the outcome.

    `check` raises if the right to act was lost: it is asked last before the effect. That, and the same error
    out of the action, is not caught.
    """

    step: Step
    actions: Mapping[str, Action]
    context: Context
    timeout: Timeout
    check: Callable[[], None]
    fault: Callable[[str], None]

    async def look(self, within: float = math.inf) -> Outcome:
        """Whether the effect is there; `within` so many seconds, or fewer if the step has less time."""
        try:
            seen = await self._limited(self._action.observe(self.step.do, self.context), within)
        except FencedError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect in an action is a failed step, not a failed engine
            return _raised(Came.UNSEEN, error)
        return Outcome(_CAME[seen.presence], seen.evidence)

    async def make(self) -> Outcome:
        """Perform, and observe. An error of `perform` has failed, whatever can be observed."""
        try:
            ended = await self._perform()
        except StepTimeoutError as error:
            seen = await self.look()
            return seen if seen.came is Came.DONE else _raised(Came.UNKNOWN, error, seen.evidence)
        except FencedError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return _raised(Came.UNKNOWN, error)
        self.fault("performed")
        if isinstance(ended, Observation):
            said, seen = "", Outcome(_CAME[ended.presence], ended.evidence)
        else:
            said, seen = ended, await self.look()
        if seen.came is Came.DONE:
            return Outcome(Came.DONE, "; ".join(dict.fromkeys(filter(None, (said, seen.evidence)))))
        if seen.came is Came.UNSEEN:
            return seen
        return Outcome(
            seen.came, f"performed ({said}), but then observed: {seen.evidence}", error=StepError.__name__
        )

    async def after_breaking_off(self, why: str) -> Outcome:
        """What became of it: it may have been done by then."""
        seen = await self.look(LAST_LOOK)
        return (
            seen if seen.came is Came.DONE else _raised(Came.BROKEN_OFF, BrokenOffError(why), seen.evidence)
        )

    async def _perform(self) -> str | Observation:
        """Perform it; what was left at work until now, by a conductor that is gone, is looked at first."""
        self.check()
        self.fault("performing")
        try:
            return await self._limited(self._action.perform(self.step.do, self.context))
        except BusyError:
            seen = await self._limited(self._action.observe(self.step.do, self.context))
            if seen.presence is not Presence.ABSENT:
                return seen
        self.check()
        return await self._limited(self._action.perform(self.step.do, self.context))

    @property
    def _action(self) -> Action:
        try:
            return self.actions[self.step.do.action]
        except KeyError:
            raise StepError(
                f"there is no action {self.step.do.action!r}",
                hint="run this plan with the version of Changeover that made it",
            ) from None

    async def _limited(self, work: Awaitable[T], within: float = math.inf) -> T:
        seconds = min(self.step.timeout, within)
        try:
            async with self.timeout(seconds):
                try:
                    return await work
                except TimeoutError as error:  # its own, not ours: ours arrives in here as a cancellation
                    raise StepError(f"timed out: {error}") from error
                except asyncio.CancelledError as error:
                    task = asyncio.current_task()
                    if task is None or task.cancelling():
                        raise
                    raise StepError("it cancelled itself") from error
        except TimeoutError as error:
            raise StepTimeoutError(f"not within {seconds:g} s") from error


def _raised(came: Came, error: Exception, seen: str = "") -> Outcome:
    message = error.message if isinstance(error, ChangeoverError) else f"{type(error).__name__}: {error}"
    hint = error.hint if isinstance(error, ChangeoverError) else ""
    evidence = f"{message}; then observed: {seen}" if seen else message
    return Outcome(came, evidence, error=type(error).__name__, hint=hint)
