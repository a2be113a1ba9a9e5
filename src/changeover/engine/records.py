"""What every journal can tell of its runs, whatever it is kept in."""

import asyncio
import gc
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

from changeover.engine.commands import Command
from changeover.engine.events import Event, StepChanged
from changeover.engine.fold import RunStatus, fold
from changeover.engine.owner import Owner
from changeover.engine.port import JournalPort
from changeover.errors import LockedError, RefusedError
from changeover.model.states import RunState, StepState

FOLLOW_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run in the list of runs. `conducted` says whether a conductor holds it now; `owner` is the last one."""

    run: str
    site: str
    state: RunState
    actor: str
    reason: str
    created_at: float
    ended_at: float | None
    owner: Owner
    conducted: bool

    def holding(self) -> str:
        """How it holds its site: whose it is, why, since when, and whether anyone conducts it."""
        since = datetime.fromtimestamp(self.created_at, UTC)
        conductor = (
            f"is conducted by {self.owner}"
            if self.conducted
            else f"has no conductor now (the last was {self.owner})"
        )
        return (
            f"site {self.site} is held by run {self.run} of {self.actor} since {since:%Y-%m-%d %H:%M} UTC"
            f" ({self.reason or 'no reason given'}); it is {self.state} and {conductor}"
        )

    def claimable(self) -> None:
        """`RefusedError` if it has ended, `LockedError` while another conductor has it."""
        if self.ended_at is not None:
            raise RefusedError(f"run {self.run} has ended: {self.state}", hint="start a new one")
        if self.conducted:
            raise LockedError(
                self.holding(), hint=f"`changeover status {self.run}` or `changeover watch {self.run}`"
            )

    def refuse_second(self) -> None:
        """Raise the `LockedError` of whoever wants to begin another run on its site."""
        hint = (
            f"`changeover watch {self.run}`"
            if self.conducted
            else f"`changeover resume {self.run}`, or abort it"
        )
        raise LockedError(self.holding(), hint=hint)


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command and what came of it. `outcome` is empty until the conductor answers: `taken` or `refused`."""

    command: Command
    outcome: str
    answer: str


class Records(JournalPort):
    """A journal as everyone sees it: besides what its conductor does with it, it can be read."""

    async def runs(self, site: str | None = None) -> list[RunRecord]:
        """Every run, the latest first."""
        raise NotImplementedError

    async def run(self, run: str) -> RunRecord:
        """That run."""
        raise NotImplementedError

    async def events(self, run: str, after: int = 0) -> list[Event]:
        """What happened in the run, in order, from behind the event `after` on."""
        raise NotImplementedError

    async def command_outcome(self, number: int) -> CommandRecord:
        """The command of that number, with what came of it so far."""
        raise NotImplementedError

    async def notes(self, run: str) -> Mapping[str, str]:
        """Step → what it last said of how far it has come."""
        raise NotImplementedError

    async def status(self, run: str) -> RunStatus:
        """Where the run stands."""
        with uncollected():
            return fold(run, await self.plan(run), await self.events(run))

    async def follow(self, run: str, after: int = 0, every: float = FOLLOW_SECONDS) -> AsyncIterator[Event]:
        """What happened and happens, as it is recorded; it ends with the run."""
        while True:
            ended = (await self.run(run)).ended_at is not None
            for event in await self.events(run, after):
                after = event.seq
                yield event
            if ended:
                return
            await asyncio.sleep(every)

    async def durations(self, site: str, runs: int = 5) -> Mapping[tuple[str, str], list[float]]:
        """How many seconds each (action, target) took in the latest runs of the site, the latest first."""
        took: dict[tuple[str, str], list[float]] = {}
        for record in (await self.runs(site))[:runs]:
            do = {step.id: step.do for step in (await self.plan(record.run)).steps()}
            begun: dict[str, float] = {}
            for event in await self.events(record.run):
                if not isinstance(event, StepChanged) or event.step not in do:
                    continue  # the way back is no measure of the way there
                if event.state is StepState.RUNNING:
                    begun[event.step] = event.at
                elif event.state is StepState.DONE and event.step in begun:
                    operation = do[event.step]
                    took.setdefault((operation.action, operation.target), []).append(
                        event.at - begun.pop(event.step)
                    )
                else:
                    begun.pop(event.step, None)  # a duration counts only when nothing went wrong in between
        return took


@contextmanager
def uncollected() -> Iterator[None]:
    """While a long run is read nothing becomes garbage, and the collector would walk all of it many times."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def stem(now: float, site: str) -> str:
    """What the id of a run begins with that is created now: `20261121-070231-identity`.

    To the second: snapshots on the hosts are called by it, and of two runs under two journals, one after the other,
    the second must not take the first one's for its own.
    """
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}-{site}"


def free_id(stem: str, taken: Container[str]) -> str:
    """The second of a second ends in `-2`."""
    names = (f"{stem}-{number}" if number > 1 else stem for number in count(1))
    return next(name for name in names if name not in taken)


def no_run(run: str) -> RefusedError:
    """What to raise for a run that is not there."""
    return RefusedError(f"the journal has no run {run}", hint="`changeover runs` lists them")


def no_command(number: int) -> RefusedError:
    """What to raise for a command that was not sent."""
    return RefusedError(f"the journal has no command {number}")


def takes_no_commands(run: str, state: str) -> RefusedError:
    """What to raise for a command to a run that has ended."""
    return RefusedError(f"run {run} has ended: {state}", hint="there is nothing to tell it any more")
