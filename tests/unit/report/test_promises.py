"""What is promised where an outage was agreed to."""

from changeover.model.plan import Facts, Operation, Promise, Stage, Step
from changeover.model.states import StepState
from changeover.report.promises import promised
from changeover.report.receipt import Held
from changeover.report.run import run_report
from changeover.report.told import run_document
from changeover.strategies import STRATEGIES
from tests.enginekit import a_plan, a_step
from tests.sites import a_release, a_site
from tests.unit.report.made import BEGAN, UPGRADED, a_ledger, history, step, with_stages

S = StepState
NOTHING = Promise(requests_failed=None, sessions_cut=None)


def stage(name: str, action: str, *, outage: bool = False) -> Stage:
    """A stage of one step."""
    return Stage(name, "", (Step(name, Operation(action, "app1"), ""),), outage=outage)


def test_a_rolling_plan_promises_everything_of_every_stage() -> None:
    """Nobody was asked to agree to anything."""
    assert set(promised(STRATEGIES["rolling"](a_site(), a_release(), Facts()).stages)) == {Promise()}


def test_an_outage_lasts_until_people_are_let_in_again() -> None:
    """The stages in between are not marked themselves, as the schema's on the way back of a rolling upgrade."""
    stages = [
        stage("back-unstopped", "traffic.enter"),
        stage("back-leave", "node.stop", outage=True),
        stage("back-expand", "database.revert"),
        stage("back-return", "traffic.enter"),
        stage("back-verify", "node.verify"),
    ]
    assert promised(stages) == [Promise(), NOTHING, NOTHING, NOTHING, Promise()]


def test_where_nothing_keeps_people_out_the_start_lets_them_in() -> None:
    """A site without balancer and without gates."""
    stages = [
        stage("stop", "node.stop", outage=True),
        stage("start", "node.start", outage=True),
        stage("verify", "node.verify"),
    ]
    assert promised(stages) == [NOTHING, NOTHING, Promise()]


def test_the_receipt_of_an_outage_calls_nothing_broken_but_what_was_lost_outside_of_it() -> None:
    """What failed in it was agreed to, and so it is in the whole."""
    plan = a_plan([a_step("a")], [a_step("b")], [a_step("c")])
    plan = with_stages(
        plan.stages[0],
        Stage("stop", "", (Step("b", Operation("node.start", "app1"), ""),), outage=True),
        plan.stages[2],
    )
    events = history(
        UPGRADED[0],
        *((at, step(id_, S.RUNNING, attempt=1)) for at, id_ in ((0.0, "a"),)),
        (5.0, step("a", S.DONE)),
        (5.0, step("b", S.RUNNING, attempt=1)),
        (10.0, step("b", S.DONE)),
        (10.0, step("c", S.RUNNING, attempt=1)),
    )
    within = run_report("r", plan, events, now=BEGAN + 20, ledgers=[a_ledger(0, 30, failed=(6, 7))])
    assert [it.cost.held for it in within.stages if it.cost] == [Held.KEPT] * 3
    assert (within.total.requests.seen, within.total.held) == (2, Held.KEPT)
    assert "kept (an outage was agreed to)" in str(run_document(within))
    outside = run_report("r", plan, events, now=BEGAN + 20, ledgers=[a_ledger(0, 30, failed=(6, 7, 12))])
    assert [it.cost.held for it in outside.stages if it.cost] == [Held.KEPT, Held.KEPT, Held.BROKEN]
    assert (outside.total.requests.promised, outside.total.held) == (2, Held.BROKEN)
