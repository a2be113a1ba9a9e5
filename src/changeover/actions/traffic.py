"""Leaving and entering the pools of the balancers. The target is a node; `servers` is its name in each pool."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from changeover.actions.base import Context, Params
from changeover.actions.waiting import until
from changeover.checks.traffic import describe, server_state
from changeover.errors import StepError
from changeover.model.plan import Operation
from changeover.model.values import Observation, absent, done
from changeover.ports import AdminState, ServerState


class InPools(Params, frozen=True):
    """Balancer → what the node is called in it."""

    servers: Mapping[str, str]


class Patience(InPools, frozen=True):
    """How long leaving waits for those who are still there, in seconds, and what happens then."""

    quiet: float = 1.0
    deadline: float = 300.0
    escalation: Literal["stop", "wait", "cut"] = "stop"


OUT = frozenset({AdminState.DRAIN, AdminState.MAINT})


async def _states(operation: Operation, context: Context) -> dict[str, ServerState]:
    balancers, servers = context.world.balancers, Patience.of(operation).servers
    return {name: await server_state(balancers[name], server) for name, server in servers.items()}


async def _set(operation: Operation, context: Context, state: AdminState) -> None:
    for name, server in Patience.of(operation).servers.items():
        await context.world.balancers[name].set_state(server, state)


def _describe(states: Mapping[str, ServerState]) -> str:
    return "; ".join(f"{name}: {describe(state)}" for name, state in states.items())


class Drain:
    """Give the node no new sessions; those it has go on."""

    kind: ClassVar[str] = "traffic.drain"
    params: ClassVar[type[Params]] = InPools

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when every balancer reports drain, or maint."""
        states = await _states(operation, context)
        return (done if all(s.admin in OUT for s in states.values()) else absent)(_describe(states))

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Tell every balancer; each reports it back."""
        for name, state in (await _states(operation, context)).items():
            if state.admin is AdminState.READY:
                await context.world.balancers[name].set_state(state.name, AdminState.DRAIN)
        return await self.observe(operation, context)


class Remove:
    """Take the node out of rotation once nobody is on it.

    Nobody: every balancer counts no session and none queued, and either the application counts no session
    on the node (capability `sessions`) or the balancers have sent it nothing for `quiet` seconds. A session
    that comes back between that moment and the way out sends the node back to draining; a balancer that has
    forgotten the drain, by a reload, is told again. `escalation` is
    what happens after `deadline` seconds: `stop` fails the step, `wait` goes on waiting, `cut` ends them.
    """

    kind: ClassVar[str] = "traffic.remove"
    params: ClassVar[type[Params]] = Patience

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when every balancer reports maint and counts no session."""
        return self._seen(await _states(operation, context))

    @staticmethod
    def _seen(states: Mapping[str, ServerState]) -> Observation:
        out = all(s.admin is AdminState.MAINT and not s.sessions and not s.queued for s in states.values())
        return (done if out else absent)(_describe(states))

    async def perform(self, operation: Operation, context: Context) -> str | Observation:
        """Drain where that is still to be done, wait for nobody, then leave every pool."""
        params = Patience.of(operation)
        deadline = context.since + params.deadline
        while True:
            busy = await until(
                lambda: self._nobody_or_late(operation, context, deadline), context.world.clock
            )
            if busy and params.escalation == "stop":
                raise StepError(
                    f"sessions have not ended: {busy}",
                    hint="wait for them and retry, end them in the application and retry, or skip the step with a reason",
                )
            await _set(operation, context, AdminState.MAINT)
            if busy:
                for name, server in params.servers.items():
                    await context.world.balancers[name].cut(server)
                return f"cut after the deadline, as declared: {busy}"
            states = await _states(operation, context)
            if not await self._busy(operation, context, states, quiet=0):
                return self._seen(states)
            await _set(operation, context, AdminState.DRAIN)

    async def _nobody_or_late(self, operation: Operation, context: Context, deadline: float) -> str | None:
        params, states = Patience.of(operation), await _states(operation, context)
        if any(state.admin is AdminState.READY for state in states.values()):
            await Drain().perform(operation, context)
            states = await _states(operation, context)
        busy = await self._busy(operation, context, states, quiet=params.quiet)
        late = context.world.clock.now() >= deadline and params.escalation != "wait"
        return busy if late or not busy else None

    async def _busy(
        self, operation: Operation, context: Context, states: Mapping[str, ServerState], quiet: float
    ) -> str:
        if any(state.sessions or state.queued for state in states.values()):
            return _describe(states)
        application = context.world.application
        if application.can("sessions"):
            answer = await application.ask("sessions", operation.target)
            return "" if answer.ok and answer.value == "0" else f"{operation.target}: {answer.evidence}"
        recent = [state for state in states.values() if 0 <= state.idle < quiet]
        return "; ".join(f"{state.name} was sent a request {state.idle} s ago" for state in recent)


class Enter:
    """Bring the node back into rotation, and see every balancer send it sessions again."""

    kind: ClassVar[str] = "traffic.enter"
    params: ClassVar[type[Params]] = InPools

    async def observe(self, operation: Operation, context: Context) -> Observation:
        """Done when every balancer reports it ready and up."""
        states = await _states(operation, context)
        return (done if all(state.in_rotation for state in states.values()) else absent)(_describe(states))

    async def perform(self, operation: Operation, context: Context) -> Observation:
        """Tell every balancer, then wait until each one's own health check has it up."""
        await _set(operation, context, AdminState.READY)

        async def look() -> Observation | None:
            states = await _states(operation, context)
            return done(_describe(states)) if all(state.in_rotation for state in states.values()) else None

        return await until(look, context.world.clock)
