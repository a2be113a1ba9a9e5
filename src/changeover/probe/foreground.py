"""A run in the foreground: shows how it fares and obeys signals."""

import asyncio
import signal
import sys
from typing import TextIO

from changeover.probe.printing import progress_line
from changeover.probe.running import Probe
from changeover.probe.schedule import Clock

LIVE_SECONDS = 1.0
PLAIN_SECONDS = 10.0


async def foreground(probe: Probe, clock: Clock, out: TextIO | None = None) -> None:
    """Run to the end; SIGINT or SIGTERM ends the sending, a second one ends everything (`CancelledError`)."""
    out = out or sys.stderr
    stop = asyncio.Event()
    running = asyncio.ensure_future(probe.run(stop))

    def told() -> None:
        if stop.is_set():
            running.cancel()
        else:
            stop.set()
            _say(out, "stopping: waiting for answers and looking for the writes; once more to end at once")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    watching = asyncio.ensure_future(_watch(probe, clock, out))
    try:
        await running
    finally:
        watching.cancel()
        if out.isatty():
            _say(out, "")


async def _watch(probe: Probe, clock: Clock, out: TextIO) -> None:
    begin = clock.now()
    while True:
        await clock.sleep_until(clock.now() + (LIVE_SECONDS if out.isatty() else PLAIN_SECONDS))
        line = progress_line(probe.tally, probe.in_flight, clock.now() - begin)
        # On a terminal the line takes the place of the one before it: carriage return, erase to the end (ECMA-48 EL).
        print(f"\r\x1b[K{line}", end="", file=out, flush=True) if out.isatty() else _say(out, line)


def _say(out: TextIO, line: str) -> None:
    print(line, file=out, flush=True)
