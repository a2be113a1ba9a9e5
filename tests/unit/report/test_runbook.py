"""The runbook: complete, in an order that can be followed, and readable in each form."""

import msgspec
import pytest

from changeover.byhand import by_hand
from changeover.model.instructions import Instruction
from changeover.model.plan import Facts, Plan, Step
from changeover.model.release import Person, Window
from changeover.report.formats import Format, written
from changeover.report.runbook import in_order, runbook, runbook_document
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site

OPENS = 1_800_000_000.0


def a_plan() -> Plan:
    """In a window, with people in it."""
    release = a_release(
        window=Window(OPENS, OPENS + 4 * 3600, zone="America/Los_Angeles", margin=600),
        people=(Person("Thomas", "thomas@example.org"),),
        channel="irc.example.org #upgrade",
        afterwards=("tell the help desk",),
    )
    plan = STRATEGIES["rolling"](a_site(), release, Facts())
    first, *others = plan.stages
    step, *more = first.steps
    owned = msgspec.structs.replace(step, owner="Thomas", planned=OPENS + 60)
    return msgspec.structs.replace(
        plan, stages=(msgspec.structs.replace(first, steps=(owned, *more)), *others)
    )


def told(form: Format) -> str:
    """The runbook as text."""
    plan = a_plan()
    book = runbook(plan, lambda step: by_hand(step, plan))
    return written(book, lambda: runbook_document(plan, book), form)


@pytest.mark.parametrize("form", [Format.TERMINAL, Format.MARKDOWN, Format.HTML])
def test_everything_that_people_need_is_in_it(form: Format) -> None:
    """When, who, what is typed, the way back, whom to reach, what is left to do."""
    text = told(form)
    for word in (
        "2027-01-15 00:00 PST",
        "Thomas",
        "thomas@example.org",
        "systemctl stop app.service",
        "back/app4/stop",
        "tell the help desk",
        "irc.example.org",
        "Turn back at",
        "finalize",
    ):
        assert word in text, word


def test_every_step_is_in_it_after_those_that_it_needs() -> None:
    """Stage by stage, one after another."""
    plan = a_plan()
    book = runbook(plan, lambda step: by_hand(step, plan))
    for stage, chapter in zip(plan.stages, book.forward, strict=True):
        order = [task.step for task in chapter.tasks]
        assert sorted(order) == sorted(step.id for step in stage.steps)
        for step in stage.steps:
            inside = [need for need in step.needs if need in order]
            assert all(order.index(need) < order.index(step.id) for need in inside)


def test_steps_that_stand_in_the_wrong_order_are_put_right() -> None:
    """As a stage may list them in any order."""
    first = Step("a", msgspec.structs.replace(next(a_plan().steps()).do), "a", needs=("b",))
    second = msgspec.structs.replace(first, id="b", needs=("elsewhere",))
    assert [step.id for step in in_order((first, second))] == ["b", "a"]


def test_what_is_typed_is_shown_as_it_stands() -> None:
    """Nothing in a command is markup, in no form."""
    plan = a_plan()
    nasty = Instruction("app1", "echo '<b>*```*</b>' [bold]", "")
    document = lambda: runbook_document(plan, runbook(plan, lambda _: (nasty,)))  # noqa: E731
    assert nasty.text in written(None, document, Format.MARKDOWN)
    assert nasty.text in written(None, document, Format.TERMINAL)
    assert "&lt;b&gt;" in written(None, document, Format.HTML)
    assert "````" in written(None, document, Format.MARKDOWN)
