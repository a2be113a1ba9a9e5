"""Gates that only those named may answer."""

from pathlib import Path

import pytest

from changeover.conductor import Attached
from changeover.engine.events import CommandTaken, StepChanged, Verb
from changeover.engine.journal import Journal
from changeover.engine.records import Records
from changeover.errors import RefusedError
from changeover.model.states import RunState, StepState
from tests.enginekit import Scripted, a_gate, a_plan, a_step, answer, begin, conduct, tell

S, R = StepState, RunState

PLAN = a_plan([a_step("a")], [a_gate("sign-off", who=("anna", "lee"))])


async def waiting(journal: Records) -> str:
    """A run that waits for anna or lee."""
    run = await begin(journal, PLAN)
    assert (await conduct(journal, run, Scripted())).state is R.WAITING
    return run


@pytest.mark.parametrize("verb", [Verb.APPROVE, Verb.REFUSE, Verb.SKIP])
async def test_nobody_else_answers(journal: Records, verb: Verb) -> None:
    """The answer names who may; the gate waits on."""
    run = await waiting(journal)
    number = await tell(journal, run, verb, "sign-off", "looks fine")
    assert (await conduct(journal, run, Scripted())).state_of("sign-off") is S.WAITING
    why = "sign-off is for anna or lee to answer, not for kim; say with --as who gives the answer"
    assert await answer(journal, number) == ("refused", why)


async def test_who_is_named_answers_from_another_login(journal: Records) -> None:
    """The journal has both: who gave the answer, and the login that sent it."""
    run = await waiting(journal)
    await tell(journal, run, Verb.APPROVE, "sign-off", "looks fine", signed="anna")
    assert (await conduct(journal, run, Scripted())).state is R.DONE
    events = await journal.events(run)
    taken = next(it for it in events if isinstance(it, CommandTaken))
    assert (taken.actor, taken.signed) == ("kim", "anna")
    approved = next(it for it in events if isinstance(it, StepChanged) and it.actor)
    assert (approved.step, approved.actor) == ("sign-off", "anna")


async def test_a_refusal_of_those_named_stops_the_run_and_anybody_may_ask_again(journal: Records) -> None:
    """To retry the gate is not to answer it."""
    run = await waiting(journal)
    await tell(journal, run, Verb.REFUSE, "sign-off", "the totals are wrong", signed="lee")
    assert (await conduct(journal, run, Scripted())).state is R.STOPPED
    await tell(journal, run, Verb.RETRY, "sign-off")
    assert (await conduct(journal, run, Scripted())).state is R.WAITING


async def test_who_may_not_answer_is_told_at_once(tmp_path: Path) -> None:
    """Nothing is stored for a conductor to refuse later."""
    async with Journal.open(tmp_path / "journal.db") as journal:
        run = await waiting(journal)
        attached = Attached(journal)
        with pytest.raises(RefusedError, match="for anna or lee to answer, not for root"):
            await attached.send(Verb.APPROVE, actor="root", step="sign-off", run=run)
        assert not await journal.pending_commands(run)
        await attached.send(Verb.APPROVE, actor="root", step="sign-off", run=run, signed="lee")
        assert [it.signed for it in await journal.pending_commands(run)] == ["lee"]
