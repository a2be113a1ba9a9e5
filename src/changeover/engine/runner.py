"""The conductor's loop: launch what may be launched, record what came of it, obey, and rest."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Literal

from changeover.actions.base import Action, Context
from changeover.engine import clock, commands, watching
from changeover.engine import lease as leases
from changeover.engine.attempt import Attempt, Timeout
from changeover.engine.budgets import breach, set_aside
from changeover.engine.events import FAILURE_BUDGET, POLICY, Event, RunChanged, StepChanged, Warned
from changeover.engine.faults import Fault
from changeover.engine.fenced import fenced
from changeover.engine.flight import Flight
from changeover.engine.fold import RunStatus
from changeover.engine.graph import Graph
from changeover.engine.owner import Owner
from changeover.engine.port import Answer, JournalPort
from changeover.engine.recorder import Recorder
from changeover.engine.records import uncollected
from changeover.engine.scheduler import Scheduler
from changeover.engine.stepping import Guard, Stepper
from changeover.engine.telling import Teller
from changeover.errors import ChangeoverError, FencedError, JournalError
from changeover.model.moments import told
from changeover.model.plan import Stage, Step
from changeover.model.states import ENDED, SATISFIED, RunState, StepState
from changeover.ports import World

S, R = StepState, RunState


class Runner:
    """Conducts one run. Make one for each time that it is begun or resumed.

    `on_stop` says what to do when only a person can move the run on: return, or wait for a command.
    `redact` takes secrets out of every text before it is recorded. `observer` sees each event as soon as it
    is durable. `timeout` limits each call of an action. `poll` is how many seconds pass between looks for
    commands, where the journal cannot tell when one arrives.
    """

    def __init__(
        self,
        journal: JournalPort,
        run: str,
        world: World,
        actions: Mapping[str, Action],
        *,
        guard: Guard | None = None,
        owner: Owner | None = None,
        on_stop: Literal["return", "wait"] = "return",
        redact: Callable[[str], str] = str,
        observer: Callable[[Event], None] | None = None,
        fault: Fault = lambda _: None,
        lease_seconds: float = leases.SECONDS,
        timeout: Timeout = asyncio.timeout,
        poll: float = 0.1,
    ) -> None:
        self._journal = journal
        self._run = run
        self._world = world
        self._actions = actions
        self._guard = guard
        self._owner = owner or Owner.current()
        self._on_stop = on_stop
        self._redact = redact
        self._observer = observer
        self._fault = fault
        self._lease_seconds = lease_seconds
        self._timeout = timeout
        self._poll = poll
        self._mail = True
        self._error: BaseException | None = None
        self._wake = asyncio.Event()
        self._flight = Flight(self._wake.set)
        self._notes = watching.Notes()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0
        self._telling: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> RunStatus:
        """Conduct it until it ends, or until only a person can move it on; return where it stands.

        `LockedError` if another conductor has it. `FencedError` if another took it over meanwhile: what was
        in flight is cancelled. `JournalError` if the journal fails: what is in flight finishes first, as far
        as the lease allows. After each of these the run can be resumed.
        """
        self._fault("claiming")
        self._lease = await self._journal.claim(
            self._run, self._owner, self._world.clock.now(), seconds=self._lease_seconds
        )
        self._fenced = fenced(self._world, self._lease.check)
        self._fault("claimed")
        watchers: list[asyncio.Task[None]] = []
        try:
            with uncollected():
                await self._prepare()
                for watch in (
                    watching.keep(self._journal, self._lease, failed=self._fail, fault=self._fault),
                    self._notes.keep(self._journal, self._lease),
                    watching.commands(self._journal, self._run, self._poll, self._mail_arrived),
                ):
                    watchers.append(asyncio.create_task(watch))
                    watchers[-1].add_done_callback(self._watch_ended)
                await self._recover()
            await self._conduct()
            await self._teller.settle()
            self._fault("ending")
            return self._status
        finally:
            alarm = [self._alarm] if self._alarm else []
            await _cancel([*watchers, *alarm, *self._telling.values(), *self._flight.tasks()])
            with suppress(ChangeoverError):  # then the lease ends by itself
                await self._journal.release(self._lease)

    async def _prepare(self) -> None:
        """Read where the run stands, and make what conducts it from there."""
        self._status = await self._journal.status(self._run)
        self._graph = Graph(self._status.plan)
        self._recorder = Recorder(
            self._journal,
            self._lease,
            self._status,
            now=self._world.clock.now,
            redact=self._redact,
            observer=self._observer,
            fault=self._fault,
        )
        self._teller = Teller(
            self._status, self._recorder, self._world.notifiers, self._world.clock.sleep, self._telling
        )
        self._stepper = Stepper(
            self._status,
            self._recorder,
            self._guard,
            stage_of=self._stage_of,
            attempt=self._attempt,
            may_begin=lambda: self._launching,
            done=self._over,
            stopped=self._reschedule,
            begun=self._begun,
            sleep=self._world.clock.sleep,
            fault=self._fault,
        )

    def _attempt(self, step: Step) -> Attempt:
        at = self._status.steps[step.id]
        context = Context(
            world=self._fenced,
            plan=self._status.plan,
            run=self._run,
            step=step.id,
            attempt=at.attempt,
            since=at.since,
            timeout=step.timeout,
            answer=at.answer,
            failed=at.answered,
            recorded=self._recorder.clean,
            tell=lambda text: self._notes.say(step.id, self._redact(text)),
        )
        return Attempt(
            step, self._actions, context, timeout=self._timeout, check=self._lease.check, fault=self._fault
        )

    def _stage_of(self, step: Step) -> Stage:
        return self._graph.stage_of(step)

    # The loop

    async def _conduct(self) -> None:
        while self._error is None:
            try:
                if await self._turn():
                    return
            except JournalError as error:
                self._fail(error)
            else:
                await self._wake.wait()
                self._wake.clear()
        self._land()
        while self._flight.busy:
            await self._wake.wait()
            self._wake.clear()
            self._land()
        raise self._error

    async def _turn(self) -> bool:
        """Take in what has happened since, and do all that can be done now; whether this was the last turn."""
        self._land()
        await self._obey()
        await self._look_at_the_clock()
        await self._judge()
        await self._launch()
        last = await self._at_rest()
        self._teller.tell()
        return last

    async def _recover(self) -> None:
        """What was in flight when the last conductor ended is in doubt: look at all of it, at once."""
        lost = "the conductor ended while it was in flight"
        running = self._status.steps_in(S.RUNNING)
        if running:
            await self._recorder.record(
                *(StepChanged(step=step, state=S.IN_DOUBT, evidence=lost) for step in running)
            )
        if self._status.in_flight:
            doubtful = set(self._status.steps_in(S.IN_DOUBT))
            for step in self._graph.steps:
                if step.id in doubtful:
                    self._flight.begin(step, self._stepper.resolve(step))
        self._reschedule()

    def _reschedule(self) -> None:
        """Begin the scheduling anew, after steps were changed by other means than being launched.

        Nothing waits for its next attempt while nothing is launched; it need not wait any more afterwards.
        """
        for step in list(self._flight.waiting):
            if not self._going or self._status.steps[step].state is not S.PENDING:
                self._flight.wait_no_longer(step)
        self._scheduler = Scheduler(
            self._graph, self._status.state_of, self._flight.flying, self._flight.waiting
        )

    def _land(self) -> None:
        """Take in what has ended since."""
        for step, task, over in self._flight.landed():
            self._notes.over(step.id)
            if not over:
                self._scheduler.release(step)
            if task.cancelled() or task.exception() is not None:
                self._fail(task.exception() if not task.cancelled() else None)
                continue
            if over:
                continue
            at = self._status.steps[step.id]
            if at.state in SATISFIED:
                self._scheduler.satisfy(step)
            elif at.state is S.PENDING and at.failures and step.retry_wait > 0 and self._going:
                self._flight.wait(step, self._world.clock.sleep(step.retry_wait), self._again)
            elif at.state is S.PENDING:
                self._scheduler.again(step)

    async def _obey(self) -> None:
        """Take the commands that have arrived, each recorded before anything comes of it."""
        if not self._mail:
            return
        self._mail = False
        pending = await self._journal.pending_commands(self._run)
        for command in pending:
            self._fault("obeying")
            decision = commands.decide(command, self._status)
            outcome = "refused" if decision.refused else "taken"
            await self._recorder.record(
                *decision.events,
                then=partial(commands.follow_up, command, decision, self._status),
                answer=Answer(command.id, outcome, decision.answer),
            )
            self._fault("obeyed")
            if self._status.ended:
                return
        if pending:
            self._reschedule()
        if not self._going:
            self._stepper.put_off("the run does not go on meanwhile")

    async def _look_at_the_clock(self) -> None:
        """Warn people in time, and stop at the latest safe moment; be woken when the next of these comes."""
        limit, now = clock.latest(self._status), self._world.clock.now()
        if limit is None:
            return
        if now >= limit.at:
            await self._stop_late(limit)
            return
        comes = limit.at
        if limit.warn and not self._status.warned:
            comes = limit.at - limit.warn
            if now >= comes:
                comes = limit.at
                warning = f"the latest safe moment is {told(limit.at, limit.zone)}: {limit.why}"
                await self._recorder.record(Warned(moment=limit.at, reason=warning))
        self._set_alarm(comes)

    def _set_alarm(self, at: float) -> None:
        if self._alarm and self._alarm_at == at and not self._alarm.done():
            return
        if self._alarm:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = asyncio.create_task(watching.moment(self._world.clock, at, self._wake.set))
        self._alarm.add_done_callback(self._watch_ended)

    async def _stop_late(self, limit: clock.Limit, before: str = "") -> None:
        """Launch nothing more, and break off what is in flight: the way back takes up also what is half done."""
        reason = f"the latest safe moment has come{before}: {limit.why}"
        await self._recorder.record(RunChanged(state=R.STOPPED, reason=reason, cause=limit.cause))
        self._stepper.break_off(reason)
        self._reschedule()

    async def _too_late_for(self, step: Step) -> bool:
        """Whether there would be no time to take back what the step begins; the run has stopped then."""
        if self._status.plan.release.window is None:
            return False
        limit = clock.latest(self._status, beginning=step)
        if limit is None or self._world.clock.now() < limit.at:
            return False
        await self._stop_late(limit, f" before {step.id} could begin")
        return True

    async def _judge(self) -> None:
        """What failed either sets its unit aside, within the failure budgets, or stops the run."""
        status = self._status
        while (
            status.counts[S.FAILED]
            and not status.aborting
            and status.state in (R.RUNNING, R.PAUSED, R.WAITING)
        ):
            if broken := breach(status):
                await self._recorder.record(
                    RunChanged(state=R.STOPPED, reason=broken.why, cause=broken.cause)
                )
                self._reschedule()
                return
            await self._recorder.record(
                *(
                    StepChanged(step=step, state=S.SKIPPED, actor=FAILURE_BUDGET, reason=reason)
                    for step, reason in set_aside(status)
                )
            )
            self._reschedule()
        if status.state is R.RUNNING and not status.aborting and (why := commands.waits_for(status)):
            await self._recorder.record(RunChanged(state=R.STOPPED, reason=why))
            self._reschedule()

    async def _launch(self) -> None:
        while self._launching and (step := self._scheduler.next()):
            if step.person and self._status.falling_back:
                behind = [it for it in self._graph.stage_of(step).steps if self._is_left(it)]
                self._flight.begin(step, self._stepper.ask(step, behind))
            elif step.person:
                self._scheduler.release(step)
                await self._recorder.record(StepChanged(step=step.id, state=S.WAITING))
            elif not await self._too_late_for(step):
                self._flight.begin(step, self._stepper.begin(step))

    async def _at_rest(self) -> bool:
        """Say how the run rests, if it does, and whether there is nothing left for this conductor to do."""
        if not self._flight.empty or self._error is not None:
            return False
        status = self._status
        if status.aborting and not status.ended:
            await self._turn_to(commands.aborted(status))
        elif commands.turns_back(status):
            await self._turn_to(commands.turn_back(status, status.reason, POLICY))
        elif status.state is R.RUNNING:
            await self._come_to(_rest(status))
        if status.ended:
            return True
        if status.state is R.RUNNING:
            return False
        if await self._journal.pending_commands(self._run):
            self._mail = True
            self._wake.set()
        return self._on_stop == "return" and not self._mail

    async def _turn_to(self, event: Event) -> None:
        """Record how an aborted run goes on; on its way back it executes another plan."""
        await self._come_to(event)
        if self._status.falling_back:
            self._graph = Graph(self._status.plan)
            self._reschedule()
            self._wake.set()

    async def _come_to(self, event: Event) -> None:
        """Record it; people are told of the end of the run before that, as nothing can be recorded after it."""
        if isinstance(event, RunChanged) and event.state in ENDED:
            await self._teller.tell_end(event)
        await self._recorder.record(event)

    def _is_left(self, step: Step) -> bool:
        return not step.person and self._status.steps[step.id].state not in SATISFIED

    @property
    def _going(self) -> bool:
        return self._status.state is R.RUNNING and not self._status.aborting and self._error is None

    @property
    def _launching(self) -> bool:
        """Whether a step may begin: nothing has failed that was not judged yet."""
        return self._going and not self._status.counts[S.FAILED]

    # What the others tell it

    def _over(self, step: Step) -> None:
        """What needs the step may begin: what it records follows what the step has recorded."""
        self._flight.over(step)
        self._scheduler.release(step)
        self._scheduler.satisfy(step)
        self._wake.set()

    def _begun(self) -> None:
        """What is begun has to be taken back too: the latest safe moment has come nearer."""
        if self._status.plan.release.window:
            self._wake.set()

    def _again(self, step: Step) -> None:
        self._scheduler.again(step)

    def _mail_arrived(self) -> None:
        self._mail = True
        self._wake.set()

    def _watch_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._fail(task.exception())

    def _fail(self, error: BaseException | None) -> None:
        """Launch nothing any more. What failed first is what is raised; who is fenced also stops at once."""
        self._error = self._error or error
        if isinstance(error, FencedError):
            self._flight.break_off()
        self._wake.set()


def _rest(status: RunStatus) -> RunChanged:
    """How a run rests in which nothing can be launched."""
    if status.satisfied and status.left_behind:
        names = ", ".join(status.left_behind)
        return RunChanged(state=R.STOPPED, reason=f"everything went back but {names}")
    if status.satisfied:
        return RunChanged(state=R.FELL_BACK if status.falling_back else R.DONE)
    if status.counts[S.WAITING]:
        gates = ", ".join(status.steps_in(S.WAITING))
        return RunChanged(state=R.WAITING, reason=f"for a person: {gates}")
    return RunChanged(state=R.STOPPED, reason=f"failed: {', '.join(status.steps_in(S.FAILED))}")


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
