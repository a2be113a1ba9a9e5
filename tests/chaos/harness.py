"""Conductors as processes that are killed, frozen and resumed.

What is conducted is pluggable: `Build` is a function of a module, called in each process with the directory of
the test, that makes the plan and the world anew. The processes are forked from a server that has imported
everything, so that hundreds of them are affordable.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import msgspec

from changeover.actions.base import Action
from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.engine.journal import Journal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.engine.stepping import Guard
from changeover.errors import FencedError, JournalError, LockedError
from changeover.model.plan import Plan
from changeover.model.states import StepState
from changeover.ports import World

DEADLINE = 60.0
"""Seconds after which a conductor that neither ends nor is killed fails the test."""

FENCED, LOCKED, FAILED = 41, 42, 43
"""Exit codes of a conductor: it lost its epoch, another holds the run, the journal failed."""


@dataclass(frozen=True)
class Built:
    """What a conductor conducts."""

    plan: Plan
    world: World
    actions: Mapping[str, Action]
    guard: Callable[[str], Guard] | None = None
    """Made from the run's id."""


Build = Callable[[Path], Built]
Death = Callable[[str], None]


@dataclass(frozen=True)
class DieAt:
    """Die the `nth` time that a fault point is reached: the named one, or with no name whichever it is."""

    nth: int
    point: str = ""

    def armed(self) -> Death:
        """For the runner's `fault`; SIGKILL leaves no time for anything else."""
        left = self.nth

        def fault(point: str) -> None:
            nonlocal left
            left -= self.point in ("", point)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        return fault


@dataclass(frozen=True)
class Conducting:
    """One process. `elsewhere` makes it look like one of another machine: only its lease tells whether it lives.

    `standby` keeps it trying while another holds the run.
    """

    build: Build
    directory: Path
    journal: str
    run: str
    die: DieAt | None = None
    lease: float = 15.0
    elsewhere: bool = False
    standby: bool = False


def conduct(it: Conducting) -> None:
    """The main function of a conductor's process."""
    log = os.open(it.directory / "conductors.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.exit(asyncio.run(_conduct(it)))


async def _conduct(it: Conducting) -> int:
    built = it.build(it.directory)
    owner = Owner.current()
    if it.elsewhere:
        owner = msgspec.structs.replace(owner, host=f"host{owner.pid}", boot=f"boot{owner.pid}")
    async with Journal.open(it.journal) as journal:
        while True:
            runner = Runner(
                journal,
                it.run,
                built.world,
                built.actions,
                guard=built.guard(it.run) if built.guard else None,
                owner=owner,
                fault=it.die.armed() if it.die else lambda _: None,
                lease_seconds=it.lease,
                poll=0.02,
            )
            try:
                await runner.run()
            except LockedError:
                if not it.standby:
                    return LOCKED
                await asyncio.sleep(0.05)
            except FencedError:
                return FENCED
            except JournalError as error:
                print(error.message, file=sys.stderr)  # noqa: T201
                return FAILED
            else:
                return 0


_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    [__name__, "sqlalchemy.dialects.postgresql", "psycopg", "tests.chaos.files"]
)


def start(it: Conducting) -> ForkServerProcess:
    """A conductor, conducting."""
    process = _processes.Process(target=conduct, args=(it,), daemon=True)
    process.start()
    return process


def end(process: ForkServerProcess, within: float = DEADLINE) -> int:
    """Its exit code once it has ended by itself; it is killed, and the test fails, if it does not."""
    process.join(within)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"the conductor did not end within {within:g} s")
    return process.exitcode


@dataclass
class Chaos:
    """One run that is conducted by one process after another, until it has ended.

    `deaths` are how they die, one after another; those that come after the last live. A death in seconds
    comes from outside, at that moment after the start; a conductor that ends before it has escaped it.
    `person` is what a person does when the run rests: set the world right, and send commands. `killed` says
    where each one died.
    """

    build: Build
    directory: Path
    journal: str
    deaths: Iterator[DieAt | float]
    person: Callable[[Journal, RunStatus, Path], Awaitable[None]]
    lease: float = 15.0
    killed: list[str] = field(default_factory=list)

    def finish(self) -> RunStatus:
        """Begin the run, and see it through."""
        run = asyncio.run(self._create())
        for _ in range(1000):
            self._one_conductor(run)
            status = asyncio.run(self._at_rest(run))
            if status.ended:
                return status
        raise AssertionError(f"the run makes no progress: {status.state} {status.reason}")

    def _one_conductor(self, run: str) -> None:
        death = next(self.deaths, None)
        die = death if isinstance(death, DieAt) else None
        process = start(Conducting(self.build, self.directory, self.journal, run, die, self.lease))
        if isinstance(death, float):
            process.join(death)
            process.kill()
        code = end(process)
        if code == -signal.SIGKILL:
            self.killed.append(die.point if die else "")
        else:  # on a machine that stands still for longer than a short lease, to be fenced is right
            assert code in (0, FENCED), f"exit code {code}: {(self.directory / 'conductors.log').read_text()}"

    async def _create(self) -> str:
        async with Journal.open(self.journal) as journal:
            return await journal.create_run(
                self.build(self.directory).plan, actor="chaos", reason="kill it", owner=Owner.current()
            )

    async def _at_rest(self, run: str) -> RunStatus:
        async with Journal.open(self.journal) as journal:
            status = await journal.status(run)
            if not status.ended and not await journal.pending_commands(run):
                await self.person(journal, status, self.directory)
            return status


async def retry_and_approve(journal: Journal, status: RunStatus, _directory: Path) -> None:
    """A person who says yes to everything: what failed is to be done again, what waits is approved."""
    for step in status.steps_in(StepState.FAILED):
        await journal.command(status.run, Verb.RETRY, actor="person", step=step)
    for step in status.steps_in(StepState.WAITING):
        await journal.command(status.run, Verb.APPROVE, actor="person", step=step)


def wait_for(what: str, happened: Callable[[], bool], within: float = DEADLINE) -> None:
    """Return once it has happened; the test fails if it does not."""
    until = time.monotonic() + within
    while not happened():
        assert time.monotonic() < until, f"{what} did not happen within {within:g} s"
        time.sleep(0.01)
