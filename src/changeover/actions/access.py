"""Closing the site to the public, and opening it. The target is the access gate."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import ClassVar, Literal

from changeover.actions.base import Context, Params
from changeover.actions.looking import Look
from changeover.actions.waiting import until
from changeover.checks import access
from changeover.errors import AccessError, StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, Verdict, absent, done
from changeover.ports import Access, Gating

SETTLES = 10.0
"""Seconds within which the public sees what was done: the application may need a moment for its first answer."""


class Wanted(Params, frozen=True):
    """How it should be, by its hosts and for those outside."""

    state: Literal["open", "closed"]


def _gate(operation: Operation, context: Context) -> Access:
    return context.world.access[operation.target]


def _seen(operation: Operation, context: Context, wanted: Gating) -> list[Awaitable[Verdict]]:
    gate = context.plan.site.gate(operation.target)
    return [access.seen(_gate(operation, context), gate, outside, wanted) for outside in gate.outside]


class _Turn:
    """Done when every host reports it so, and who is outside sees it so."""

    params: ClassVar[type[Params]] = Params
    wanted: ClassVar[Gating]

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Ask every host, then look from outside; whatever is missing, all of it is safely done again."""
        states = await _gate(operation, context).state()
        said = "; ".join(f"{host}: {it.evidence}" for host, it in states.items())
        if any(it.gating is Gating.UNKNOWN for it in states.values()):
            raise AccessError(f"{operation.target}: {said}", hint="see whether the hosts are alive")
        if any(it.gating is not self.wanted for it in states.values()):
            return absent(said)
        verdicts = await asyncio.gather(*_seen(operation, context, self.wanted))
        bad = [f"{it.subject}: {it.evidence}" for it in verdicts if not it.good]
        if bad:
            return absent(f"{self.wanted} on its hosts, but {'; '.join(bad)}")
        return done("; ".join([said, *(f"{it.subject}: {it.evidence}" for it in verdicts)]))

    async def settled(self, operation: Operation, context: Context) -> Observation:
        """What it comes to once it is done, or has not come about for too long."""
        clock = context.world.clock
        deadline = clock.now() + SETTLES

        async def look() -> Observation | None:
            seen = await self.observe(operation, context)
            return seen if seen.done or clock.now() >= deadline else None

        seen = await until(look, clock, shortest=0.1)
        if not seen.done:
            raise StepError(seen.evidence, hint="look from outside yourself, then retry the step")
        return seen


class CloseAccess(_Turn):
    """Close it to the public, on every host. Who is on its allowlist comes in, and so does the conductor."""

    kind: ClassVar[str] = "access.close"
    wanted: ClassVar[Gating] = Gating.CLOSED

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Close it, and see it closed from outside."""
        await _gate(operation, context).shut()
        return await self.settled(operation, context)


class OpenAccess(_Turn):
    """Open it to everybody, on every host, and leave nothing of it there."""

    kind: ClassVar[str] = "access.open"
    wanted: ClassVar[Gating] = Gating.OPEN

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Open it, and see from outside that the application answers."""
        await _gate(operation, context).reopen()
        return await self.settled(operation, context)


class CheckAccess(Look):
    """It can be used, is as it should be, and is seen so from outside."""

    kind: ClassVar[str] = "access.check"
    params: ClassVar[type[Params]] = Wanted

    def look(self, operation: Operation, context: Context) -> Sequence[Awaitable[Verdict]]:
        """Ask its hosts, and those outside."""
        gate, wanted = _gate(operation, context), Gating(Wanted.of(operation).state)
        return (access.usable(gate), access.state(gate, wanted), *_seen(operation, context, wanted))
