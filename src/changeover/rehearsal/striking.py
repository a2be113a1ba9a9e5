"""Actions that a fault strikes: the same code as in a real run, with an aim at its calls."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from changeover.actions.base import Action, Context, Params
from changeover.model.plan import Operation
from changeover.model.values import Observation
from changeover.rehearsal.cases import (
    OF_THE_CLOCK,
    OF_THE_CONDUCTOR,
    OF_THE_SITE,
    OF_WHAT_IS_THERE,
    ONCE,
    Kind,
    Strike,
)
from changeover.simulation import Aim, Call, Fault, aiming

MIDDLE = 0.004
"""Seconds after the begin of a call at which the conductor dies in the middle of it."""


class Died(BaseException):
    """The conductor dies here. No code of it catches this."""


@dataclass(slots=True)
class Listening(Aim):
    """Strikes nothing, and notes each call."""

    fault: Fault = Fault.REFUSED
    calls: list[Call] = field(default_factory=list)

    def strikes(self, call: Call) -> Fault | None:
        """Never."""
        self.calls.append(call)
        return None


@dataclass(slots=True)
class Armed:
    """A fault that waits for its step. `hit` are the calls that it has struck so far, `over` when it strikes no more."""

    strike: Strike
    hit: list[Call] = field(default_factory=list)
    over: bool = False

    @property
    def sticks(self) -> bool:
        """Whether it goes on striking until it is mended."""
        return not self.over and self.strike.kind not in ONCE

    def copy(self) -> "Armed":
        """One that changes by itself."""
        return Armed(self.strike, list(self.hit), self.over)


@dataclass(slots=True)
class Telling(Aim):
    """Strikes, and says so."""

    fault: Fault = Fault.REFUSED
    armed: Armed | None = None
    told: Callable[[Armed, Call], None] = lambda *_: None

    def strikes(self, call: Call) -> Fault | None:
        """As it is aimed."""
        fault = Aim.strikes(self, call)
        if fault is not None and self.armed is not None:
            self.told(self.armed, call)
        return fault


@dataclass(slots=True)
class Deadly(Telling):
    """The conductor dies in the middle of the call."""

    die: Callable[[], None] = lambda: None

    def strikes(self, call: Call) -> Fault | None:
        """The call goes on as if nothing were, until the conductor dies."""
        if Telling.strikes(self, call) is not None:
            asyncio.get_running_loop().call_later(MIDDLE, self.die)
        return None


class Arms:
    """All the faults of one play. `die` ends the conductor, `told` hears of every hit.

    `looks` says of a step whether it changes nothing: then its first look is struck. With `heard`, every call is
    noted there under its step, and nothing strikes. `began` is called before a step is performed, `befalls` lets the site
    be like that at a target.
    """

    def __init__(
        self,
        armed: Iterable[Armed],
        *,
        die: Callable[[Kind], None],
        told: Callable[[Armed, Call], None],
        looks: Callable[[str, str], bool],
        began: Callable[[Action, Operation, Context], Awaitable[None]],
        befalls: Callable[[Kind, str], None],
        heard: dict[str, list[Call]] | None = None,
    ) -> None:
        self.armed = [it.copy() for it in armed]
        self._die = die
        self._told = told
        self._looks = looks
        self._began = began
        self._befalls = befalls
        self._heard = heard

    def comes(self, kind: Kind) -> None:
        """A fault of the clock has come about."""
        for it in self.armed:
            if it.strike.kind is kind and not it.over:
                it.over = True
                self._hit(it, Call("clock", str(kind), it.strike.step, "", effect=False))

    def mend(self) -> None:
        """What has struck strikes no more."""
        for it in self.armed:
            it.over = it.over or (bool(it.hit) and it.strike.kind is not Kind.FOR_EVER)

    def passed(self, point: str, step: str) -> None:
        """A fault point of the runner is passed in that step: the conductor dies there if a fault wants it."""
        for it in self.armed:
            if _POINTS.get(it.strike.kind) == point and it.strike.step == step and not it.over:
                self._hit(it, Call("conductor", point, step, "", effect=False))
                self._die(it.strike.kind)
                raise Died

    async def perform(self, action: Action, operation: Operation, context: Context) -> str | Observation:
        """Perform it, with what is armed for its step aimed at its calls."""
        await self._began(action, operation, context)
        if self._heard is not None:
            listening = Listening(calls=self._heard.setdefault(context.step, []))
            with aiming(listening):
                return await action.perform(operation, context)
        it = next((it for it in self.armed if it.strike.step == context.step and not it.over), None)
        if it is None or it.strike.kind in _POINTS or it.strike.kind in OF_THE_CLOCK:
            return await action.perform(operation, context)
        if it.strike.kind in OF_WHAT_IS_THERE:
            self._hit(it, Call("site", str(it.strike.kind), operation.target, "", effect=False))
            self._befalls(it.strike.kind, operation.target)
            return await action.perform(operation, context)
        with aiming(self._aim(it, operation)):
            return await action.perform(operation, context)

    def _aim(self, it: Armed, operation: Operation) -> Aim:
        strike = it.strike
        if strike.kind in OF_THE_CONDUCTOR:
            return Deadly(skip=strike.call, armed=it, told=self._hit, die=partial(self._die, strike.kind))
        looks = self._looks(strike.step, operation.action)
        return Telling(OF_THE_SITE[strike.kind], strike.call, looks, armed=it, told=self._hit)

    def _hit(self, it: Armed, call: Call) -> None:
        it.hit.append(call)
        it.over = it.strike.kind in ONCE
        self._told(it, call)


_POINTS = {
    Kind.DIES_STARTED: "started",
    Kind.AWAY: "started",
    Kind.DIES_UNRECORDED: "finishing",
    Kind.DIES_RECORDED: "finished",
}


class Struck:
    """An action of which every call goes through the arms."""

    kind: ClassVar[str] = ""
    params: ClassVar[type[Params]] = Params

    def __init__(self, action: Action, arms: Arms) -> None:
        self._action = action
        self._arms = arms

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """As the action does."""
        return await self._action.observe(operation, context)

    async def perform(self, operation: Operation, context: Context) -> str | Observation:
        """As the action does, unless a fault strikes."""
        return await self._arms.perform(self._action, operation, context)


def struck(actions: Mapping[str, Action], arms: Arms) -> dict[str, Action]:
    """The same actions, at which these arms aim."""
    return {kind: Struck(action, arms) for kind, action in actions.items()}
