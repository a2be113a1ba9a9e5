"""Engines that do not keep the journal's promises."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from changeover import interlocks
from changeover.engine.attempt import Attempt, Came, Outcome
from changeover.engine.graph import Graph
from changeover.engine.recorder import Recorder
from changeover.engine.runner import Runner
from changeover.engine.stepping import Stepper
from changeover.errors import PortError
from changeover.model.plan import Plan, Step
from changeover.model.release import Budgets
from changeover.model.states import StepState
from tests.sites import a_release
from tests.unit.rehearsal.broken.breaking import FLOOR, IS_THERE, Broken, Sound

T = TypeVar("T")

sound_record = Recorder.record
sound_recover = Runner._recover
sound_graph = Graph.__init__
sound_make = Attempt._perform
sound_after = Stepper._after
sound_floors = interlocks.floors


async def without_end(_: Attempt, work: Awaitable[T], __: float = 0.0) -> T:
    """No timeout ends it."""
    return await work


def again_and_again(it: Stepper, step: Step, outcome: Outcome) -> Any:
    """A step that has failed is begun again."""
    after = sound_after(it, step, outcome)
    return (
        after
        if after.state is not StepState.FAILED
        else type(after)(step=step.id, state=StepState.PENDING, error=after.error, evidence=after.evidence)
    )


def not_waited_for(it: Recorder, *events: Any, **more: Any) -> Awaitable[None]:
    """What is recorded becomes durable some time later."""
    durable = asyncio.ensure_future(sound_record(it, *events, **more))
    it.__dict__.setdefault("later", []).append(durable)
    return _at_once()


async def _at_once() -> None:
    """Nothing is waited for."""


async def repeats_the_last(it: Runner) -> None:
    """Whoever resumes makes the last finished step once more."""
    finished = [step for step in it._graph.steps if it._status.steps[step.id].state is StepState.DONE]
    if finished:
        await it._attempt(finished[-1]).make()
    await sound_recover(it)


def knows_no_needs(it: Graph, plan: Plan) -> None:
    """All steps of a stage begin at once."""
    sound_graph(it, plan)
    it.needs = [0] * len(it.needs)
    it.dependents = {}


async def errors_are_done(it: Attempt) -> Outcome:
    """An error of an action is taken for its end."""
    try:
        said = await sound_make(it)
    except PortError as error:
        return Outcome(Came.DONE, error.message)
    return Outcome(Came.DONE, str(said))


def one_less(plan: Plan) -> dict[str, int]:
    """The floor, off by one."""
    return {balancer: least - 1 for balancer, least in sound_floors(plan).items()}


ENGINES = {
    "no-timeout": Broken(
        what="a timeout is swallowed: what hangs is waited for",
        patches={"changeover.engine.attempt.Attempt._limited": without_end},
        case="main/expand/001_kind:hangs",
        rule="nobody waits for ever",
        says="main/expand/001_kind",
    ),
    "retries-without-end": Broken(
        what="a step that fails is begun again for ever",
        patches={"changeover.engine.stepping.Stepper._after": again_and_again},
        case="app1/start:fails-before",
        rule="attempts come to an end",
        says="app1/start begins 2 times, the plan allows 1",
    ),
    "performs-before-started-is-durable": Broken(
        what="a step is performed before `started` is durable",
        patches={"changeover.engine.recorder.Recorder.record": not_waited_for},
        rule="an effect follows its record",
        says="is performed while the journal has it pending",
    ),
    "resume-repeats-a-finished-step": Broken(
        what="a resume makes the last finished step once more",
        patches={"changeover.engine.runner.Runner._recover": repeats_the_last},
        case="app1/switch:conductor-dies-recorded",
        rule="no finished step is repeated",
        says="app1/switch",
    ),
    "order-ignored": Broken(
        what="a step begins before those that it needs",
        patches={"changeover.engine.graph.Graph.__init__": knows_no_needs},
        rule="the order is kept",
        says="main/verify-snapshot begins before main/snapshot",
    ),
    "errors-taken-for-done": Broken(
        what="an error of an action is taken for its end",
        patches={"changeover.engine.attempt.Attempt.make": errors_are_done},
        case="app1/start:fails-before",
        rule=IS_THERE,
        says="app1/start is recorded as done",
    ),
    "floor-off-by-one": Broken(
        what="the capacity floor is off by one: after a node has died another is taken out",
        sound=Sound(nodes=3, release=a_release(budgets=Budgets(batch=1, total=1, consecutive=1))),
        patches={"changeover.interlocks.floors": one_less},
        case="app1/start:host-dies",
        rule=FLOOR,
        says="public is left with 1 in rotation, the floor is 2",
    ),
}
