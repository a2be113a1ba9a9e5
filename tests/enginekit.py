"""What tests of the engine are made from: small plans, and a world whose answers are written down beforehand."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar, TypeVar, cast

import msgspec

from changeover.actions.base import Context, Params
from changeover.engine.events import Event, Verb
from changeover.engine.fold import RunStatus, fold
from changeover.engine.owner import Owner
from changeover.engine.port import JournalPort
from changeover.engine.records import Records
from changeover.engine.runner import Runner
from changeover.errors import HostError, StepError
from changeover.model.plan import Budget, Operation, Plan, Stage, Step
from changeover.model.values import Observation, absent, done, unknown
from changeover.ports import Clock, World
from changeover.simulation.clock import SimulatedClock
from tests.sites import a_release, a_site

T = TypeVar("T")

PATIENCE = 30
"""Seconds after which a test that waits for the engine has failed."""


def a_step(name: str, **more: Any) -> Step:
    """A step that the `Scripted` action performs."""
    return Step(**{"id": name, "do": Operation("scripted", name), "summary": name, **more})


def a_gate(name: str, **more: Any) -> Step:
    """A gate for a person."""
    return a_step(name, person=True, **more)


def a_plan(*stages: Iterable[Step], finalize: Iterable[Step] = (), **more: Any) -> Plan:
    """A plan of these stages, `finalize` the last."""
    made = [Stage(f"stage{number}", "", tuple(steps)) for number, steps in enumerate(stages, 1)]
    if finalize:
        made.append(Stage("finalize", "", tuple(finalize), finalize=True))
    return Plan(site=a_site(), release=a_release(), stages=tuple(made), **more)


def budgets(batch: int, total: int, consecutive: int) -> tuple[Budget, ...]:
    """A failure budget for each scope."""
    return Budget("batch", batch), Budget("total", total), Budget("consecutive", consecutive)


def a_world(clock: Clock | None = None) -> World:
    """A world with nothing in it but the time."""
    return World({}, {}, {}, cast("Any", None), clock or SimulatedClock())


class Scripted:
    """Does what the script says for each attempt at a step: by default it succeeds.

    `hold` keeps an attempt in flight until the event is set. `most` is how much of each limit was in use.

    `ok`; `fail`: an error, and nothing has changed; `half`: an error, and the effect is half there; `hang`:
    no answer; `late`: the effect is there, no answer; `idle`: no error, and no effect; `blind`: the effect is
    there, but it cannot be observed the next time; `bug`: an error that is none of ours.
    """

    kind: ClassVar[str] = "scripted"
    params: ClassVar[type[Params]] = Params

    def __init__(self, **script: str) -> None:
        self.script = {name.replace("__", "/"): words.split() for name, words in script.items()}
        self.effects: dict[str, str] = {}
        self.performed: list[str] = []
        self.observed: list[str] = []
        self.broken_off: list[str] = []
        self.contexts: dict[str, Context] = {}
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.blind: set[str] = set()
        self.hold: dict[str, asyncio.Event] = {}

    async def observe(self, operation: Operation, context: Context) -> Observation:
        name = operation.target
        self.observed.append(name)
        if name in self.blind:
            self.blind.discard(name)
            raise HostError(f"{name} cannot be reached", hint="look at the network")
        effect = self.effects.get(name, "")
        return {"": absent, "half": unknown, "whole": done}[effect](f"{name} is {effect or 'not there'}")

    async def perform(self, operation: Operation, context: Context) -> str:
        name = operation.target
        words = self.script.get(name, [])
        word = words.pop(0) if words else "ok"
        self.performed.append(name)
        self.contexts[name] = context
        limits = next(step.limits for step in context.plan.steps() if step.id == name)
        self.running.update(limits)
        self.most |= self.running
        try:
            return await self._do(name, word)
        except asyncio.CancelledError:
            self.broken_off.append(name)
            raise
        finally:
            self.running.subtract(limits)

    async def _do(self, name: str, word: str) -> str:
        if name in self.hold:
            await self.hold[name].wait()
        await asyncio.sleep(0)
        if word in ("ok", "late", "blind"):
            self.effects[name] = "whole"
        if word in ("hang", "late"):
            await asyncio.Event().wait()
        if word == "blind":
            self.blind.add(name)
        if word == "half":
            self.effects[name] = "half"
        if word == "bug":
            raise ZeroDivisionError("a defect")
        if word in ("fail", "half"):
            raise StepError(f"{name} did not come about", hint="look at its log")
        return f"{name} performed"


async def begin(journal: JournalPort, plan: Plan) -> str:
    """A new run of the plan."""
    return await journal.create_run(plan, actor="ops", reason="upgrade", owner=Owner.current())


async def conduct(journal: JournalPort, run: str, *actions: Scripted, **more: Any) -> RunStatus:
    """Conduct it until it rests; no test waits for longer than its patience."""
    world = a_world(more.pop("clock", None))
    runner = Runner(journal, run, world, {it.kind: it for it in actions}, **{"poll": 0.01, **more})
    async with asyncio.timeout(PATIENCE):
        return await runner.run()


async def tell(
    journal: JournalPort, run: str, verb: Verb, step: str = "", reason: str = "", **more: Any
) -> int:
    """Send a command, as Kim."""
    return await journal.command(run, verb, actor="kim", step=step, reason=reason, **more)


async def answer(journal: Records, number: int) -> tuple[str, str]:
    """What came of a command."""
    record = await journal.command_outcome(number)
    return record.outcome, record.answer


async def answered(journal: Records, number: int) -> tuple[str, str]:
    """The same, once there is an answer."""
    async with asyncio.timeout(PATIENCE):
        while not (await answer(journal, number))[0]:
            await asyncio.sleep(0.005)
    return await answer(journal, number)


async def eventually(look: Callable[[], Awaitable[T]], expected: T) -> None:
    """Return once `look` answers what is expected."""
    async with asyncio.timeout(PATIENCE):
        while await look() != expected:
            await asyncio.sleep(0.005)


def told(plan: Plan, events: Iterable[Event]) -> RunStatus:
    """Where a run stands after these events, numbered as they come."""
    return fold(
        "run",
        plan,
        (msgspec.structs.replace(event, seq=seq, at=float(seq)) for seq, event in enumerate(events, 1)),
    )
