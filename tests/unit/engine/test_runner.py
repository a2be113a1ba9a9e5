"""The runner conducts a run through success, failure and the words of a person."""

import asyncio
from typing import Any

from changeover.engine.events import StepChanged, Verb
from changeover.engine.fold import RunStatus
from changeover.engine.journal import Journal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.model.plan import Plan
from changeover.model.states import RunState, StepState
from changeover.model.values import Outcome, Verdict
from tests.enginekit import Scripted, a_gate, a_plan, a_step, a_world, budgets

S, R = StepState, RunState


async def begin(journal: Journal, plan: Plan) -> str:
    return await journal.create_run(plan, actor="ops", reason="upgrade", owner=Owner.current())


async def conduct(journal: Journal, run: str, action: Scripted, **more: Any) -> RunStatus:
    runner = Runner(journal, run, a_world(), {"scripted": action}, poll=0.01, **more)
    async with asyncio.timeout(20):
        return await runner.run()


async def tell(journal: Journal, run: str, verb: Verb, step: str = "", reason: str = "", **more: Any) -> int:
    return await journal.command(run, verb, actor="kim", step=step, reason=reason, **more)


async def answer(journal: Journal, number: int) -> tuple[str, str]:
    record = await journal.command_outcome(number)
    return record.outcome, record.answer


async def test_a_run_performs_every_step_once_and_in_order(journal: Journal) -> None:
    """Needs and stages are barriers, and the end is recorded."""
    plan = a_plan([a_step("b", needs=("a",)), a_step("a")], [a_step("c")])
    run = await begin(journal, plan)
    action = Scripted()
    status = await conduct(journal, run, action)
    assert status.state is R.DONE
    assert action.performed == ["a", "b", "c"]
    assert (await journal.status(run)).counts[S.DONE] == 3
    assert (await journal.run(run)).ended_at is not None
