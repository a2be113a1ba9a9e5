"""Where a run stands, for somebody who looks now."""

import msgspec
import pytest

from changeover.engine.events import (
    FAILURE_BUDGET,
    Claimed,
    CommandTaken,
    Created,
    Event,
    FallbackBegun,
    RunChanged,
    StepChanged,
    Verb,
)
from changeover.engine.fold import RunStatus, fold
from changeover.fallback import way_back
from changeover.model.diff import diff
from changeover.model.plan import Facts
from changeover.model.states import RunState, StepState
from changeover.model.values import Outcome, Verdict
from changeover.report.advice import advice
from changeover.report.changes import check_document, diff_document
from changeover.report.document import Table, Text
from changeover.report.estimate import estimate
from changeover.report.happened import line
from changeover.report.progress import farewell, in_rotation, progress, remaining, status_summary
from changeover.strategies import STRATEGIES
from tests.enginekit import a_gate, a_plan, a_step
from tests.sites import a_release, a_site
from tests.unit.report.made import BEGAN, OWNER, PLAN, UPGRADED, history, step

S, R = StepState, RunState
FAILED = (*UPGRADED[:5], (6.0, step("a", S.FAILED, evidence="no answer", hint="look at its log")))


def shown(*moments: tuple[float, Event], now: float = 10.0) -> list[str]:
    """Every line of the progress, cells joined by a blank."""
    document = progress(fold("r", PLAN, history(*moments)), estimate(PLAN), BEGAN + now)
    lines = [document.title, document.subtitle]
    for section in document.sections:
        for part in section.body:
            rows = part.rows if isinstance(part, Table) else ((part,),)
            lines += [" ".join(cell.text for cell in row) for row in rows]
    return lines


def test_a_step_at_work_says_how_far_it_has_come() -> None:
    """By its latest word, which no event holds; of what is not at work nothing is shown."""
    status = fold("r", PLAN, history(*UPGRADED[:5]))
    notes = {"a": "mail has 37 outstanding, 48 per s", "b": "over"}
    units = progress(status, estimate(PLAN), BEGAN + 4, notes=notes).sections[2].body[0]
    assert isinstance(units, Table)
    said = [row[2].text for row in units.rows]
    assert said == ["a 1.0 s of about 2.0 s, attempt 2: mail has 37 outstanding, 48 per s", "waits for a"]


def test_a_step_at_work_is_shown_with_its_time() -> None:
    """The attempt, the time it has taken, its estimate; and for whom the next one waits."""
    assert shown(*UPGRADED[:5], now=4.0) == [
        "identity: v1 → v2",
        "run r · running",
        "4.0 s so far, about 6.0 s to go · 4 of 4 in rotation at public",
        "▸ stage1 0/2 3.0 s 5.0 s",
        "· stage2 0/1  1.0 s",
        "· finalize 0/2  0.0 s",
        "a a ▸ a 1.0 s of about 2.0 s, attempt 2",
        "b b · waits for a",
    ]


def test_a_failure_is_shown_with_what_to_do() -> None:
    """The evidence, the hint, and the commands to choose from."""
    stopped = (*FAILED, (6.0, RunChanged(state=R.STOPPED, reason="a failed: no answer")))
    assert shown(*stopped)[-4:] == [
        "a failed: no answer (look at its log)",
        "stopped: a failed: no answer",
        "next: mend it, then `changeover retry a`; or `changeover skip a --reason …`",
        "next: to fall back: `changeover abort --reason …`",
    ]


def test_upgraded_it_says_so() -> None:
    """Only finalize is left, and the words name the command; what was skipped on the way is not passed over."""
    lines = shown(*UPGRADED)
    assert lines[1] == "run r · upgraded, but for 1 skipped step; finalize waits for approval"
    assert lines[3] == "- stage1 1/2 5.0 s 5.0 s"
    assert lines[-1] == "next: `changeover finalize` gives up the way back, when you are content"


def test_what_is_to_go_does_not_count_finalize_before_its_time() -> None:
    """By the estimates of the stages that are not finished, in proportion to their steps."""
    assert remaining(fold("r", PLAN, history(*UPGRADED[:6])), estimate(PLAN)) == pytest.approx(2.5 + 1.0)


