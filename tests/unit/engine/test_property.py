"""Random plans, failures, commands and crashes: what must hold whatever happens."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from changeover.actions.base import Context
from changeover.engine.events import CommandTaken, Event, Verb
from changeover.engine.fold import RunStatus, fold
from changeover.engine.journal import Journal
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.records import Records
from changeover.engine.runner import Runner
from changeover.model.plan import Budget, Operation, Plan, Stage, Step
from changeover.model.release import Late, Window
from changeover.model.states import SATISFIED, RunState, StepState
from changeover.model.values import Observation, Outcome, Verdict
from changeover.simulation import loop as simulated
from changeover.simulation.clock import EPOCH
from tests.enginekit import PATIENCE, Scripted, a_gate, a_plan, a_step, a_world

S, R = StepState, RunState

WORDS = ("ok", "fail", "half", "late", "hang", "idle", "blind", "bug")
LIMITS = ("a", "b")


@dataclass(frozen=True)
class Told:
    """A command that a person sends while the run rests, or a while after it began."""

    verb: Verb
    step: int
    reason: str
    accept: bool


@dataclass(frozen=True)
class Life:
    """One conductor: what it is told before it begins, and while it performs its `when`th effect.

    After `dies` fault points it dies, and the `bad_guard`th question to its interlocks has a bad answer.
    """

    told: Sequence[Told]
    meanwhile: Sequence[Told]
    when: int
    dies: int
    bad_guard: int


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Two or three stages of nodes, gates and other steps."""
    stages: list[list[Step]] = []
    for stage in range(draw(st.integers(1, 3))):
        steps: list[Step] = []
        for number in range(draw(st.integers(1, 4))):
            name = f"{stage}.{number}"
            more: dict[str, Any] = {"needs": tuple(step.id for step in steps if draw(st.booleans()))}
            if draw(st.integers(0, 5)) == 0:
                steps.append(a_gate(name, **more))
                continue
            more["limits"] = tuple(draw(st.lists(st.sampled_from(LIMITS), max_size=2, unique=True)))
            more["unit"] = draw(st.sampled_from(["", "app1", "app2", "app3"]))
            more["attempts"] = draw(st.integers(1, 3))
            more["retry_wait"] = draw(st.sampled_from([0.0, 1.0]))
            if draw(st.booleans()):
                back = draw(st.floats(0, 20))
                more["undo"] = (a_step(f"back/{name}", estimate=back, unit=more["unit"], timeout=0.01),)
            steps.append(a_step(name, timeout=0.01, **more))
        stages.append(steps)
    budgets = tuple(Budget(scope, draw(st.integers(0, 2))) for scope in ("batch", "total", "consecutive"))
    finalize = (
        [a_gate("final"), a_step("drop", needs=("final",), timeout=0.01)] if draw(st.booleans()) else []
    )
    limits = {name: draw(st.integers(1, 2)) for name in LIMITS}
    plan = a_plan(*stages, finalize=finalize, limits=limits, budgets=budgets if draw(st.booleans()) else ())
    return in_a_window(plan, draw) if draw(st.booleans()) else plan


def in_a_window(plan: Plan, draw: st.DrawFn) -> Plan:
    """The same, to be done by a moment that may come at any time, or have passed already."""
    closes = EPOCH + draw(st.floats(-5, 60))
    late, warn = draw(st.sampled_from(Late)), draw(st.sampled_from([0.0, 10.0]))
    window = Window(opens=EPOCH, closes=closes, margin=draw(st.floats(0, 10)), warn=warn, late=late)
    stages = tuple(msgspec.structs.replace(stage, outage=draw(st.booleans())) for stage in plan.stages)
    release = msgspec.structs.replace(plan.release, window=window)
    return msgspec.structs.replace(plan, stages=stages, release=release)


scripts = st.lists(st.lists(st.sampled_from(WORDS), max_size=3), min_size=14, max_size=14)
told = st.builds(
    Told,
    verb=st.sampled_from(Verb),
    step=st.integers(0, 14),
    reason=st.sampled_from(["", "because"]),
    accept=st.booleans(),
)
lives = st.lists(
    st.builds(
        Life,
        told=st.lists(told, max_size=3),
        meanwhile=st.lists(told, max_size=2),
        when=st.integers(1, 6),
        dies=st.integers(0, 25),
        bad_guard=st.integers(0, 12),
    ),
    min_size=1,
    max_size=5,
)


@dataclass
class Watched:
    """Sees the run from outside: what is durable, and what is performed."""

    journal: Records
    run: str
    plan: Plan
    action: Scripted
    durable: RunStatus
    wrong: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    meanwhile: Sequence[Told] = ()
    effects_left: int = 0

    def observe(self, event: Event) -> None:
        self.durable.apply(event)

    async def tell(self, commands: Sequence[Told]) -> None:
        """A person sends these."""
        names = [*self.durable.steps, "nonsense"]
        for it in commands:
            step = names[it.step % len(names)]
            number = await self.journal.command(
                self.run, it.verb, actor="kim", step=step, reason=it.reason, accept_skipped=it.accept
            )
            self.sent.append(number)

    async def perform(self, operation: Operation, context: Context) -> str:
        """What must be so when an effect begins is looked at in the journal, not in the engine."""
        step = operation.target
        states = {name: status.state for name, status in self.durable.steps.items()}
        if states[step] is not S.RUNNING:
            self.wrong.append(f"{step} begins while the journal says {states[step]}")
        for stage in self.durable.plan.stages:
            here = {it.id: it for it in stage.steps}
            if step in here:
                before = here[step].needs
                break
            self.wrong += [
                f"{step} begins before {it}" for it in here if states[it] not in SATISFIED | {S.RUNNING}
            ]
        self.wrong += [f"{step} begins before {it}" for it in before if states[it] not in SATISFIED]
        self.effects_left -= 1
        if self.effects_left == 0:
            await self.tell(self.meanwhile)
        return await self.action.perform(operation, context)


