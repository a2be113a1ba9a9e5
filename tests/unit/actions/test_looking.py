"""The look at a pool: what comes up by itself is waited for, and nothing else is."""

from collections.abc import Mapping

import msgspec
import pytest

from changeover.actions import Context
from changeover.actions.looking import PoolCheck
from changeover.errors import StepError
from changeover.model.plan import Facts, Operation
from changeover.ports import AdminState, ServerState, World
from changeover.simulation.clock import SimulatedClock
from changeover.strategies import STRATEGIES
from tests.enginekit import a_world
from tests.sites import a_release, a_site

UP = ServerState("app1", AdminState.READY, True, 0, 0, -1)
DOWN = msgspec.structs.replace(UP, up=False, check="L4CON")
DRAINED = msgspec.structs.replace(UP, admin=AdminState.DRAIN)


class Pool:
    """A balancer that reports one server, down until some moment."""

    name = "public"

    def __init__(self, clock: SimulatedClock, before: ServerState, up_after: float) -> None:
        self._clock, self._before, self._up_at = clock, before, clock.now() + up_after

    async def servers(self) -> Mapping[str, ServerState]:
        return {"app1": UP if self._clock.now() >= self._up_at else self._before}


async def _checked(before: ServerState, up_after: float, *, servers: tuple[str, ...] = ("app1",)) -> float:
    """How many seconds it took, by the clock of the site."""
    clock = SimulatedClock()
    pool = Pool(clock, before, up_after)
    world = World({}, {"public": pool}, {}, a_world().application, clock)  # type: ignore[dict-item]
    plan = STRATEGIES["rolling"](a_site(), a_release(), Facts())
    context = Context(world, plan, "run", "step", 1, clock.now(), 60.0)
    began = clock.now()
    operation = Operation(PoolCheck.kind, "public", {"servers": list(servers), "wait": 30})
    try:
        await PoolCheck().perform(operation, context)
    except StepError as error:
        error.add_note(f"{clock.now() - began:g}")
        raise
    return clock.now() - began


async def test_a_server_that_is_up_is_not_waited_for() -> None:
    """One look is enough."""
    assert await _checked(UP, 0) == 0


async def test_a_server_that_comes_up_is_waited_for() -> None:
    """The balancer needs some seconds until it has noticed."""
    assert 8 <= await _checked(DOWN, 8) < 10


async def test_a_server_that_stays_down_is_waited_for_so_long_as_declared() -> None:
    """Then the check fails with what the balancer says of it."""
    with pytest.raises(StepError, match=r"app1 ready down \(L4CON\)") as error:
        await _checked(DOWN, 1000)
    (waited,) = error.value.__notes__
    assert 30 <= float(waited) < 32


@pytest.mark.parametrize(
    ("before", "servers"), [(DRAINED, ("app1",)), (UP, ("app1", "app2")), (DOWN, ("app1", "app2"))]
)
async def test_what_no_time_will_mend_fails_at_once(before: ServerState, servers: tuple[str, ...]) -> None:
    """A server that somebody took out, or that is not in the pool."""
    with pytest.raises(StepError) as error:
        await _checked(before, 1000, servers=servers)
    assert error.value.__notes__ == ["0"]


def test_the_time_is_the_operators_to_declare() -> None:
    """The plan waits as long as `timeouts.pool_check` says, and the step has that much more time."""
    limits = msgspec.structs.replace(a_release().limits, timeouts={"pool_check": 90.0})
    plan = STRATEGIES["rolling"](a_site(), a_release(limits=limits), Facts())
    (step,) = [step for step in plan.steps() if step.do.action == PoolCheck.kind]
    assert (step.do.params["wait"], step.timeout) == (90.0, 120.0)
