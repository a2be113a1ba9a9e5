"""A run conducted from this terminal: shown while it goes on, left in good order on Ctrl-C."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from changeover.cli.command import Settings, actor
from changeover.cli.exits import Exit, of_run
from changeover.cli.live import Display, showing
from changeover.conductor import Attached, Observer, OnStop
from changeover.engine.commands import Command
from changeover.engine.events import Event, RunChanged, Verb
from changeover.engine.fold import RunStatus
from changeover.errors import ChangeoverError
from changeover.report.progress import answered, farewell
from changeover.report.run import only_finalize_left

Work = Callable[[Observer, OnStop], Coroutine[Any, Any, RunStatus]]


async def conduct(
    settings: Settings,
    attached: Attached,
    status: RunStatus,
    work: Work,
    on_stop: OnStop | None,
    *,
    stored: Sequence[Command] = (),
) -> Exit:
    """Do the work and show it; then say where the run was left. The code is that of its state.

    Unless told otherwise it waits for commands on a terminal, but not for the approval of finalize: that may
    be a week away, and the upgrade is done. `stored` are the commands that waited for a conductor: whoever
    began it is told what came of each.
    """
    output = settings.output
    watched = output.terminal and not output.json and not only_finalize_left(status)
    stop: OnStop = on_stop or ("wait" if watched else "return")
    async with showing(status, output, attached.journal.notes) as display:
        task = asyncio.create_task(work(display.see, stop))
        naming = asyncio.create_task(_name(display, attached))
        # One that returns of its own accord must not be left before it has obeyed all that was stored.
        departure = Departure(task, display, attached, before_finalize=stop == "wait" and on_stop is None)
        with departure.by_signal():
            try:
                left = await task
            except asyncio.CancelledError:
                left = display.status
            finally:
                naming.cancel()
        left.run = left.run or await _under_way(attached)
    await departure.paused()
    code = of_run(left.state, finalize_left=only_finalize_left(left))
    if left.in_flight or not left.run:
        code = Exit.INTERRUPTED
    answers = [await attached.journal.command_outcome(command.id) for command in stored]
    if not output.json:
        for record in answers:
            output.note(answered(record))
    said = {
        "run": left.run,
        "state": left.state,
        "finalize_left": only_finalize_left(left),
        "exit": int(code),
        "stored": [
            {
                "command": it.command.verb,
                "step": it.command.step,
                "outcome": it.outcome,
                "answer": it.answer,
            }
            for it in answers
        ],
    }
    output.last_words(said, lambda: farewell(left))
    return code


class Departure:
    """Leaves a run at the operator's word: at first after what is in flight, at the second word at once.

    With `before_finalize` it also leaves, unasked, a run in which only finalize is left.
    """

    def __init__(
        self,
        task: asyncio.Task[RunStatus],
        display: Display,
        attached: Attached,
        *,
        before_finalize: bool = False,
    ) -> None:
        self._task = task
        self._display = display
        self._attached = attached
        self._before_finalize = before_finalize
        self._pausing: asyncio.Task[None] | None = None
        display.changed = self._leave_at_rest

    @contextmanager
    def by_signal(self) -> Iterator[None]:
        """While open, SIGINT and SIGTERM are the operator's word, and so is the end of the terminal."""
        loop = asyncio.get_running_loop()
        words = {signal.SIGINT: self.ask, signal.SIGTERM: self.ask, signal.SIGHUP: self.hang_up}
        for number, word in words.items():
            loop.add_signal_handler(number, word)
        try:
            yield
        finally:
            for number in words:
                loop.remove_signal_handler(number)

    def hang_up(self) -> None:
        """The terminal has gone. That may be told several times, and is never the second word."""
        if not self._pausing:
            self.ask()

    def ask(self) -> None:
        """The operator's word."""
        if self._pausing or not self._display.begun.is_set() or self._display.at_rest:
            self._task.cancel()
            return
        self._display.say("pausing: what is in flight finishes first; once more to leave at once")
        self._pausing = asyncio.create_task(self._pause())

    async def paused(self) -> None:
        """Return when nothing of ours is under way any more."""
        if self._pausing:
            await self._pausing

    async def _pause(self) -> None:
        try:
            run = self._display.status.run or None  # a run just begun is the one that holds the site
            sent = await self._attached.send(
                Verb.PAUSE, actor=actor(), reason="interrupted at the terminal", run=run
            )
        except ChangeoverError as error:
            self._display.say(f"it could not be paused ({error.message}), so it is left at once")
            self._task.cancel()
        else:
            if sent.outcome == "refused":
                self._display.say(sent.answer)

    def _leave_at_rest(self, event: Event) -> None:
        rests = (
            isinstance(event, RunChanged)
            and self._before_finalize
            and only_finalize_left(self._display.status)
        )
        if self._display.at_rest and (self._pausing or rests):
            self._task.cancel()


async def _name(display: Display, attached: Attached) -> None:
    """Find out what a run that has just begun is called."""
    await display.begun.wait()
    display.status.run = display.status.run or await _under_way(attached)


async def _under_way(attached: Attached) -> str:
    try:
        return await attached.active()
    except ChangeoverError:
        return ""
