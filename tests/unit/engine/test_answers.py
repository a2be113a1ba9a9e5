"""A step that failed offers answers, and a person chooses one: what is refused, recorded, and handed on."""

import asyncio

import pytest

from changeover.engine.commands import Command, decide
from changeover.engine.events import CommandTaken, StepChanged, Verb
from changeover.engine.journal import Journal
from changeover.engine.records import Records
from changeover.errors import JournalError
from changeover.model.plan import Plan
from changeover.model.states import RunState, StepState
from changeover.model.values import Json
from changeover.report.advice import advice
from changeover.report.happened import line
from changeover.report.progress import status_summary
from tests.enginekit import PATIENCE, Scripted, a_plan, a_step, answer, begin, conduct, eventually, tell, told

S, R = StepState, RunState

PLAN = a_plan([a_step("flushed", answers={"ignore": "the rows above are lost"}), a_step("other")])

FAILED = (
    StepChanged(step="flushed", state=S.RUNNING, attempt=1),
    StepChanged(step="flushed", state=S.FAILED, evidence="stalled", error="StepError"),
)


def _retry(step: str = "flushed", answer: str = "ignore", reason: str = "they are stale") -> Command:
    return Command(1, Verb.RETRY, "kim", step, reason, answer=answer)


@pytest.mark.parametrize(
    ("plan", "events", "command", "says"),
    [
        (PLAN, FAILED, _retry(answer="delete"), "flushed has no answer 'delete': it offers 'ignore'"),
        (PLAN, FAILED, _retry("other"), "other has no answer 'ignore': it offers none"),
        (PLAN, FAILED, _retry(reason=" "), "to retry with 'ignore' needs a reason"),
        (PLAN, FAILED[:1], _retry(), "flushed is running; only what failed can be answered"),
        (PLAN, (), _retry(), "flushed is pending; only what failed can be answered"),
    ],
)
def test_an_answer_that_cannot_be_given_is_refused(
    plan: Plan, events: tuple[StepChanged, ...], command: Command, says: str
) -> None:
    """What is not offered, what nobody gives a reason for, and what has not failed."""
    decision = decide(command, told(plan, events))
    assert decision.refused
    assert says in decision.answer


def test_an_answer_is_recorded_with_who_gave_it_and_why() -> None:
    """In the command and in the step."""
    decision = decide(_retry(), told(PLAN, FAILED))
    taken, changed = decision.events
    assert isinstance(taken, CommandTaken)
    assert isinstance(changed, StepChanged)
    assert (taken.answer, changed.answer) == ("ignore", "ignore")
    assert (changed.actor, changed.reason, changed.state) == ("kim", "they are stale", S.PENDING)
    assert "retry flushed with ignore, by kim: they are stale" in line(taken).text


def test_an_answer_holds_until_a_person_asks_again() -> None:
    """It goes with the failure that it was chosen for, whatever an attempt says afterwards."""
    answered = decide(_retry(), told(PLAN, FAILED)).events[1:]
    again = (
        StepChanged(step="flushed", state=S.RUNNING, attempt=2),
        StepChanged(step="flushed", state=S.FAILED, evidence="stalled on others", error="StepError"),
    )
    at = told(PLAN, [*FAILED, *answered, *again]).steps["flushed"]
    assert (at.answer, at.answered) == ("ignore", "stalled")
    retried = decide(_retry(answer=""), told(PLAN, [*FAILED, *answered, *again])).events[1:]
    at = told(PLAN, [*FAILED, *answered, *again, *retried]).steps["flushed"]
    assert (at.answer, at.answered) == ("", "")


async def test_an_answer_reaches_the_action_with_what_it_was_given_to(journal: Records) -> None:
    """Through the journal, also when another conductor takes it up."""
    run = await begin(journal, PLAN)
    action = Scripted(flushed="fail")
    assert (await conduct(journal, run, action)).state is R.STOPPED
    assert action.contexts["flushed"].answer == ""
    number = await tell(journal, run, Verb.RETRY, "flushed", "they are stale", answer="ignore")
    assert (await journal.pending_commands(run))[0].answer == "ignore"
    assert (await conduct(journal, run, action)).state is R.DONE
    assert await answer(journal, number) == ("taken", "to be done again, with 'ignore': flushed")
    context = action.contexts["flushed"]
    assert (context.answer, context.failed) == ("ignore", "flushed did not come about")


async def test_a_step_tells_how_far_it_has_come_and_no_event_does(journal: Records) -> None:
    """Whoever watches reads its latest word; a word of what is over is not shown."""
    run = await begin(journal, a_plan([a_step("flushed")]))
    action = Scripted()
    action.hold["flushed"] = asyncio.Event()
    conducting = asyncio.create_task(
        conduct(journal, run, action, redact=lambda text: text.replace("x", "*"))
    )
    async with asyncio.timeout(PATIENCE):
        while "flushed" not in action.contexts:
            await asyncio.sleep(0)

    async def said() -> dict[str, str]:
        return dict(await journal.notes(run))

    action.contexts["flushed"].tell("12 outstanding x")
    await eventually(said, {"flushed": "12 outstanding *"})
    summary = status_summary(await journal.status(run), await journal.notes(run))["steps"]
    assert _of("flushed", summary)["progress"] == "12 outstanding *"
    action.hold["flushed"].set()
    await conducting
    assert not any("outstanding" in repr(event) for event in await journal.events(run))
    assert "progress" not in _of("flushed", status_summary(await journal.status(run), await said())["steps"])


def _of(step: str, steps: Json) -> dict[str, Json]:
    assert isinstance(steps, dict)
    found = steps[step]
    assert isinstance(found, dict)
    return found


def test_the_choices_stand_under_next_with_the_lines_to_type() -> None:
    """To wait, what the step offers, and the way back."""
    status = told(PLAN, FAILED)
    status.state = R.STOPPED
    assert list(advice(status)) == [
        "to wait on: `changeover retry flushed`",
        "to ignore: `changeover retry flushed --with ignore --reason …`; the rows above are lost",
        "to fall back: `changeover abort --reason …`",
    ]


async def test_an_old_journal_is_refused_by_its_format(where: str) -> None:
    """It lacks what an answer is kept in, and nobody guesses."""
    async with Journal.open(where) as journal:
        await begin(journal, PLAN)
        older = "PRAGMA user_version = 1" if journal.store.sqlite else "DROP TABLE note"
        await journal.store.write(lambda connection: connection.exec_driver_sql(older))
    async with Journal.open(where) as journal:
        with pytest.raises(JournalError, match="has format 1"):
            await journal.runs()
