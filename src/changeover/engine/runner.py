"""The conductor's loop: launch what may be launched, record what came of it, obey, and rest."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Literal

from changeover.actions.base import Action, Context
from changeover.engine import commands
from changeover.engine import lease as leases
from changeover.engine.attempt import Attempt, Came, Outcome, Timeout
from changeover.engine.budgets import breach, set_aside
from changeover.engine.events import FAILURE_BUDGET, POLICY, Event, RunChanged, StepChanged
from changeover.engine.fenced import fenced
from changeover.engine.fold import RunStatus
from changeover.engine.graph import Graph
from changeover.engine.journal import Journal, uncollected
from changeover.engine.owner import Owner
from changeover.engine.recorder import Recorder
from changeover.engine.scheduler import Scheduler
from changeover.engine.writer import Answer
from changeover.errors import ChangeoverError, FencedError, JournalError
from changeover.model.plan import Step
from changeover.model.release import Cause
from changeover.model.states import SATISFIED, RunState, StepState
from changeover.model.values import Verdict
from changeover.ports import World

S, R = StepState, RunState

Guard = Callable[[Step], Awaitable[Verdict | None]]
"""Asked right before the effect of a step and again after it; a verdict that is not good stops the run."""

FAULT_POINTS = (
    "claiming",
    "claimed",
    "started",
    "performing",
    "performed",
    "finishing",
    "appended",
    "finished",
    "obeying",
    "obeyed",
    "renewing",
    "renewed",
    "observed",
    "ending",
)
"""Where `Runner` calls its `fault`, in a run's order. Tests kill the process there.

