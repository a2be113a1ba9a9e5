"""A run as it goes on: a screen that is drawn again and again, a line for each event, or JSON lines."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from rich.console import Group
from rich.live import Live

from changeover.cli.output import Output
from changeover.engine.events import Event
from changeover.engine.fold import RunStatus
from changeover.model.states import RunState
from changeover.report import terminal
from changeover.report.estimate import estimate
from changeover.report.happened import line
from changeover.report.progress import progress

REFRESH_SECONDS = 0.25
_BUSY = 10
"""Drawing may take a tenth of the time at most, however large the plan is."""

_BESIDE_UNITS = 9
"""Lines of the screen that are neither a stage nor a unit."""


class Display:
    """Follows a run by its events, and shows each of them; a closed pipe ends the showing, not the run."""

    def __init__(self, status: RunStatus, output: Output) -> None:
        self.status = status
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

    def _show(self, event: Event) -> None:
        raise NotImplementedError


class Lines(Display):
    """A line for each event."""

    def _show(self, event: Event) -> None:
        self._output.line(line(event))


class JsonLines(Display):
    """Each event as a line of JSON."""

    def _show(self, event: Event) -> None:
        self._output.item(event)


class Screen(Display):
    """The whole state, drawn again several times a second by `draw`."""

    def __init__(self, status: RunStatus, output: Output) -> None:
        super().__init__(status, output)
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
                shown = terminal.render(progress(self.status, times, time.time(), most=most))
                screen.update(Group(shown, self._said), refresh=True)
                await asyncio.sleep(max(REFRESH_SECONDS, _BUSY * (time.monotonic() - began)))


@asynccontextmanager
async def showing(status: RunStatus, output: Output) -> AsyncIterator[Display]:
    """The display that suits the output, while it is open."""
    if output.json or not output.terminal:
        yield JsonLines(status, output) if output.json else Lines(status, output)
        return
    screen = Screen(status, output)
    drawing = asyncio.create_task(screen.draw())
    try:
        yield screen
    finally:
        drawing.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await drawing