def test_a_large_stage_is_cut_to_what_fits() -> None:
    """Those at work come first, the rest is counted."""
    plan = a_plan([a_step(f"n{number}/x", unit=f"n{number}") for number in range(50)])
    begun = StepChanged(step="n40/x", state=S.RUNNING, attempt=1)
    status = fold("r", plan, history((0.0, UPGRADED[0][1]), (1.0, begun)))
    units = progress(status, estimate(plan), BEGAN + 2, most=3).sections[2].body
    assert isinstance(units[0], Table)
    assert [row[0].text for row in units[0].rows] == ["n40", "n0", "n1"]
    assert units[1] == Text("and 47 more", units[1].tone)  # type: ignore[union-attr]


def test_a_node_is_out_of_rotation_from_its_drain_until_it_entered() -> None:
    """As far as the run has moved it."""
    plan = STRATEGIES["rolling"](a_site(), a_release(), Facts())
    created = (0.0, UPGRADED[0][1])
    drained = (created, (1.0, StepChanged(step="app1/drain", state=S.RUNNING, attempt=1)))
    assert list(in_rotation(fold("r", plan, history(created)))) == ["4 of 4 in rotation at public"]
    assert list(in_rotation(fold("r", plan, history(*drained)))) == ["3 of 4 in rotation at public"]


def test_paused_with_something_in_flight_nothing_is_advised() -> None:
    """First it must finish."""
    paused = (*UPGRADED[:5], (4.0, RunChanged(state=R.PAUSED, actor="ann", reason="lunch")))
    assert list(advice(fold("r", PLAN, history(*paused)))) == []
    rested = (*paused, (5.0, step("a", S.DONE)))
    assert list(advice(fold("r", PLAN, history(*rested)))) == ["`changeover continue`"]
    assert list(advice(fold("r", PLAN, history(*rested)), conducted=False)) == ["`changeover resume`"]


def test_after_an_interlocks_stop_a_retry_of_what_was_skipped_is_advised() -> None:
    """A node was not taken out, so its stop is forbidden: to go on would only stop again."""
    plan = STRATEGIES["rolling"](a_site(), a_release(), Facts())
    stages = [stage for stage in plan.stages if any(it.id == "app1/stop" for it in stage.steps)]
    plan = msgspec.structs.replace(plan, stages=tuple(stages))
    drained = [step("app1/drain", S.RUNNING, attempt=1), step("app1/drain", S.DONE)]
    skipped = step("app1/out", S.SKIPPED, actor="bob", reason="by hand")
    stopped = RunChanged(state=R.STOPPED, reason="app1/stop: nothing serving is stopped: app1 is in rotation")
    events: list[Event] = [UPGRADED[0][1], *drained, skipped, stopped]
    status = fold("r", plan, history(*((float(at), event) for at, event in enumerate(events))))
    assert list(advice(status)) == [
        "`changeover retry app1/out`, which was skipped, if that is what is missing",
        "`changeover continue`, once what stopped it is mended",
        "to fall back: `changeover abort --reason …`",
    ]
    assert list(advice(status, conducted=False))[-1].startswith("after any of these `changeover resume`")


def test_a_run_that_nobody_conducts_says_so() -> None:
    """What is in flight is not called at work: the next conductor looks at it first."""
    status = fold("r", PLAN, history(*UPGRADED[:5]))
    document = progress(status, estimate(PLAN), BEGAN + 9, conducted=False)
    assert document.subtitle == "run r · running, without a conductor"
    assert list(advice(status, conducted=False)) == [
        "`changeover resume`; it looks first at what was in flight"
    ]
    assert list(advice(status)) == []


