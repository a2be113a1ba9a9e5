"""A plan to be read: estimates, servers in rotation at each moment, words."""

import msgspec
import pytest

from changeover.model.plan import Facts, Operation, Stage, Step
from changeover.model.release import Batch
from changeover.model.words import count
from changeover.report.document import Document, Table, Text
from changeover.report.estimate import Span, estimate, rotation
from changeover.report.plan import outline, plan_document
from changeover.report.words import clock, listed, moment, seconds
from changeover.strategies import STRATEGIES
from tests.enginekit import a_plan, a_step
from tests.sites import DEPLOYED, a_full_stop, a_messenger, a_release, a_site

ROLLING = STRATEGIES["rolling"](a_site(), a_release(batches=(Batch(count=1), Batch(count=2))), Facts())


def test_steps_begin_when_what_they_need_has_ended() -> None:
    """Those that need nothing begin together; the next stage begins when all have ended."""
    plan = a_plan(
        [a_step("a", estimate=2.0), a_step("b", estimate=5.0), a_step("c", estimate=1.0, needs=("a",))],
        [a_step("d", estimate=1.0)],
    )
    times = estimate(plan)
    assert times.steps == {"a": Span(0, 2), "b": Span(0, 5), "c": Span(2, 3), "d": Span(5, 6)}
    assert (times.stages["stage1"], times.lasts) == (Span(0, 5), 6.0)


def test_a_limit_makes_steps_wait_for_a_place() -> None:
    """Two places for three steps: the third begins when the first has ended."""
    steps = [a_step(name, estimate=2.0, limits=("slots",)) for name in "abc"]
    plan = a_plan(steps, limits={"slots": 2})
    assert estimate(plan).steps == {"a": Span(0, 2), "b": Span(0, 2), "c": Span(2, 4)}


def test_a_server_is_out_from_its_drain_until_it_is_back() -> None:
    """One after another for the canary; two at once in the next batch."""
    seen = rotation(ROLLING, estimate(ROLLING))
    assert seen["check"] == {"public": [4]}
    assert seen["canary"] == {"public": [4, 3, 4]}
    assert seen["batch-2"] == {"public": [4, 3, 2, 3, 4]}


def test_an_empty_stage_takes_no_time() -> None:
    """It begins and ends where the one before it ended."""
    plan = msgspec.structs.replace(ROLLING, stages=(Stage("none", "", ()),))
    assert estimate(plan).stages == {"none": Span(0, 0)}


def rows(document: Document, title: str) -> list[str]:
    """The rows of the table in a section, their cells joined."""
    section = next(section for section in document.sections if section.title == title)
    table = next(part for part in section.body if isinstance(part, Table))
    return [" | ".join(cell.text for cell in row) for row in table.rows]


def test_the_stages_say_who_is_affected_and_how_many_serve() -> None:
    """One line for each, with the servers in rotation after each change."""
    stages = rows(plan_document(ROLLING), "Stages")
    assert "5 | canary | 8 | 20 s | 4 → 3 → 4 | nobody; sessions on app1 end by themselves" in stages
    assert stages[-1].endswith("| nobody; waits for approval")


def test_the_steps_say_how_they_are_undone() -> None:
    """By steps made beforehand, or by what takes their place; brief leaves them out."""
    steps = rows(plan_document(ROLLING), "5 canary: Upgrade app1")
    assert "app1/switch | switch app1 from v1 to v2 | switch app1 from v2 to v1 | 0.2 s | 1 min" in steps
    assert [section.title for section in plan_document(ROLLING, steps=False).sections] == [
        "Stages",
        "Migrations",
        "When something fails",
    ]


def test_past_the_point_of_no_return_no_step_is_said_to_be_undone() -> None:
    """Finalize takes a snapshot of its own, to which no way back leads."""
    document = plan_document(ROLLING)
    last = next(section.title for section in document.sections if "finalize" in section.title)
    assert {row.split(" | ")[2] for row in rows(document, last)} == {
        "nothing: there is no way back from here"
    }


def test_a_site_that_was_upgraded_before_is_said_to_be() -> None:
    """The stages alone would read like an upgrade."""
    seen = Facts(versions={f"app{number}": "v2" for number in range(1, 5)})
    stages = plan_document(msgspec.structs.replace(ROLLING, facts=seen)).sections[0]
    said = [part.text for part in stages.body if isinstance(part, Text)]
    assert "Every node runs v2 already: what is left is to see that, and to finalize." in said


def failing(document: Document) -> list[str]:
    """What is said of failures."""
    [section] = [section for section in document.sections if section.title == "When something fails"]
    return [part.text for part in section.body if isinstance(part, Text)]


def figure(document: Document, name: str) -> str:
    """A figure, and what it means."""
    [found] = [figure for figure in document.figures if figure.label == name]
    return f"{found.value.text} {found.note}"


def test_a_rolling_plan_keeps_its_floor_and_its_way_back_until_finalize() -> None:
    """Some serve at any moment, and finalize alone gives the way back up."""
    document = plan_document(ROLLING)
    assert figure(document, "serving") == "2 nodes at the least; the floor is 2"
    assert "given up in finalize alone" in failing(document)[-1]


def test_a_full_stop_serves_nobody_and_has_no_way_back_from_its_go() -> None:
    """That nobody is served is agreed; which gate gives the way back up is told."""
    facts = Facts(deployments=DEPLOYED)
    document = plan_document(STRATEGIES["full-stop"](a_messenger(), a_full_stop(), facts))
    assert figure(document, "serving").startswith("0 nodes at the least: that is agreed")
    assert (
        failing(document)[-1]
        == "There is no way back from resume on, which waits for `changeover approve resume/approve`."
    )


def test_the_outline_is_json_with_the_plan_in_it() -> None:
    """What `plan --json` prints holds the plan itself and what follows from it."""
    said = msgspec.json.decode(msgspec.json.encode(outline(ROLLING)))
    assert said["digest"] == ROLLING.digest()
    assert said["in_rotation"]["canary"] == {"public": [4, 3, 4]}
    assert msgspec.convert(said["plan"], type(ROLLING)) == ROLLING


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (12.4, "12 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_told_in_two_units_at_the_most(value: float, words: str) -> None:
    """Tenths below ten seconds, whole seconds below an hour, minutes above."""
    assert seconds(value) == words


def test_moments_carry_their_offset() -> None:
    """Whoever reads a report elsewhere knows when it was."""
    assert moment(1_800_000_000.25) == "2027-01-15 08:00:00 +00:00"
    assert clock(1_800_000_000.25) == "08:00:00.2"


def test_names_and_numbers() -> None:
    """One step, two steps; a long list is cut."""
    assert (count(1, "step"), count(2, "step")) == ("1 step", "2 steps")
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
    assert listed(list("abcde")) == "a, b, c, d, e"


def test_a_step_that_can_never_begin_does_not_hang_the_estimate() -> None:
    """A circle is no plan that a strategy makes; it takes no time here."""
    circle = [Step(id=a, do=Operation("x", a), summary=a, needs=(b,)) for a, b in ("ab", "ba")]
    assert estimate(a_plan(circle)).steps == {}
