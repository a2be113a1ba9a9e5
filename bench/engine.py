"""How fast the engine is by itself: steps that do nothing, journals that keep everything.

    python bench/engine.py            # a few minutes
    python bench/engine.py --quick    # the small sizes only

Every ratio is between numbers of the same run on the same disk.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))  # the server of the tests is used here, too

from changeover.actions.base import Context, Params
from changeover.engine.events import Event, StepChanged
from changeover.engine.journal import Journal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.model.plan import Operation, Plan, Stage, Step
from changeover.model.release import Release
from changeover.model.site import Application, Site
from changeover.model.states import StepState
from changeover.model.values import Observation, done
from changeover.ports import World

STAGE = 1000
IN_FLIGHT = (1, 16, 64)
MOST_IN_A_ROW = 10_000
"""One at a time, every step waits for the disk twice: more of them measure the patience of the reader."""


class RealClock:
    """The time of this machine."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return after so long."""
        await asyncio.sleep(seconds)


class Nothing:
    """An action without an effect."""

    kind: ClassVar[str] = "nothing"
    params: ClassVar[type[Params]] = Params

    async def observe(self, _operation: Operation, _context: Context) -> Observation:
        """It is always done."""
        return done("it is there")

    async def perform(self, _operation: Operation, _context: Context) -> str:
        """Nothing to do."""
        return "done as it was asked"


WORLD = World({}, {}, {}, cast("Any", None), RealClock())


def a_plan(steps: int, in_flight: int) -> Plan:
    """A plan of stages of a thousand steps, in chains of four as a node's steps are."""
    stages = []
    for first in range(0, steps, STAGE):
        made: list[Step] = []
        for number in range(first, min(first + STAGE, steps)):
            needs = (made[-1].id,) if number % 4 else ()
            name = f"node{number // 4}/step{number % 4}"
            made.append(
                Step(
                    name,
                    Operation("nothing", name),
                    f"do {name}",
                    needs=needs,
                    limits=("places",),
                    unit=f"node{number // 4}",
                )
            )
        stages.append(Stage(f"batch-{first // STAGE}", "a batch", tuple(made)))
    site = Site("bench", (), Application("none", (), {}))
    return Plan(site, Release("1", "2"), tuple(stages), limits={"places": in_flight})


@dataclass(frozen=True)
class Measured:
    """Steps a second, seconds of each step, bytes of memory and seconds of processor a step."""

    rate: float
    took: list[float]
    memory: float
    cpu: float


async def run_once(where: str, steps: int, in_flight: int) -> Measured:
    """One run from its first step to its last."""
    began: dict[str, float] = {}
    took: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, StepChanged):
            if event.state is StepState.RUNNING:
                began[event.step] = time.perf_counter()
            else:
                took.append(time.perf_counter() - began.pop(event.step))

    async with Journal.open(where) as journal:
        run = await journal.create_run(
            a_plan(steps, in_flight), actor="bench", reason="", owner=Owner.current()
        )
        runner = Runner(journal, run, WORLD, {"nothing": Nothing()}, observer=observe)
        before, cpu, start = memory(), time.process_time(), time.perf_counter()
        status = await runner.run()
        seconds, used, grown = time.perf_counter() - start, time.process_time() - cpu, memory() - before
        assert status.satisfied
    return Measured(steps / seconds, took, grown / steps, used / steps)


def memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def bare_loop(where: str, seconds: float = 2.0) -> float:
    """Steps per second of a loop that only commits: two transactions a step, one row each, the same library."""

    async def loop() -> float:
        async with Journal.open(where) as journal:
            store = journal.store
            await store.write(
                lambda c: c.exec_driver_sql("CREATE TABLE bare (seq bigint PRIMARY KEY, body text)")
            )
            insert = sa.text("INSERT INTO bare (seq, body) VALUES (:seq, :body)")
            start, rows = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                await store.write(partial(_insert, insert, rows))
                rows += 1
            return rows / 2 / (time.perf_counter() - start)

    return asyncio.run(loop())


def _insert(insert: sa.TextClause, row: int, connection: sa.Connection) -> None:
    connection.execute(insert, {"seq": row, "body": "x" * 120})


def bare_fsync(directory: Path, seconds: float = 1.0) -> float:
    """Steps per second of a loop that appends and waits for the disk, twice a step."""
    with (directory / "bare").open("ab", buffering=0) as file:
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            file.write(b"x" * 120)
            os.fdatasync(file.fileno())
            count += 1
    return count / 2 / (time.perf_counter() - start)


