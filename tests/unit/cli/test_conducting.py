"""Ctrl-C while a run is conducted: pause first, leave at once at the second word."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from changeover.cli import conducting, output
from changeover.cli.command import Settings
from changeover.cli.conducting import conduct
from changeover.cli.exits import Exit
from changeover.cli.output import Output
from changeover.conductor import Attached, Observer, OnStop
from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.engine.journal import Journal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.model.states import RunState, StepState
from tests.enginekit import Scripted, a_gate, a_plan, a_step, a_world
from tests.terminalkit import Closed, Tty

PLAN = a_plan([a_step("a")], [a_step("b")])


class Conducted:
    """A run conducted as from the terminal, whose signals the test sends."""

    def __init__(self, attached: Attached, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attached = attached
        self.action = Scripted()
        self.action.hold["a"] = asyncio.Event()
        self.departure: Any = None
        self.settings = Settings(file=Path(), journal="", json=True, no_color=True, debug=False)
        self.settings.output = Output(json=True, out=io.StringIO(), err=io.StringIO())

        class Kept(conducting.Departure):
            def __init__(kept, *arguments: Any, **more: Any) -> None:  # noqa: N805
                super().__init__(*arguments, **more)
                self.departure = kept

        monkeypatch.setattr(conducting, "Departure", Kept)

    async def begin(self, plan: Any, on_stop: OnStop | None) -> "asyncio.Task[Exit]":
        """Begin the run; the task ends with the exit code."""

        async def work(observer: Observer, stop: OnStop) -> RunStatus:
            journal = self.attached.journal
            run = await journal.create_run(plan, actor="ann", reason="", owner=Owner.current())
            registry = {self.action.kind: self.action}
            runner = Runner(journal, run, a_world(), registry, observer=observer, on_stop=stop, poll=0.01)
            return await runner.run()

        return asyncio.create_task(conduct(self.settings, self.attached, RunStatus("", plan), work, on_stop))

    async def status(self) -> RunStatus:
        """Where the run was left, by the journal."""
        (record,) = await self.attached.runs()
        return await self.attached.journal.status(record.run)


@pytest.fixture
async def conducted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Conducted]:
    """A run whose step `a` stays in flight until the test lets it go."""
    attached = Attached(Journal.open(":memory:"))
    yield Conducted(attached, monkeypatch)
    await attached.close()


async def until(condition: Any) -> None:
    """Return once it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_reader_who_has_gone_changes_nothing_about_the_exit_code(
    conducted: Conducted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `changeover run | head`: the run goes on, its code is told, and a person reads the rest elsewhere."""
    gone: list[bool] = []
    monkeypatch.setattr(output, "reader_gone", lambda: gone.append(True))
    conducted.settings.output = Output(out=Closed(), err=io.StringIO())
    task = await conducted.begin(PLAN, "return")
    conducted.action.hold["a"].set()
    assert await task is Exit.DONE
    assert gone == [True]
    assert "identity: done\n" in conducted.settings.output.err.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("on_stop", ["wait", "return"])
async def test_the_first_word_lets_what_is_in_flight_finish(conducted: Conducted, on_stop: OnStop) -> None:
    """The run is left paused after `a`, with 3, and `b` was never launched."""
    task = await conducted.begin(PLAN, on_stop)
    await until(lambda: "a" in conducted.action.performed)
    conducted.departure.ask()
    await until(lambda: conducted.departure._display.status.state is RunState.PAUSED)
    assert not task.done()
    conducted.action.hold["a"].set()
    assert await task is Exit.STOPPED
    status = await conducted.status()
    assert status.state is RunState.PAUSED
    assert [step.state for step in status.steps.values()] == [StepState.DONE, StepState.PENDING]


async def test_the_second_word_leaves_at_once(conducted: Conducted) -> None:
    """What was in flight stays so in the journal, for resume to look at; it ends with 130."""
    task = await conducted.begin(PLAN, "return")
    await until(lambda: "a" in conducted.action.performed)
    conducted.departure.ask()
    conducted.departure.ask()
    assert await task is Exit.INTERRUPTED
    assert (await conducted.status()).in_flight == 1


async def test_a_terminal_that_goes_away_is_a_first_word_however_often(conducted: Conducted) -> None:
    """The shell and the kernel both tell it: what is in flight finishes all the same."""
    task = await conducted.begin(PLAN, "wait")
    await until(lambda: "a" in conducted.action.performed)
    conducted.departure.hang_up()
    conducted.departure.hang_up()
    await until(lambda: conducted.departure._display.status.state is RunState.PAUSED)
    conducted.action.hold["a"].set()
    assert await task is Exit.STOPPED
    assert (await conducted.status()).state is RunState.PAUSED


async def test_a_run_at_rest_is_left_at_the_first_word(conducted: Conducted) -> None:
    """At a gate nothing is in flight: it is left as it is, waiting, without a pause."""
    task = await conducted.begin(a_plan([a_gate("g")]), "wait")
    await until(lambda: conducted.departure and conducted.departure._display.at_rest)
    conducted.departure.ask()
    assert await task is Exit.STOPPED
    assert (await conducted.status()).state is RunState.WAITING


async def test_finalize_is_not_waited_for_unless_told(conducted: Conducted) -> None:
    """Upgraded, with finalize alone left, a run on a terminal ends with 0; told to wait, it stays."""
    conducted.action.hold.clear()
    conducted.settings.output = Output(out=Tty(), err=io.StringIO())
    plan = a_plan([a_step("a")], finalize=[a_gate("g")])
    assert await (await conducted.begin(plan, None)) is Exit.DONE
    assert (await conducted.status()).state is RunState.WAITING


async def test_told_to_wait_it_stays_for_finalize_too(conducted: Conducted) -> None:
    """It is there when the approval comes, and does what is behind it."""
    conducted.action.hold.clear()
    task = await conducted.begin(a_plan([a_step("a")], finalize=[a_gate("g")]), "wait")
    await until(lambda: conducted.departure and conducted.departure._display.at_rest)
    sent = await conducted.attached.send(Verb.APPROVE, actor="bob", step="g")
    assert sent.outcome == "taken"
    assert await task is Exit.DONE
    assert (await conducted.status()).state is RunState.DONE
