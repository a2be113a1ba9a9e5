"""One case on the lab: load, a conductor as a process of its own, the fault, and an answer to every question."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from changeover.engine.events import Event, StepChanged
from changeover.engine.fold import RunStatus
from changeover.engine.journal import Journal
from changeover.errors import ChangeoverError, JournalError
from changeover.labrehearsal.cases import HALF_WAY, OF_THE_CONDUCTOR, half_way, struck_at
from changeover.labrehearsal.ground import Ground, Sample, whole
from changeover.model.plan import Plan, Step
from changeover.model.states import RunState
from changeover.probe import ledger
from changeover.rehearsal import Case, Kind, Reply, Strike
from changeover.rehearsal.asking import Asked, asked, commands_of
from changeover.rehearsal.cases import Answer
from changeover.report.run import only_finalize_left
from changeover.spec import load

PROGRAM = (sys.executable, "-P", "-c", "from changeover.cli import main; main()")
LOAD = ("--profile", "lab", "--rate", "50", "--sessions", "8", "--session-length", "4")

LOOKS = 0.01
"""Seconds between two looks into the journal: what is aimed at is struck as soon as that."""

SAMPLES = 0.1
"""Seconds between two looks at the balancer."""

LASTS = 300.0
"""Seconds after which a conductor hangs."""

SETTLES = 15.0
"""Seconds that the balancer is given to see what is there again."""

PATIENCE = 8
"""Answers after which a person who is asked again has had enough."""


@dataclass(slots=True)
class Excuse:
    """From when until when (seconds since the epoch) a host was broken, which is no fault of the run."""

    host: str
    since: float
    until: float = float("inf")


@dataclass(slots=True)
class Seen:
    """All that was seen of one case. `wrong` is what went wrong with the conductor itself, as (rule, what)."""

    case: Case
    plan: Plan
    status: RunStatus
    events: list[Event]
    before: dict[str, object]
    after: dict[str, object]
    samples: list[Sample]
    book: ledger.Ledger
    struck: list[tuple[float, str]]
    excuses: list[Excuse]
    questions: list[tuple[float, Asked]]
    starts: dict[str, int]
    took: float
    wrong: list[tuple[str, str]] = field(default_factory=list)

    @property
    def upgraded(self) -> bool:
        """Whether everything is done, finalize aside."""
        return self.status.state is RunState.DONE or only_finalize_left(self.status)


async def play(ground: Ground, case: Case, directory: Path) -> Seen:
    """Play the case, and keep its journal, its ledger and its conductor's words in that directory."""
    fails = half_way(case)
    await whole(ground.reset)
    file = await whole(ground.write_file, directory, fails)
    if fails:
        await whole(ground.put_in_the_way)
    spec = load(file)
    snapshots = spec.site.databases[0].snapshot_dir
    await whole(ground.clear, snapshots)
    begun = time.time()
    before = await whole(ground.look, snapshots)
    starts = await whole(ground.starts, spec.release.to_version)
    samples: list[Sample] = []
    async with Journal.open(directory / "journal.db") as journal:
        conducted = Conducted(ground, case, file, journal)
        async with _load(ground.url, directory) as book, _sampling(ground, samples):
            await conducted.run()
            if conducted.status.state is RunState.FELL_BACK or only_finalize_left(conducted.status):
                await conducted.mend()  # what broke after the run had last looked
            after = await _settled(ground, snapshots, before, conducted.status)
            # A case may end while something is broken: the writes are to be looked for nevertheless.
            await conducted.mend()
        status = conducted.status
        events = await journal.events(status.run) if status.run else []
    again = await whole(ground.starts, spec.release.to_version)
    return Seen(
        case=case,
        plan=status.first_plan,
        status=status,
        events=events,
        before=before,
        after=after,
        samples=samples,
        book=ledger.read(book),
        struck=conducted.struck,
        excuses=conducted.excuses,
        questions=conducted.questions,
        starts={node: again[node] - starts[node] for node in again},
        took=time.time() - begun,
        wrong=conducted.wrong,
    )