@contextmanager
def journals(directory: Path) -> Iterator[dict[str, Callable[[], str]]]:
    """How to get an empty journal of each kind."""
    from tests.pg import programs, running_server

    numbers = itertools.count()
    kinds: dict[str, Callable[[], str]] = {"SQLite": lambda: str(directory / f"{next(numbers)}.db")}
    if programs() is None:
        print("PostgreSQL is not installed: SQLite only")
        yield kinds
        return
    with running_server(durable=True) as server:
        yield kinds | {"PostgreSQL": server.create}


def throughput(kinds: dict[str, Callable[[], str]], sizes: list[int], directory: Path) -> None:
    """The table: each row with what the bare loops reached right before it."""
    print(
        f"{'journal':<11}{'steps':>7}{'in flight':>10}{'steps/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'bytes/step':>11}",
        end="",
    )
    print(f"{'CPU µs/step':>12}{'/ bare commits':>16}{'/ bare fsync':>14}")
    for kind, journal in kinds.items():
        for steps in sizes:
            for in_flight in IN_FLIGHT:
                if steps // in_flight > MOST_IN_A_ROW:
                    continue
                bare, fsync = bare_loop(journal()), bare_fsync(directory)
                done = measured(journal(), steps, in_flight)
                took = sorted(done.took)
                p50, p99 = (took[int(len(took) * part)] * 1000 for part in (0.5, 0.99))
                print(
                    f"{kind:<11}{steps:>7}{in_flight:>10}{done.rate:>9.0f}{p50:>8.1f}{p99:>8.1f}{done.memory:>11.0f}",
                    end="",
                )
                print(
                    f"{done.cpu * 1e6:>12.0f}{done.rate / bare:>15.1f}x{done.rate / fsync:>13.1f}x",
                    flush=True,
                )


def measured(where: str, steps: int, in_flight: int) -> Measured:
    """One run in a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (where, steps, in_flight))


def _measure(where: str, steps: int, in_flight: int) -> Measured:
    return asyncio.run(run_once(where, steps, in_flight))


def restart(kinds: dict[str, Callable[[], str]], finished: int, steps: int) -> None:
    """From the start of a new process to its first new step, most of the steps being done."""
    print(f"\nrestart with {finished} of {steps} steps done: seconds until the first new step")
    for kind, journal in kinds.items():
        where = journal()
        asyncio.run(_until(where, finished, steps))
        bare = _seconds_until_output(
            [sys.executable, "-c", "import sqlalchemy, msgspec, asyncio; print('up', flush=True)"]
        )
        times = sorted(_seconds_until_output([sys.executable, __file__, "--resume", where]) for _ in range(3))
        print(
            f"{kind:<11}{times[1]:.2f} (of 3: {times[0]:.2f} to {times[2]:.2f}); importing its libraries alone {bare:.2f}"
        )


async def _until(where: str, finished: int, steps: int) -> None:
    """Conduct a run until so many steps are done, and break it off there."""
    left = finished

    def observe(event: Event) -> None:
        nonlocal left
        left -= isinstance(event, StepChanged) and event.state is StepState.DONE
        if left == 0:
            conducting.cancel()

    async with Journal.open(where) as journal:
        run = await journal.create_run(a_plan(steps, 64), actor="bench", reason="", owner=Owner.current())
        conducting = asyncio.create_task(
            Runner(journal, run, WORLD, {"nothing": Nothing()}, observer=observe).run()
        )
        await asyncio.wait([conducting])


def _seconds_until_output(command: list[str]) -> float:
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - start
        process.kill()
    return seconds


class Announcing(Nothing):
    """Says so when the first step begins."""

    async def perform(self, _operation: Operation, _context: Context) -> str:
        """The one who started us waits for this line, and ends us."""
        print("first new step", flush=True)
        await asyncio.Event().wait()
        return ""


async def resume(where: str) -> None:
    """What a new process does: find the run, take it over, go on."""
    async with Journal.open(where) as journal:
        run = (await journal.runs())[0].run
        await Runner(journal, run, WORLD, {"nothing": Announcing()}).run()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the small sizes only")
    parser.add_argument("--directory", help="where the journals are kept: the disk that is measured")
    parser.add_argument("--resume", metavar="JOURNAL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume:
        asyncio.run(resume(options.resume))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that the database server ends with us
    with tempfile.TemporaryDirectory(dir=options.directory) as made, journals(Path(made)) as kinds:
        throughput(kinds, [1000] if options.quick else [1000, 10_000, 60_000], Path(made))
        restart(kinds, *((800, 1000) if options.quick else (48_000, 60_000)))


if __name__ == "__main__":
    main()
