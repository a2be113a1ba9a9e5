"""The latest safe moment and what could not be told, as people and programs read them."""

import msgspec

from changeover.engine.events import Created, Event, FallbackBegun, RunChanged, StepChanged, Told
from changeover.engine.fold import RunStatus
from changeover.model.plan import Plan
from changeover.model.release import Late, Moment, Notice, Window
from changeover.model.states import RunState, StepState
from changeover.model.values import Secret
from changeover.report.clock import clock_words
from changeover.report.document import Tone
from changeover.report.estimate import estimate
from changeover.report.markdown import render
from changeover.report.progress import progress, status_summary
from tests.enginekit import a_gate, a_plan, a_step, told

S = StepState
CLOSES = 1_900_000_000.0

BACK = a_step("back/a", estimate=300.0)


def a_night(late: Late = Late.FALL_BACK) -> Plan:
    """A plan that is to be done by 10:46 in California, and takes five minutes to be taken back."""
    plan = a_plan([a_step("a", undo=(BACK,))], [a_gate("go", who=("anna",))])
    window = Window(CLOSES - 7200, CLOSES, "America/Los_Angeles", margin=600, warn=900, late=late)
    notices = (Notice("ops", Secret(env="OPS")),)
    release = msgspec.structs.replace(plan.release, window=window, notices=notices)
    stages = tuple(msgspec.structs.replace(stage, outage=True) for stage in plan.stages)
    return msgspec.structs.replace(plan, release=release, stages=stages)


DONE: tuple[Event, ...] = (
    Created(site="identity", plan="", actor="ops", reason=""),
    StepChanged(step="a", state=S.RUNNING, attempt=1),
    StepChanged(step="a", state=S.DONE),
    StepChanged(step="go", state=S.WAITING),
)


def words(status: RunStatus, minutes: float) -> list[tuple[str, Tone]]:
    """What is said so many minutes before the window closes."""
    return [(text.text, text.tone) for text in clock_words(status, CLOSES - minutes * 60)]


def test_it_is_told_with_how_far_away_it_is() -> None:
    """In the time zone of the window, and what happens then; louder when it is near, and when it has passed."""
    status = told(a_night(), DONE)
    said = "latest safe moment 10:31 PDT ({}), then it falls back by itself"
    assert words(status, 60) == [(said.format("in 45 min"), Tone.STRONG)]
    assert words(status, 25) == [(said.format("in 10 min"), Tone.DOUBT)]
    assert words(status, 16.5) == [(said.format("in 1 min 30 s"), Tone.DOUBT)]
    assert words(status, 13) == [(said.format("2 min ago"), Tone.BAD)]
    asks = told(a_night(Late.ASK), DONE)
    assert words(asks, 60)[0][0].endswith("then it stops and asks")


def test_on_the_way_back_the_end_of_the_window_counts() -> None:
    """There is nothing to decide any more, only something to be done in time."""
    stage = msgspec.structs.replace(a_night().stages[0], name="back-a", steps=(BACK,))
    status = told(a_night(), (*DONE, FallbackBegun(stages=(stage,), budgets=(), reason="", actor="ops")))
    assert words(status, 12) == [("the window closes 10:46 PDT (in 12 min)", Tone.STRONG)]
    assert words(status, -1) == [("the window closes 10:46 PDT (1 min ago)", Tone.BAD)]


def test_without_a_window_nothing_is_said() -> None:
    """Neither to people nor to programs."""
    status = told(a_plan([a_step("a")]), DONE[:1])
    assert words(status, 0) == []
    assert status_summary(status)["latest_safe_moment"] is None


def test_the_status_shows_it_and_who_could_not_be_told() -> None:
    """As the screen does; what to type names who may answer."""
    deaf = Told(notice="ops", moment=Moment.WAITS, of=4, error="nobody listens")
    status = told(a_night(), (*DONE, RunChanged(state=RunState.WAITING), deaf))
    shown = render(progress(status, estimate(status.plan), CLOSES - 3600)).replace("\\", "")
    assert "latest safe moment 10:31 PDT (in 45 min)" in shown
    assert "ops could not be told of waits: nobody listens" in shown
    assert "as anna (`--as NAME`)" in shown
    summary = status_summary(status)
    assert summary["untold"] == ["ops could not be told of waits: nobody listens"]
    assert summary["latest_safe_moment"] == {
        "at": CLOSES - 900,
        "until": CLOSES,
        "way_back": 300,
        "margin": 600,
        "late": "fall-back",
        "cause": "window",
        "zone": "America/Los_Angeles",
    }
