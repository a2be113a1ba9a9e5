"""A whole rehearsal of today's rolling plan, small enough for a test."""

import msgspec
import pytest

from changeover.model.plan import Facts, Plan
from changeover.model.release import CommandMigration, Migrations
from changeover.model.site import Unit
from changeover.rehearsal import End, Rehearsal, rehearse, replay
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site


def a_plan(nodes: int = 2, **release: object) -> Plan:
    """Rolling, one node at a time, with an expand and a contract migration."""
    return STRATEGIES["rolling"](a_site(nodes), a_release(keep_serving=1, **release), Facts())


@pytest.fixture(scope="module")
def rehearsed() -> Rehearsal:
    """Every fault of every step of two nodes."""
    return rehearse(a_plan(), workers=1)


def test_every_step_is_struck(rehearsed: Rehearsal) -> None:
    """Each stage of the plan has its row, and each step is rehearsed."""
    assert {cell.stage for cell in rehearsed.table} == {stage.name for stage in a_plan().stages}
    assert rehearsed.rehearsed_steps == rehearsed.steps


def test_the_cases_add_up(rehearsed: Rehearsal) -> None:
    """Every case is in the table, once, under how it ended."""
    ended = [(cell.done, cell.fell_back, cell.stopped, cell.findings) for cell in rehearsed.table]
    assert sum(map(sum, ended)) == rehearsed.cases
    assert all(sum(column) for column in list(zip(*ended, strict=True))[:3])


def test_a_person_is_asked_for_finalize_in_the_run_in_which_nothing_goes_wrong(rehearsed: Rehearsal) -> None:
    """The gate is a question like any other, and it says what is agreed to."""
    asked = next(question for question in rehearsed.questions if question.case == "nothing")
    assert (asked.stage, asked.gate, asked.text) == ("finalize", True, "a person gives up the way back to v1")


def test_a_case_that_falls_back_is_back_where_it_began() -> None:
    """The replay of one says who was struck, who was asked, and how it ended."""
    again = replay(a_plan(), "app2/start:fails-before:abort")
    assert again.end is End.FELL_BACK
    said = [line.text for line in again.trace]
    assert any("struck: fails-before at application.start of app2" in text for text in said)
    assert any(text.startswith("a person is asked: app2/start failed") for text in said)
    assert any(text.startswith("the way back begins") for text in said)


def test_a_replay_stops_at_the_question_that_it_has_no_answer_to() -> None:
    """It says what is asked, and what could be answered."""
    again = replay(a_plan(), "app2/start:fails-before")
    assert again.asks.startswith("app2/start failed")
    assert set(again.replies) == {"retry", "skip", "abort", "leave"}


@pytest.mark.slow
def test_the_same_rehearsal_comes_to_the_same() -> None:
    """Nothing in it depends on real time, on chance that was not seeded, or on how many share the work."""
    plan = a_plan()
    assert rehearse(plan, pairs=20, seed=7, workers=1) == rehearse(plan, pairs=20, seed=7, workers=2)


@pytest.mark.parametrize(
    ("name", "end"), [("host-dies:abort", End.FELL_BACK), ("conductor-dies-effect-dies", End.DONE)]
)
@pytest.mark.parametrize("undo", ["unexpand", ""], ids=["undone", "restored"])
def test_half_of_the_applications_own_migration_is_met(name: str, end: End, undo: str) -> None:
    """What is left of it in the middle is taken back, by its undo or by the snapshot, or brought to its end."""
    described = a_site(2)
    bound = dict.fromkeys(("expand", "expanded", "unexpand"), Unit("app.service"))
    application = msgspec.structs.replace(
        described.application, capabilities={**described.application.capabilities, **bound}
    )
    own = CommandMigration("own", "expand", "expanded", "app1", undo=undo)
    plan = STRATEGIES["rolling"](
        msgspec.structs.replace(described, application=application),
        a_release(keep_serving=1, migrations=(Migrations("main", (own,)),)),
        Facts(),
    )
    again = replay(plan, f"main/expand/own:{name}")
    assert again.end is end
    assert (again.findings, again.asks) == ((), "")