def test_a_refused_gate_says_by_whom_and_why() -> None:
    """And what may follow: it is asked again, passed over, or the run goes back."""
    plan = a_plan([a_gate("sure")], [a_step("b")])
    refused: list[Event] = [
        step("sure", S.WAITING),
        step("sure", S.FAILED, actor="bob", reason="I do not like it"),
        RunChanged(state=R.STOPPED, reason="sure was refused"),
    ]
    events: list[Event] = [UPGRADED[0][1], *refused]
    status = fold("r", plan, history(*((float(at), event) for at, event in enumerate(events))))
    notes = [text.text for text in farewell(status).sections[0].body if isinstance(text, Text)]
    assert notes[:4] == [
        "sure refused by bob: I do not like it",
        "stopped: sure was refused",
        "next: `changeover retry sure` asks again; or `changeover skip sure --reason …`",
        "next: to fall back: `changeover abort --reason …`",
    ]


def a_way_back(*after: Event) -> RunStatus:
    """A run in which app1 was stopped, on its way back; and what followed there."""
    plan = STRATEGIES["rolling"](a_site(), a_release(), Facts())
    began: list[Event] = [UPGRADED[0][1]]
    for id_ in ("app1/drain", "app1/out", "app1/stop"):
        began += [step(id_, S.RUNNING, attempt=1), step(id_, S.DONE)]
    checks = [stage for stage in plan.stages if any(it.id == "app1/drain" for it in stage.steps)]
    plan = msgspec.structs.replace(plan, stages=tuple(checks))
    so_far = fold("r", plan, history(*((float(at), event) for at, event in enumerate(began))))
    back = way_back(plan, so_far.reached())
    events = [
        *began,
        FallbackBegun(stages=back.stages, budgets=back.budgets, reason="rates", actor="ann"),
        *after,
    ]
    return fold("r", plan, history(*((float(at), event) for at, event in enumerate(events))))


UNWELL = (
    step("back/app1/start", S.RUNNING, attempt=1),
    step("back/app1/start", S.FAILED, evidence="no SSH connection"),
)
LEFT = ("back/app1/start", "back/app1/health", "back/app1/version", "back/app1/enter", "back/app1/verify")


def test_a_node_that_is_out_when_the_way_back_begins_is_out() -> None:
    """It was the way there that took it out of rotation."""
    assert list(in_rotation(a_way_back())) == ["3 of 4 in rotation at public"]


def test_a_node_that_could_not_go_back_is_named_with_what_was_seen() -> None:
    """And with what to type for it: to go on would only stop again, and to abort is not possible any more."""
    aside = [step(id_, S.SKIPPED, actor=FAILURE_BUDGET, reason="app1 was set aside") for id_ in LEFT]
    status = a_way_back(*UNWELL, *aside, RunChanged(state=R.STOPPED, reason="everything went back but app1"))
    notes = [text.text for text in farewell(status).sections[0].body if isinstance(text, Text)]
    assert notes[:4] == [
        "back/app1/start skipped: no SSH connection",
        "stopped: everything went back but app1",
        "next: mend it, then `changeover retry back/app1/start`; or `changeover skip back/app1/start --reason …`, and it is left so",
        "next: to end it here: `changeover abort --stay --reason …`; `changeover report` lists what is left to do",
    ]


def test_what_was_skipped_on_the_way_back_is_not_back_where_it_began() -> None:
    """A person has accepted that the node is left: neither the state nor the stages pass over it."""
    skipped = [step(id_, S.SKIPPED, actor="bob", reason="it is dead") for id_ in LEFT]
    status = a_way_back(*UNWELL, *skipped, RunChanged(state=R.FELL_BACK))
    left = farewell(status)
    assert left.title == "identity: fell back, but for 5 skipped steps"
    assert left.subtitle == "run r · 5 of 5 steps of the way back finished"
    lines = [row[0].text for row in _stage_rows(status)]
    assert "-" in lines


def _stage_rows(status: RunStatus) -> tuple[tuple[Text, ...], ...]:
    table = progress(status, estimate(status.plan), BEGAN + 60).sections[1].body[0]
    assert isinstance(table, Table)
    return table.rows