`started`: that is durable, the effect has not begun. `performing`, `performed`: right before and after the
effect. `finishing`, `finished`: before and after the outcome is durable. `appended`: within the transaction,
before it is committed. `observed`: a step in doubt was looked at. `ending`: at rest, the lease still held.
"""


class Runner:
    """Conducts one run. Make one for each time that it is begun or resumed.

    `on_stop` says what to do when only a person can move the run on: return, or wait for a command.
    `redact` takes secrets out of every text before it is recorded. `observer` sees each event as soon as it
    is durable. `timeout` limits each call of an action. `poll` is how many seconds pass between looks for
    commands.
    """

    def __init__(
        self,
        journal: Journal,
        run: str,
        world: World,
        actions: Mapping[str, Action],
        *,
        guard: Guard | None = None,
        owner: Owner | None = None,
        on_stop: Literal["return", "wait"] = "return",
        redact: Callable[[str], str] = str,
        observer: Callable[[Event], None] | None = None,
        fault: Callable[[str], None] = lambda _: None,
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
        self._flight: dict[str, asyncio.Task[None]] = {}
        self._naps: dict[str, asyncio.Task[None]] = {}
        self._landed: list[tuple[Step, asyncio.Task[None]]] = []
        self._mail = True
        self._error: BaseException | None = None
        self._wake = asyncio.Event()

    async def run(self) -> RunStatus:
        """Conduct it until it ends, or until only a person can move it on; return where it stands.

        `LockedError` if another conductor has it. `FencedError` if another took it over meanwhile: what was
        in flight is cancelled. `JournalError` if the journal fails: what is in flight finishes first, as far
        as the lease allows. After each of these the run can be resumed.
        """
        self._fault("claiming")
        self._lease = await leases.claim(
            self._journal.store, self._run, self._owner, self._world.clock.now(), seconds=self._lease_seconds
        )
        self._fenced = fenced(self._world, self._lease.check)
        self._fault("claimed")
        watchers: list[asyncio.Task[None]] = []
        try:
            with uncollected():
                await self._prepare()
                for watch in (self._keep_lease(), self._watch_commands()):
                    watchers.append(asyncio.create_task(watch))
                    watchers[-1].add_done_callback(self._watch_ended)
                await self._recover()
            await self._conduct()
            self._fault("ending")
            return self._status
        finally:
            await _cancel([*watchers, *self._naps.values(), *self._flight.values()])
            with suppress(ChangeoverError):  # then the lease ends by itself
                await leases.release(self._journal.store, self._lease)

    async def _prepare(self) -> None:
        """Read where the run stands, and make what conducts it from there."""
        self._status = await self._journal.status(self._run)
        self._graph = Graph(self._status.plan)
        self._recorder = Recorder(
            self._journal.store,
            self._lease,
            self._status,
            now=self._world.clock.now,
            redact=self._redact,
            observer=self._observer,
            fault=self._fault,
        )

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
        while self._flight:
            await self._wake.wait()
            self._wake.clear()
            self._land()
        raise self._error

    async def _turn(self) -> bool:
        """Take in what has happened since, and do all that can be done now; whether this was the last turn."""
        self._land()
        await self._obey()
        await self._judge()
        await self._launch()
        return await self._at_rest()

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
                    self._fly(step, self._resolve(step))
        self._reschedule()

    def _reschedule(self) -> None:
        """Begin the scheduling anew, after steps were changed by other means than being launched.

        Nothing waits for its next attempt while nothing is launched; it need not wait any more afterwards.
        """
        for step, nap in list(self._naps.items()):
            if not self._going or self._status.steps[step].state is not S.PENDING:
                del self._naps[step]
                nap.cancel()
        self._scheduler = Scheduler(
            self._graph, self._status.state_of, self._flight.keys(), self._naps.keys()
        )

    def _land(self) -> None:
        """Take in what has ended since."""
        landed, self._landed = self._landed, []
        for step, task in landed:
            del self._flight[step.id]
            self._scheduler.release(step)
            if task.cancelled() or task.exception() is not None:
                self._fail(task.exception() if not task.cancelled() else None)
                continue
            at = self._status.steps[step.id]
            if at.state in SATISFIED:
                self._scheduler.satisfy(step)
            elif at.state is S.PENDING and at.failures and step.retry_wait > 0 and self._going:
                self._nap(step)
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

    async def _launch(self) -> None:
        while self._launching and (step := self._scheduler.next()):
            if step.person:
                self._scheduler.release(step)
                await self._recorder.record(StepChanged(step=step.id, state=S.WAITING))
            else:
                self._fly(step, self._begin(step))

    async def _at_rest(self) -> bool:
        """Say how the run rests, if it does, and whether there is nothing left for this conductor to do."""
        if self._flight or self._naps or self._landed or self._error is not None:
            return False
        status = self._status
        if status.aborting and not status.ended:
            await self._turn_to(commands.aborted(status))
        elif commands.turns_back(status):
            await self._turn_to(commands.turn_back(status, status.reason, POLICY))
        elif status.state is R.RUNNING:
            await self._recorder.record(_rest(status))
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
        await self._recorder.record(event)
        if self._status.falling_back:
            self._graph = Graph(self._status.plan)
            self._reschedule()
            self._wake.set()

    @property
    def _going(self) -> bool:
        return self._status.state is R.RUNNING and not self._status.aborting and self._error is None

    @property
    def _launching(self) -> bool:
        """Whether a step may begin: nothing has failed that was not judged yet."""
        return self._going and not self._status.counts[S.FAILED]

    # One step

    def _fly(self, step: Step, work: Coroutine[None, None, None]) -> None:
        task = self._flight[step.id] = asyncio.create_task(work)
        task.add_done_callback(lambda task: self._down(step, task))

    def _down(self, step: Step, task: asyncio.Task[None]) -> None:
        self._landed.append((step, task))
        self._wake.set()

    async def _begin(self, step: Step) -> None:
        """One attempt, from the question whether it may be made to the record of what came of it."""
        await self._ask_guard(step)
        at = self._status.steps[step.id]
        if not self._launching or at.state is not S.PENDING:
            return
        begun_before, asked_for = at.attempt > 0, not at.since
        # What was never done, or is back already, needs no undoing: on the way back it is looked at first.
        look_first = begun_before or self._status.falling_back
        await self._recorder.record(StepChanged(step=step.id, state=S.RUNNING, attempt=at.attempt + 1))
        self._fault("started")
        attempt = self._attempt(step)
        outcome = await attempt.look() if look_first else None
        if begun_before and outcome and outcome.came in (Came.UNKNOWN, Came.UNSEEN) and not asked_for:
            # What may be half there is performed again only when a person says so.
            after = _changed(step, S.FAILED, outcome)
        else:
            if outcome is None or outcome.came is not Came.DONE:
                outcome = await attempt.make()
            after = self._after(step, outcome)
        self._fault("finishing")
        await self._recorder.record(after)
        self._fault("finished")
        await self._ask_guard(step)
        if after.state is S.IN_DOUBT:
            await self._world.clock.sleep(step.retry_wait)
            await self._resolve(step)

    async def _resolve(self, step: Step) -> None:
        """Look at a step in doubt: it is done, or to be done again, or a person has to decide."""
        outcome = await self._attempt(step).look()
        self._fault("observed")
        at = self._status.steps[step.id]
        if outcome.came is Came.DONE:
            state = S.DONE
        elif outcome.came is Came.ABSENT and at.failures < step.attempts:
            state = S.PENDING
        else:
            state = S.FAILED
        await self._recorder.record(_changed(step, state, outcome))

    def _after(self, step: Step, outcome: Outcome) -> StepChanged:
        at = self._status.steps[step.id]
        if outcome.came is Came.DONE:
            return _changed(step, S.DONE, outcome)
        if outcome.came is Came.UNSEEN:
            return _changed(step, S.IN_DOUBT, outcome)
        again = at.failures + 1 < step.attempts and not self._status.is_set_aside(step.unit)
        return _changed(step, S.PENDING if again else S.FAILED, outcome)

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
        )
        return Attempt(
            step, self._actions, context, timeout=self._timeout, check=self._lease.check, fault=self._fault
        )

    async def _ask_guard(self, step: Step) -> None:
        """Stop the run if an interlock does not hold, or cannot be told."""
        if self._guard is None:
            return
        try:
            verdict = await self._guard(step)
        except Exception as error:  # noqa: BLE001 - what cannot be asked does not hold
            reason = f"the interlocks of {step.id} could not be asked: {error}"
        else:
            if verdict is None or verdict.good:
                return
            reason = f"{step.id}: {verdict.subject}: {verdict.evidence}"
            reason += f" ({verdict.hint})" if verdict.hint else ""
        if self._status.state in (R.RUNNING, R.PAUSED, R.WAITING) and not self._status.aborting:
            await self._recorder.record(RunChanged(state=R.STOPPED, reason=reason, cause=Cause.INTERLOCK))
            self._reschedule()

    # Waiting between attempts

    def _nap(self, step: Step) -> None:
        task = self._naps[step.id] = asyncio.create_task(self._world.clock.sleep(step.retry_wait))
        task.add_done_callback(lambda task: self._woke(step, task))

    def _woke(self, step: Step, task: asyncio.Task[None]) -> None:
        if self._naps.get(step.id) is task and not task.cancelled():
            del self._naps[step.id]
            self._scheduler.again(step)
            self._wake.set()

    # Beside the loop

    async def _keep_lease(self) -> None:
        lease = self._lease
        while True:
            await asyncio.sleep(min(lease.seconds / 3, max(0.0, lease.until - lease.clock())))
            lease.check()
            self._fault("renewing")
            try:
                async with asyncio.timeout(lease.until - lease.clock()):
                    await leases.renew(self._journal.store, lease)
            except FencedError:
                raise
            except TimeoutError:
                raise lease.lost() from None
            except JournalError as error:
                self._fail(error)  # what is in flight may finish, for as long as the lease lasts
            self._fault("renewed")

    async def _watch_commands(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            if await self._journal.pending_commands(self._run):
                self._mail = True
                self._wake.set()

    def _watch_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._fail(task.exception())

    def _fail(self, error: BaseException | None) -> None:
        """Launch nothing any more. What failed first is what is raised; who is fenced also stops at once."""
        self._error = self._error or error
        if isinstance(error, FencedError):
            for task in self._flight.values():
                task.cancel()
        self._wake.set()


def _changed(step: Step, state: StepState, outcome: Outcome) -> StepChanged:
    return StepChanged(
        step=step.id, state=state, evidence=outcome.evidence, error=outcome.error, hint=outcome.hint
    )


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