class Conducted:
    """The run of one case, from its plan to where it ends or nothing is answered any more."""

    def __init__(self, ground: Ground, case: Case, file: Path, journal: Journal) -> None:
        self._ground = ground
        self._file = file
        self._journal = journal
        self._due = list(case.strikes)
        self._replies = list(case.replies)
        self._fails = half_way(case)
        self._run = ""
        self._seq = 0
        self._status: RunStatus | None = None
        self.struck: list[tuple[float, str]] = []
        self.excuses: list[Excuse] = []
        self.questions: list[tuple[float, Asked]] = []
        self.wrong: list[tuple[str, str]] = []

    @property
    def status(self) -> RunStatus:
        """Where the run stands; `JournalError` if there never was one."""
        if self._status is None:
            raise JournalError("the conductor has begun no run", hint=f"its words are in {self._file.parent}")
        return self._status

    async def run(self) -> None:
        """Conduct it, with everything that befalls it, and answer whatever is asked."""
        command: tuple[str, ...] = ("run", "--yes", "--reason", "rehearsed")
        killed = await self._conduct(*command)
        for _ in range(PATIENCE):
            while killed:
                # A conductor that is killed before there is a run has left nothing to resume.
                again = ("resume",) if self._run else command
                killed = await self._conduct(*again)
            if self.wrong or not await self._answer():
                break
            killed = await self._conduct("resume")
        else:
            said = f"after {PATIENCE} answers a person is asked again: {self.questions[-1][1].text}"
            self.wrong.append(("an answer leads somewhere", said))
        self.wrong += [("the fault strikes", f"{strike} never came about") for strike in self._due]

    async def mend(self) -> None:
        """What a person does who is to mend what is broken."""
        await whole(self._ground.mend)
        if self._fails:
            await whole(self._ground.clear_the_way)
        for excuse in self.excuses:
            excuse.until = min(excuse.until, time.time() + SETTLES)

    async def _conduct(self, *command: str) -> bool:
        """Let a conductor go on until it ends; whether it was killed."""
        arguments = ("--on-stop", "return", "--file", str(self._file), "--journal", str(self._journal_file))
        with (self._file.parent / "conductor.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *PROGRAM, *command, *arguments, "--no-color",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        ended = asyncio.ensure_future(process.wait())
        limit = time.monotonic() + LASTS
        killed = False
        try:
            while not ended.done() and time.monotonic() < limit:
                for strike, step in await self._news():
                    killed = await self._strike(strike, step, process) or killed
                await asyncio.wait([ended], timeout=LOOKS)
        finally:
            if not ended.done():
                killed_late = time.monotonic() >= limit
                process.kill()
                await ended
                if killed_late:
                    self.wrong.append(("a conductor comes to an end", f"it was killed after {LASTS:g} s"))
        await self._news()
        if self._run:
            self._status = await self._journal.status(self._run)
        if not killed and not self.wrong:
            self._judge_end(ended.result(), command[0])
        return killed

    def _judge_end(self, code: int, command: str) -> None:
        """Its exit code has to be that of the state in which it has left the run."""
        expected = {RunState.FELL_BACK: 5, RunState.ABORTED: 6, RunState.STOPPED: 3, RunState.DONE: 0}
        status = self._status
        if status is None or (0 if only_finalize_left(status) else expected.get(status.state, 3)) != code:
            state = status.state if status else "no run"
            words = (self._file.parent / "conductor.log").read_text(errors="replace").splitlines()[-3:]
            said = f"`changeover {command}` ended with {code}, {state}: {' / '.join(words)}"
            self.wrong.append(("a conductor comes to an end", said))

    async def _news(self) -> list[tuple[Strike, Step]]:
        """What has been recorded since, and what is due because of it."""
        if not self._run:
            runs = await self._journal.runs()
            if not runs:
                return []
            self._run = runs[0].run
        events = await self._journal.events(self._run, self._seq)
        if not events:
            return []
        self._seq = events[-1].seq
        changes = [event for event in events if isinstance(event, StepChanged)]
        if not changes or not self._due:
            return []
        self._status = self._status or await self._journal.status(self._run)
        seen = {(event.step, event.state) for event in changes}
        due = [it for it in self._due if not seen.isdisjoint(struck_at(it, self._status.first_plan))]
        if not due:
            return []
        self._status = await self._journal.status(self._run)
        steps = {step.id: step for step in (*self._status.first_plan.steps(), *self._status.plan.steps())}
        return [(strike, steps[strike.step]) for strike in due if strike.step in steps]

    async def _strike(self, strike: Strike, step: Step, process: asyncio.subprocess.Process) -> bool:
        """Bring it about; whether it has killed the conductor."""
        self._due.remove(strike)
        if process.returncode is not None:
            return False
        if strike.kind in OF_THE_CONDUCTOR:
            process.kill()
            await process.wait()
            self._note(f"{strike}: the conductor, process {process.pid}, is killed")
            return True
        if strike.step.endswith(f"/{HALF_WAY}"):
            self._note(f"{strike}: its second statement will fail")
            return False
        # It is held meanwhile, so that nothing more is begun before the fault is there.
        with _held(process):
            said = await whole(self._ground.strike, strike.kind, step, self.status.first_plan.site)
        self._note(f"{strike}: {said}")
        self.excuses += [
            Excuse(host, since)
            for host, since in self._ground.broken.items()
            if host not in [it.host for it in self.excuses]
        ]
        return False

    async def _answer(self) -> bool:
        """Answer what is asked, after mending what is to be mended; whether there was an answer."""
        status = self.status
        if status.ended:
            return False
        question = asked(status)
        self.questions.append((time.time(), question))
        reply = self._reply(question, status)
        if reply is None:
            return False
        if reply in (Reply.RETRY, Reply.ABORT):
            await self.mend()
        said = Reply.ABORT if reply is Reply.ABORT_UNMENDED else reply
        for it in commands_of(said, status, question):
            await self._journal.command(
                status.run, it.verb, actor=it.actor, step=it.step, reason=it.reason or "rehearsed"
            )
        self._note(f"asked: {question.text}; answered: {reply}")
        return True

    def _reply(self, question: Asked, status: RunStatus) -> Answer | None:
        refused = next(
            (it for it in self._due if it.kind is Kind.REFUSED and it.step in question.steps), None
        )
        if refused:
            self._due.remove(refused)
            return Reply.REFUSE
        if question.gate and not question.back:
            behind = {step.id for stage in status.plan.stages if stage.finalize for step in stage.steps}
            wanted = not only_finalize_left(status) or any(it.step in behind for it in self._due)
            return Reply.APPROVE if wanted else None
        if self._replies and (
            self._replies[0] in question.replies
            or (self._replies[0] is Reply.ABORT_UNMENDED and Reply.ABORT in question.replies)
        ):
            return self._replies.pop(0)
        return Reply.APPROVE if question.gate and Reply.APPROVE in question.replies else None

    def _note(self, text: str) -> None:
        self.struck.append((time.time(), text))

    @property
    def _journal_file(self) -> Path:
        return self._file.parent / "journal.db"


@contextlib.contextmanager
def _held(process: asyncio.subprocess.Process) -> Iterator[None]:
    """It stands still until the end of the block."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def _load(url: str, directory: Path) -> AsyncIterator[Path]:
    """A probe at work until the end of the block, which then looks for every write; the path of its ledger."""
    book = directory / "probes" / "probe.jsonl"
    with (directory / "probe.log").open("wb") as log:
        probe = await asyncio.create_subprocess_exec(
            *PROGRAM, "probe", url, *LOAD, "--ledger", str(book),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        while not book.exists() or not book.stat().st_size:
            if probe.returncode is not None:
                raise ChangeoverError(f"the probe ended at once: {(directory / 'probe.log').read_text()}")
            await asyncio.sleep(SAMPLES)
        yield book
        _tell(probe, signal.SIGTERM)
        await asyncio.wait_for(probe.wait(), 60)
    finally:
        _tell(probe, signal.SIGKILL)
        await probe.wait()


def _tell(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


@contextlib.asynccontextmanager
async def _sampling(ground: Ground, samples: list[Sample]) -> AsyncIterator[None]:
    """The balancer is asked again and again until the end of the block."""

    async def sample() -> None:
        while True:
            samples.append(await whole(ground.servers))
            await asyncio.sleep(SAMPLES)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _settled(
    ground: Ground, snapshots: str, before: dict[str, object], status: RunStatus
) -> dict[str, object]:
    """What the site is like once the balancer has seen it; that may take it a moment."""
    limit = time.monotonic() + SETTLES
    while True:
        after = await whole(ground.look, snapshots)
        up = (await whole(ground.servers)).up == len(status.first_plan.site.application.nodes)
        calm = after == before if status.state is RunState.FELL_BACK else up
        if calm or status.state not in (RunState.FELL_BACK, RunState.DONE, RunState.WAITING):
            return after
        if time.monotonic() > limit:
            return after
        await asyncio.sleep(SAMPLES)