def test_last_words_tell_how_to_go_on() -> None:
    """Left in the middle of a step: it says that resume looks at it first."""
    left = farewell(fold("r", PLAN, history(*UPGRADED[:5])))
    assert left.title == "identity: left with 1 step in flight"
    assert [text.text for text in left.sections[0].body if isinstance(text, Text)] == [
        "next: `changeover resume`; it looks first at what was in flight",
        "report: `changeover report r`",
    ]


def test_the_summary_holds_every_step() -> None:
    """As JSON, for scripts."""
    said = status_summary(fold("r", PLAN, history(*FAILED)))
    assert said["steps"]["a"] == {"state": "failed", "attempt": 2, "evidence": "no answer"}
    assert (said["state"], said["finalize_left"]) == ("running", False)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (UPGRADED[0][1], "run                       created    by ann: CHG-1"),
        (
            Claimed(epoch=2, owner=OWNER),
            "run                       taken      by ann@ops1, process 411 (epoch 2)",
        ),
        (step("a", S.RUNNING, attempt=1), "a                         running"),
        (step("a", S.RUNNING, attempt=2), "a                         running    attempt 2"),
        (step("a", S.DONE, evidence="two\nlines"), "a                         done       two lines"),
        (
            step("a", S.FAILED, evidence="no", hint="look"),
            "a                         failed     no; hint: look",
        ),
        (
            CommandTaken(command=1, verb=Verb.RETRY, actor="bob", step="a", refused="it is done"),
            "command                   refused    retry a, by bob; refused: it is done",
        ),
        (
            RunChanged(state=R.PAUSED, actor="bob", reason="lunch"),
            "run                       paused     by bob: lunch",
        ),
    ],
)
def test_an_event_is_one_line(event: Event, words: str) -> None:
    """The time, what it is about, what became of it, what was said."""
    assert isinstance(UPGRADED[0][1], Created)
    (timed,) = history((0.0, event))
    assert line(timed).text == f"08:00:00.0  {words}"


def test_verdicts_that_are_not_good_carry_their_hint() -> None:
    """Good ones do not."""
    bad = Verdict("disk", Outcome.BAD, "full", "make room")
    document = check_document("identity", [Verdict("clock", Outcome.GOOD, "right", "never shown"), bad])
    assert document.title == "identity: 1 of 2 checks not good"
    (table,) = document.sections[0].body
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["good", "clock", "right"],
        ["bad", "disk", "full (hint: make room)"],
    ]


def test_a_host_that_is_not_reached_is_told_once() -> None:
    """With all that could not be looked at because of it; two nodes that are bad alike are two troubles."""
    lost, hint = "app1: no SSH connection within 10 s", "is it up?"
    bad, unknown = Outcome.BAD, Outcome.UNKNOWN
    verdicts = [
        Verdict("app1 clock", unknown, lost, hint),
        Verdict("app1 disk", unknown, lost, hint),
        Verdict("app2 clock", Outcome.GOOD, "right"),
        Verdict("app1 health", unknown, f"health on app1: {lost}", hint),
        Verdict("app2 version", bad, "it runs v0"),
        Verdict("app3 version", bad, "it runs v0"),
        Verdict("database main", bad, "refused"),
        Verdict("ledger of main", unknown, "refused"),
    ]
    document = check_document("identity", verdicts)
    assert document.title == "identity: 7 of 8 checks not good"
    (table,) = document.sections[0].body
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        [
            "unknown",
            "app1 clock",
            f"{lost} (hint: {hint}); because of it not looked at: app1 disk, app1 health",
        ],
        ["good", "app2 clock", "right"],
        ["bad", "app2 version", "it runs v0"],
        ["bad", "app3 version", "it runs v0"],
        ["bad", "database main", "refused; because of it not looked at: ledger of main"],
    ]


def test_differences_are_told_by_what_they_are_in() -> None:
    """A step that is new is told by its summary."""
    found = diff(a_plan([a_step("a")]), a_plan([a_step("a", timeout=5.0), a_step("b", summary="do b")]))
    document = diff_document(found, before="old", after="new")
    assert document.title == "2 differences between old and new"
    (section,) = document.sections
    (table,) = section.body
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["~", "a: timeout", "60.0", "5.0"],
        ["+", "b", "", "do b"],
    ]
