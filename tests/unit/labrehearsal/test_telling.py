"""How cases on real hosts are told, and how they are left when they are interrupted."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import msgspec
import pytest

from changeover.labrehearsal.ground import whole
from changeover.labrehearsal.interrupting import SIGNALS, Interrupted, interruptible
from changeover.labrehearsal.rehearsing import stage_of
from changeover.labrehearsal.results import FORMAT, LeftOut, OnHosts, Played
from changeover.labrehearsal.telling import document, line_of
from changeover.model.plan import Facts
from changeover.rehearsal import End, Finding, Line, parse
from changeover.report.formats import Format, written
from changeover.strategies.rolling import rolling
from tests.sites import a_release, a_site

GOOD = Played(
    case="app1/stop:host-dies:abort",
    stage="batch-1",
    end=End.FELL_BACK,
    befell=("app1/stop:host-dies: app1: power",),
    asked=1,
    in_rotation=3,
    requests_failed=2,
    sessions_cut=1,
    writes_acknowledged=80,
    writes_lost=0,
    writes_given_up=7,
    gap=0.4,
    way_back=12.0,
    took=31.0,
)
BAD = msgspec.structs.replace(GOOD, case="app2/start:hangs:retry", end=End.FINDING, in_rotation=2)
MADE = OnHosts(
    format=FORMAT,
    site="notes",
    lab="lab",
    form="hosts",
    plan="p" * 64,
    from_version="v1",
    to_version="v2",
    nodes=4,
    stages=("check", "batch-1"),
    cases=(GOOD, BAD),
    left_out=(LeftOut("check", ("app1/check:hangs:retry", "app1/check:hangs:abort")),),
    beyond=("slow",),
    findings=(
        Finding(
            BAD.case, "capacity floor", "2 in rotation, the floor is 3", 4.0, trace=(Line(1.5, "it began"),)
        ),
    ),
    took=62.0,
)


@pytest.mark.parametrize("form", [Format.TERMINAL, Format.MARKDOWN, Format.HTML])
def test_findings_come_before_everything_else(form: Format) -> None:
    """With the case, how to play it again, and what happened in it; what was left out is named by stage."""
    text = written(MADE, lambda: document(MADE), form)
    for said in ("2 in rotation, the floor is 3", "it began", "0 of 80, 7 given up", "hangs 2", "slow"):
        assert said in text
    assert text.index("Finding 1") < text.index("Left out")


def test_the_json_names_every_case_that_was_left_out() -> None:
    """Nothing is only counted there."""
    said = msgspec.json.decode(written(MADE, lambda: document(MADE), Format.JSON))
    assert said["left_out"][0]["cases"] == list(MADE.left_out[0].cases)
    assert said["format"] == FORMAT


def test_a_case_in_a_line_says_how_it_ended() -> None:
    """The mark alone is never the only thing that says so."""
    assert line_of(GOOD).text == "✓ app1/stop:host-dies:abort  fell back, 31 s"
    assert line_of(BAD).text.startswith("✗ app2/start:hangs:retry  finding")


@pytest.mark.parametrize(
    ("case", "stage"),
    [
        ("app2/start:hangs:retry", "batch-2"),
        ("main/expand/999_half_way:broken-off:abort", "expand"),
        ("finalize/approve:refused+back/app1/start:host-dies:abort:retry", "finalize"),
    ],
)
def test_a_case_belongs_to_the_stage_of_its_first_fault(case: str, stage: str) -> None:
    """The migration that the rehearsal adds is one of expand."""
    assert stage_of(parse(case), rolling(a_site(), a_release(), Facts())) == stage


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signals mean afterwards what they meant before."""
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
async def test_an_interruption_waits_for_what_must_not_be_left_half_done() -> None:
    """Told twice to end, it is cancelled once, after what a thread had begun, and cleans up undisturbed."""
    begun, may_end, ends = threading.Event(), threading.Event(), []

    def step() -> None:
        begun.set()
        may_end.wait(10)
        ends.append("step")

    async def work() -> None:
        try:
            await whole(step)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            ends.append("cleaned up")

    task = asyncio.create_task(interruptible(work()))
    await asyncio.to_thread(begun.wait, 10)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(Interrupted):
        await task
    assert ends == ["step", "cleaned up"]
    assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_IGN}
