"""Planned against actual, and what is left for people."""

import msgspec

from changeover.byhand import by_hand
from changeover.engine.events import CommandTaken, RunChanged, StepChanged, Verb
from changeover.model.instructions import Instruction
from changeover.model.plan import Facts, Operation, Plan, Stage, Step
from changeover.model.states import RunState, StepState
from changeover.report import formats
from changeover.report.duties import Duty, duties
from changeover.report.formats import Format
from changeover.report.run import Left, run_report
from changeover.report.told import run_document
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site
from tests.unit.report.made import UPGRADED, history, step, with_stages

LOOK = Operation("host.check", "app1")


def a_plan(*steps: Step) -> Plan:
    """One stage of these steps."""
    return with_stages(Stage("check", "Check", steps))


def changed(step: str, state: StepState, at: float, **more: str) -> StepChanged:
    """A change at that moment."""
    return StepChanged(step=step, state=state, at=at, **more)  # type: ignore[arg-type]


def test_a_step_with_its_time_is_held_against_when_it_began() -> None:
    """Late by what passed between; a second try does not make it later."""
    plan = a_plan(Step("a", LOOK, "look", owner="Prabhu", planned=100))
    changes = [
        changed("a", StepState.RUNNING, 160),
        changed("a", StepState.PENDING, 161),
        changed("a", StepState.RUNNING, 170),
        changed("a", StepState.DONE, 175),
    ]
    (duty,) = duties(plan, {"a": changes})
    assert duty == Duty("a", "look", "Prabhu", planned=100, begun=160, ended=175)
    assert duty.late == 60


def test_a_gate_tells_who_gave_it() -> None:
    """It is waited for from when it could be given."""
    plan = a_plan(Step("go", Operation("people.approve", "go"), "go", person=True, who=("kirk", "lisa")))
    changes = [changed("go", StepState.WAITING, 10), changed("go", StepState.DONE, 40, actor="kirk")]
    (duty,) = duties(plan, {"go": changes})
    assert (duty.owner, duty.begun, duty.ended, duty.by) == ("kirk, lisa", 10, 40, "kirk")
    assert duty.late is None


def test_what_nobody_owns_and_has_no_time_is_not_told() -> None:
    """And what has not begun has no moment."""
    plan = a_plan(Step("a", LOOK, "look"), Step("b", LOOK, "look", owner="Thomas", planned=5))
    assert [(it.step, it.begun, it.late) for it in duties(plan, {})] == [("b", None, None)]


def test_the_report_tells_the_timetable_what_is_left_by_hand_and_what_comes_afterwards() -> None:
    """In each form; what is typed stands as it is typed."""
    plan = a_plan(Step("a", LOOK, "look", owner="Prabhu", planned=100))
    plan = msgspec.structs.replace(
        plan, release=msgspec.structs.replace(plan.release, afterwards=("tell the help desk",))
    )
    typed = Instruction("app1", "rm -r '*new*'", "it is gone")
    report = run_report("r", plan, history(*UPGRADED[:2]), now=10.0)
    report = msgspec.structs.replace(
        report,
        left=(Left("back/app1/uninstall", "remove v2", "it is there", (typed,)),),
        duties=(Duty("a", "look", "Prabhu", planned=100.0, begun=190.0),),
    )
    for form in (Format.TERMINAL, Format.MARKDOWN):
        text = formats.written(report, lambda: run_document(report), form)
        for word in ("Prabhu", "1 min 30 s", "rm -r '*new*'", "tell the help desk", "it is gone"):
            assert word in text, (form, word)


def test_what_a_run_has_left_behind_is_told_with_what_is_typed_to_take_it_back() -> None:
    """The bound command of the site, not only what it is about."""
    plan = STRATEGIES["rolling"](a_site(), a_release(), Facts())
    events = history(
        *UPGRADED[:2],
        (1.0, step("app1/install", StepState.RUNNING, attempt=1)),
        (2.0, step("app1/install", StepState.DONE, evidence="v2 is there")),
        (3.0, CommandTaken(command=1, verb=Verb.LEAVE, actor="ann", reason="enough")),
        (3.0, RunChanged(state=RunState.ABORTED, reason="enough", actor="ann")),
    )
    report = run_report("r", plan, events, now=10.0, by_hand=by_hand)
    (left,) = report.left
    assert left.step == "back/app1/uninstall"
    assert any("app.service" in it.text for it in left.instructions)
