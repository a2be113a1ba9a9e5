"""A run as it goes on: a screen that is drawn again and again, a line for each event, or JSON lines."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from rich.console import Group
from rich.live import Live

from changeover.cli.output import Output
from changeover.engine.events import Event
from changeover.engine.fold import RunStatus
from changeover.errors import JournalError
from changeover.model.states import RunState, StepState
from changeover.report import terminal
from changeover.report.document import Text
from changeover.report.estimate import estimate
from changeover.report.happened import line, note
from changeover.report.progress import progress

REFRESH_SECONDS = 0.25
NOTES_SECONDS = 5.0
_BUSY = 10
"""Drawing may take a tenth of the time at most, however large the plan is."""

_BESIDE_UNITS = 9
"""Lines of the screen that are neither a stage nor a unit."""


Notes = Callable[[str], Awaitable[Mapping[str, str]]]
"""Of a run, what its steps in flight say of how far they have come."""


class Display:
    """Follows a run by its events, and shows each of them; a closed pipe ends the showing, not the run."""

    def __init__(self, status: RunStatus, output: Output, notes: Notes) -> None:
        self.status = status
        self._notes = notes
        self.begun = asyncio.Event()
        self.changed: Callable[[Event], None] = lambda _: None
        self._output = output
        self._closed = False

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in flight, and nothing will be launched before somebody says so."""
        return self.status.state is not RunState.RUNNING and not self.status.in_flight

    def see(self, event: Event) -> None:
        """Take in the next event."""
        self.begun.set()
        # Whoever begins a run is told of what happens, not of how the journal began.
        self.status.seq = self.status.seq or event.seq - 1
        self.status.created_at = self.status.created_at or event.at
        self.status.apply(event)
        if not self._closed:
            try:
                self._show(event)
            except OSError:
                self._closed = True
        self.changed(event)

    def say(self, text: str) -> None:
        """Tell the person at the keyboard something besides."""
        with suppress(OSError):
            self._output.note(text)

    async def notes(self) -> Mapping[str, str]:
        """What the steps in flight say of how far they have come; nothing while that cannot be read."""
        try:
            return await self._notes(self.status.run) if self.status.run else {}
        except JournalError:
            return {}

    def _show(self, event: Event) -> None:
        raise NotImplementedError


class Lines(Display):
    """A line for each event, and now and then for what is in flight."""

    def _show(self, event: Event) -> None:
        self._output.line(line(event))

    async def tell(self) -> None:
        """Until cancelled, a line for each step that says something new."""
        told: Mapping[str, str] = {}
        while True:
            await asyncio.sleep(NOTES_SECONDS)
            said, before = await self.notes(), told
            told = said
            for step, text in said.items():
                if self.status.steps[step].state is StepState.RUNNING and before.get(step) != text:
                    self._line(note(time.time(), step, text))

    def _line(self, text: Text) -> None:
        with suppress(OSError):
            self._output.line(text)


class JsonLines(Display):
    """Each event as a line of JSON."""

    def _show(self, event: Event) -> None:
        self._output.item(event)


class Screen(Display):
    """The whole state, drawn again several times a second by `draw`."""

    def __init__(self, status: RunStatus, output: Output, notes: Notes) -> None:
        super().__init__(status, output, notes)
        self._said = ""

    def say(self, text: str) -> None:
        """It stands under the rest: a line printed in between would tear the screen."""
        self._said = text

    def _show(self, event: Event) -> None:
        pass

    async def draw(self) -> None:
        """Draw until cancelled; nothing of it stays on the terminal."""
        console = self._output.console(self._output.out)
        times = estimate(self.status.plan)
        most = max(3, console.height - len(self.status.plan.stages) - _BESIDE_UNITS)

        with Live(console=console, auto_refresh=False, transient=True) as screen:
            while True:
                began = time.monotonic()
                notes = await self.notes()
                shown = terminal.render(progress(self.status, times, time.time(), most=most, notes=notes))
                screen.update(Group(shown, self._said), refresh=True)
                await asyncio.sleep(max(REFRESH_SECONDS, _BUSY * (time.monotonic() - began)))


@asynccontextmanager
async def showing(status: RunStatus, output: Output, notes: Notes) -> AsyncIterator[Display]:
    """The display that suits the output, while it is open."""
    if output.json:
        yield JsonLines(status, output, notes)
        return
    display = Screen(status, output, notes) if output.terminal else Lines(status, output, notes)
    drawing = asyncio.create_task(display.draw() if isinstance(display, Screen) else display.tell())
    try:
        yield display
    finally:
        drawing.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await drawing