class Acting(Scripted):
    """The scripted action, watched."""

    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self.watched = watched

    async def observe(self, operation: Operation, context: Context) -> Observation:
        return await self.watched.action.observe(operation, context)

    async def perform(self, operation: Operation, context: Context) -> str:
        return await self.watched.perform(operation, context)


def legal_rest(status: RunStatus) -> None:
    """How a run may be found when its conductor has returned."""
    assert status.in_flight == 0
    if status.state is R.WAITING:
        assert status.counts[S.WAITING]
    elif status.state is R.DONE:
        assert status.satisfied
    else:
        assert status.state in (R.STOPPED, R.PAUSED, R.ABORTED, R.FELL_BACK)
    if status.state is R.STOPPED:
        assert status.reason


async def live(
    opened: AbstractAsyncContextManager[Records],
    plan: Plan,
    script: Sequence[Sequence[str]],
    all_lives: Sequence[Life],
) -> None:
    """One run, one conductor after another; then one that is left alone."""
    steps = [step.id for step in plan.steps()]
    action = Scripted(**{step: " ".join(words) for step, words in zip(steps, script, strict=False)})
    async with opened as journal:
        run = await journal.create_run(plan, actor="a", reason="r", owner=Owner.current())
        watched = Watched(journal, run, plan, action, fold(run, plan, await journal.events(run)))
        for life in [*all_lives, Life((), (), 0, 0, 0)]:
            if watched.durable.ended:
                break
            await watched.tell(life.told)
            watched.meanwhile, watched.effects_left = life.meanwhile, life.when
            status = await one_life(journal, run, watched, life)
            watched.durable = await journal.status(run)  # raises for any transition that is not allowed
            assert not watched.wrong
            if status is not None:
                legal_rest(status)
                assert vars_of(status) == vars_of(watched.durable)
                outcomes = [await journal.command_outcome(number) for number in watched.sent]
                assert all(outcome.outcome in ("taken", "refused") for outcome in outcomes)
        recorded = [event.command for event in await journal.events(run) if isinstance(event, CommandTaken)]
        assert len(recorded) == len(set(recorded))
        for name, places in plan.limits.items():
            assert action.most[name] <= places


async def one_life(journal: Records, run: str, watched: Watched, life: Life) -> RunStatus | None:
    """Where the run stands when the conductor returns; None if it died."""
    loop, left, asked = asyncio.get_running_loop(), life.dies, life.bad_guard

    def fault(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            loop.call_soon_threadsafe(conducting.cancel)

    class Interlock:
        async def before(self, _: Step, __: Stage) -> Verdict | None:
            nonlocal asked
            asked -= 1
            await asyncio.sleep(0.002)  # long enough for a command to be taken in between
            return Verdict("floor", Outcome.BAD, "broken") if asked == 0 else None

        after = before

        def dropped(self, _: Step) -> None:
            pass

    runner = Runner(
        journal,
        run,
        a_world(),
        {"scripted": Acting(watched)},
        guard=Interlock(),
        owner=msgspec.structs.replace(Owner.current(), started=0),  # as good as dead for whoever comes next
        observer=watched.observe,
        fault=fault,
        poll=0.001,
    )
    conducting = asyncio.create_task(runner.run())
    try:
        return await asyncio.wait_for(asyncio.shield(conducting), PATIENCE)
    except asyncio.CancelledError:
        return None


def vars_of(status: RunStatus) -> object:
    """All that a status holds, to be compared."""
    return {name: value for name, value in vars(status).items() if name != "plan"}


def in_a_database(*story: Any) -> None:
    """In real time, with a thread for the database."""
    asyncio.run(live(Journal.open(":memory:"), *story))


def in_memory(*story: Any) -> None:
    """In simulated time, as a rehearsal does it."""
    simulated.run(lambda clock: live(nullcontext(MemoryJournal(clock.now, gone=Owner.gone)), *story))


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("tell_it", [in_a_database, in_memory])
@settings(PATIENT, max_examples=40)
@given(plan=plans(), script=scripts, all_lives=lives)
def test_whatever_happens(
    tell_it: Callable[..., None], plan: Plan, script: list[list[str]], all_lives: list[Life]
) -> None:
    """No transition that is not allowed, nothing before its needs, no limit exceeded, a legal rest at the end."""
    tell_it(plan, script, all_lives)


@pytest.mark.slow
@pytest.mark.parametrize("tell_it", [in_a_database, in_memory])
@settings(PATIENT, max_examples=500)
@given(plan=plans(), script=scripts, all_lives=lives)
def test_whatever_happens_often(
    tell_it: Callable[..., None], plan: Plan, script: list[list[str]], all_lives: list[Life]
) -> None:
    """The same, looked for longer."""
    tell_it(plan, script, all_lives)
