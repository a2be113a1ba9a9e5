"""The report of a run, from its events alone."""

import msgspec

from changeover.engine.events import FAILURE_BUDGET, FallbackBegun, RunChanged
from changeover.model.states import RunState, StepState
from changeover.report.receipt import Held, Window
from changeover.report.run import RunReport, run_report
from tests.enginekit import a_plan, a_step
from tests.unit.report.made import BEGAN, FINALIZED, PLAN, UPGRADED, a_ledger, history, step

S = StepState


def test_steps_tell_their_attempts_and_times() -> None:
    """Two attempts, the first failed; the time is from the first start to the last end."""
    report = run_report("r", PLAN, history(*UPGRADED), now=BEGAN + 10)
    a = report.stages[0].steps[0]
    assert (a.state, a.took, a.evidence) == (S.DONE, 4.0, "a is there")
    assert [(t.number, t.outcome, t.evidence, t.error) for t in a.attempts] == [
        (1, S.PENDING, "not yet", "StepError"),
        (2, S.DONE, "a is there", ""),
    ]


def test_it_says_who_decided_what_and_why() -> None:
    """Commands and skipped steps, each with name and reason."""
    report = run_report("r", PLAN, history(*FINALIZED), now=BEGAN + 5000)
    assert [(d.actor, d.command, d.step, d.reason) for d in report.decisions] == [
        ("bob", "skip", "b", "by hand"),
        ("bob", "approve", "finalize/approve", "fine"),
    ]
    assert [(s.step, s.actor, s.reason) for s in report.skipped] == [("b", "bob", "by hand")]
    assert [(t.epoch, t.owner) for t in report.takeovers] == [
        (1, "ann@ops1, process 411"),
        (2, "ann@ops1, process 411"),
    ]


def test_a_run_that_went_back_says_why_and_by_whom() -> None:
    """The end of the way back has no reason of its own."""
    back = FallbackBegun(
        stages=a_plan([a_step("undo")]).stages, budgets=(), reason="error rates", actor="bob"
    )
    undone = (step("undo", S.RUNNING, attempt=1), step("undo", S.DONE))
    events = history(
        *UPGRADED[:6], (6.0, back), *((7.0, it) for it in undone), (8.0, RunChanged(state=RunState.FELL_BACK))
    )
    assert run_report("r", PLAN, events, now=BEGAN + 9).why == "bob: error rates"


def test_a_step_set_aside_is_skipped_by_the_budget() -> None:
    """Its actor is the failure budget, its reason what failed."""
    plan = a_plan([a_step("a", unit="n1"), a_step("b", unit="n1")])
    events = history(*UPGRADED[:6], (6.0, step("b", S.SKIPPED, actor=FAILURE_BUDGET, reason="a failed")))
    (skip,) = run_report("r", plan, events, now=BEGAN + 7).skipped
    assert (skip.actor, skip.reason) == (FAILURE_BUDGET, "a failed")


def test_the_wait_for_finalize_costs_nothing() -> None:
    """Upgraded and waiting, the run ends where it came to rest; finalized later, the wait is no part of it."""
    waiting = run_report("r", PLAN, history(*UPGRADED), now=BEGAN + 500)
    assert (waiting.state, waiting.finalize_left, waiting.lasted) == (RunState.WAITING, True, 10.0)
    done = run_report("r", PLAN, history(*FINALIZED), now=BEGAN + 5000)
    assert done.total.windows == (Window(BEGAN, BEGAN + 10), Window(BEGAN + 1002, BEGAN + 1004))
    assert (done.finalize_left, done.lasted) == (False, 12.0)


def test_no_other_moment_is_left_out() -> None:
    """Each stage lasts until the next begins, the first from the creation of the run."""
    report = run_report("r", PLAN, history(*FINALIZED), now=BEGAN)
    windows = [stage.cost.windows[0] if stage.cost else None for stage in report.stages]
    assert windows == [
        Window(BEGAN, BEGAN + 7),
        Window(BEGAN + 7, BEGAN + 10),
        Window(BEGAN + 1002, BEGAN + 1004),
    ]


def test_losses_belong_to_the_stage_in_which_they_fell() -> None:
    """A failed request between two stages is charged to the earlier one."""
    ledger = a_ledger(-1, 2000, failed=(6, 500))
    report = run_report("r", PLAN, history(*FINALIZED), now=BEGAN, ledgers=[ledger])
    held = [stage.cost.held for stage in report.stages if stage.cost]
    assert held == [Held.BROKEN, Held.KEPT, Held.KEPT]
    assert report.total.requests.seen == 1


def test_a_run_at_work_is_reported_up_to_now() -> None:
    """A stage that goes on is measured up to this moment."""
    report = run_report("r", PLAN, history(*UPGRADED[:5]), now=BEGAN + 60)
    assert (report.state, report.lasted) == (RunState.RUNNING, 60.0)
    assert report.stages[0].steps[0].attempts[-1].ended is None
    assert [stage.cost is None for stage in report.stages] == [False, True, True]


def test_json_there_and_back() -> None:
    """The report is versioned JSON, and loses nothing."""
    report = run_report("r", PLAN, history(*FINALIZED), now=BEGAN, ledgers=[a_ledger(0, 20)])
    data = msgspec.json.encode(report)
    assert msgspec.json.decode(data, type=RunReport) == report
