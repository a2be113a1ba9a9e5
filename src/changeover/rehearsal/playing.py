"""One play: the real engine and the real actions on a simulated site, from one moment until a person is asked.

A play begins at a moment at which nothing is in flight: there the journal is cut, and a conductor resumes the run as
after a crash in which nothing was lost. What was played before is not played again.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from changeover.actions.base import Action, Context
from changeover.engine import clock as clocks
from changeover.engine.events import Event, FallbackBegun, StepChanged
from changeover.engine.fold import RunStatus
from changeover.engine.guard import Guard
from changeover.engine.memory import MemoryJournal
from changeover.engine.owner import Owner
from changeover.engine.runner import Runner
from changeover.model.plan import Operation, Plan
from changeover.model.states import StepState
from changeover.rehearsal import judging, sameness
from changeover.rehearsal.asking import Asked, asked, commands_of
from changeover.rehearsal.cases import MENDS, Answer, Kind, Reply
from changeover.rehearsal.excusing import Excuse
from changeover.rehearsal.following import Follower
from changeover.rehearsal.moments import Base, Known, Moment, Played, Rest, Rested
from changeover.rehearsal.starting import WARM_UP, start
from changeover.rehearsal.striking import Armed, Arms, Died, struck
from changeover.rehearsal.tracing import said
from changeover.rehearsal.watching import Violation, Watcher
from changeover.simulation import Call, LoopClock, SimulatedClock, SimulatedSite

S = StepState

GRAIN = 0.2
"""Seconds between two looks of whoever waits, at the least."""

BOUND = 30 * 86_400.0
"""Seconds of simulated time after which whoever still waits is taken to wait for ever."""

RESUMED = 1.0
"""Seconds from the death of a conductor until the next one takes over."""

NEAR = 300.0
"""Seconds by which the end of a window may be nearer to one play than to another that goes on like it."""

PAST = 5.0
"""Seconds after the latest safe moment at which somebody comes who is late."""

THINKS = 60.0
"""Seconds that a person takes to answer."""

MENDED = 45.0
"""Seconds from when everything was mended until the person says so: hosts have booted, balancers have seen it."""

HELD = 86_400.0
"""Seconds for which somebody else holds a lock, if nobody ends that."""

CALM = 60.0
"""Seconds after the end of a run until the site is compared with what it was."""

OWNER = Owner("rehearsal", "rehearsal", 0, 0, "", "")


class Play:
    """Plays once. `wanted` are the steps whose moments `base` is to keep."""

    def __init__(
        self,
        plan: Plan,
        actions: Mapping[str, Action],
        base: Base,
        known: Known,
        *,
        site_kind: type[SimulatedSite] = SimulatedSite,
        armed: Sequence[Armed] = (),
        traced: bool = False,
        wanted: Callable[[str], bool] | None = None,
    ) -> None:
        self._plan = plan
        self._base = base
        self._known = known
        self._site_kind = site_kind
        self._wanted = wanted
        self._traced = traced
        self._arms = Arms(
            armed,
            die=self._die,
            told=self._struck,
            looks=base.looks,
            began=self._began,
            befalls=self._befall,
            heard=base.calls if wanted else None,
        )
        self._actions = struck(actions, self._arms)
        self._struck_stages = {
            stage.name for stage in plan.stages if wanted and any(wanted(step.id) for step in stage.steps)
        }
        self._task: asyncio.Task[RunStatus] | None = None
        self._died = False
        self._join: Rested | None = None
        self._keys: list[tuple[sameness.Key, float, tuple[str, ...]]] = []
        self._endless = False
        self._unmended = False
        self._violations: list[Violation] = []
        self._trace: list[tuple[float, str]] = []
        self._hits: list[str] = []
        self._back_since = -1.0
        self._latest: Moment | None = None

    async def begin(self, clock: LoopClock) -> Played:
        """From the very beginning."""
        self._clock = clock
        site = start(self._plan, clock, self._site_kind)
        await clock.sleep(WARM_UP)
        site.settle()
        self._base.before = site.state()
        self._base.actions = {step.id: step.do.action for step in self._plan.steps()}
        journal = MemoryJournal(clock.now)
        run = await journal.create_run(self._plan, actor="rehearsal", reason="rehearsed", owner=OWNER)
        self._follow(site, journal, run)
        return await self._play(())

    async def resume(
        self, clock: LoopClock, moment: Moment, reply: Answer | None, question: Asked | None
    ) -> Played:
        """From that moment, with that answer to what was asked there."""
        self._clock = clock
        site = moment.site.fork(clock)
        journal = moment.journal.beginning(moment.run, moment.seq, clock.now)
        self._unmended = reply is Reply.ABORT_UNMENDED
        self._follow(site, journal, moment.run, moment.agreed)
        await self._wait(Kind.LATE)
        await self._wait(Kind.MOMENT)
        return await self._play(moment.excuses, reply, question)

    def _follow(
        self, site: SimulatedSite, journal: MemoryJournal, run: str, agreed: frozenset[str] = frozenset()
    ) -> None:
        self._site, self._journal, self._run = site, journal, run
        self._follower = Follower(
            site, broken=self._broken, endless=self._give_up, looks=self._base.looks, agreed=agreed
        )

    async def _wait(self, kind: Kind) -> None:
        """Let the time pass until that fault of the clock comes about, if it is armed; meanwhile nobody conducts."""
        armed = next((it for it in self._arms.armed if it.strike.kind is kind and not it.over), None)
        status = await self._journal.status(self._run)
        step = next((it for it in status.plan.steps() if armed and it.id == armed.strike.step), None)
        limit = clocks.latest(status, beginning=step if kind is Kind.MOMENT else None) if step else None
        if step is None or limit is None:
            return
        until = limit.at - step.estimate / 2 if kind is Kind.MOMENT else limit.at + PAST
        await self._clock.sleep(max(0.0, until - self._clock.now()))
        self._site.settle()
        self._arms.comes(kind)

    async def _away(self) -> None:
        """Nobody conducts: for a second, or until the latest safe moment has passed."""
        limit = clocks.latest(await self._journal.status(self._run))
        away = any(it.strike.kind is Kind.AWAY and it.hit for it in self._arms.armed)
        until = limit.at + PAST if away and limit else 0.0
        await self._clock.sleep(max(RESUMED, until - self._clock.now()))

    async def _stand(self) -> None:
        """See where the run stands."""
        self._status = await self._journal.status(self._run)
        self._follower.index(self._status)

    def _give_up(self) -> None:
        self._endless = True
        if self._task is not None:
            self._task.cancel()

    async def _play(
        self, excuses: Sequence[Excuse], reply: Answer | None = None, question: Asked | None = None
    ) -> Played:
        site, run = self._site, self._run
        await self._stand()
        began = self._clock.now()
        self._watcher = Watcher(
            self._plan, run, site, active=self._follower.active, stage=self._follower.stage, excuses=excuses
        )
        site.watcher = self._watcher
        if reply is not None and question is not None:
            await self._reply(reply, question)
        resumed = self._clock.now()
        if self._status.falling_back:
            self._back_since = resumed
        status = await self._conduct()
        rest = None
        if self._join is not None:
            rest = self._join.rest
        elif status is not None:
            rest = await self._at_rest(status)
        site.settle()
        for what, seconds in (self._join.missed if self._join else {}).items():
            self._watcher.will_be_missed(what, seconds)
        self._watcher.conclude()
        since = self._back_since
        back = self._clock.now() - self._back_since if self._back_since >= 0 else 0.0
        if rest is not None and rest.asked is None and self._join is None:
            back = max(0.0, back - CALM)
        played = Played(
            rest,
            [*self._violations, *self._watcher.violations],
            self._watcher.costs,
            back + (self._join.seconds if self._join else 0.0) if self._back_since >= 0 else 0.0,
            self._clock.now() - began,
            self._join is not None,
            self._trace,
            self._hits,
            since,
        )
        self._remember(played)
        return played

    # The conductor

    async def _conduct(self) -> RunStatus | None:
        """Until the run rests; None if it was left, because the rest is known or the engine has failed."""
        while True:
            self._died = False
            runner = Runner(
                self._journal,
                self._run,
                self._site.world,
                self._actions,
                guard=Guard(self._plan, self._site.world, self._run),
                owner=OWNER,
                observer=self._see,
                fault=self._point,
                lease_seconds=math.inf,
            )
            self._task = asyncio.create_task(runner.run())
            done, _ = await asyncio.wait({self._task}, timeout=BOUND)
            if not done:
                waiting = ", ".join(sorted(self._follower.flying)) or "the engine"
                self._broken("nobody waits for ever", f"{waiting}: nothing happens any more")
                self._task.cancel()
                await asyncio.wait({self._task})
                return None
            if self._join is not None or self._endless:
                return None
            if self._died:
                self._follower.deaths += 1
                await self._away()
                self._site.orphans_end = False
                seq = len(await self._journal.events(self._run))
                self._journal = self._journal.beginning(self._run, seq, self._clock.now)
                await self._stand()
                self._follower.flying = set(self._status.steps_in(S.RUNNING, S.IN_DOUBT))
                continue
            error = self._task.exception()
            if error is not None:
                self._broken("the engine goes on", f"{type(error).__name__}: {error}")
                return None
            return self._task.result()

    def _point(self, point: str) -> None:
        if self._join is not None and point == "started":
            raise Died
        task = asyncio.current_task()
        self._arms.passed(point, task.get_name() if task else "")  # the engine calls it after the step

    def _die(self, kind: Kind) -> None:
        if self._task is not None and not self._died and not self._task.done():
            self._died = True
            self._site.orphans_end = kind is not Kind.DIES_WITH
            self._task.cancel()
            self._note(f"the conductor dies ({kind})")

    # What happens

    def _see(self, event: Event) -> None:
        try:
            self._take_in(event)
        except Exception as error:  # noqa: BLE001 - whoever looks on must not be silent about it
            self._broken("the engine goes on", f"{type(error).__name__}: {error}")

    def _take_in(self, event: Event) -> None:
        if self._join is not None or self._endless or event.seq <= self._status.seq:
            return
        follower = self._follower
        if isinstance(event, StepChanged):
            follower.step_changed(event)
        self._status.apply(event)
        if isinstance(event, StepChanged):
            follower.changed(event)
        if self._traced:
            self._note(said(event), event.at)
        if isinstance(event, FallbackBegun):
            self._back_since = event.at
            follower.index(self._status)
        elif isinstance(event, StepChanged) and event.state is S.RUNNING and follower.flying == {event.step}:
            self._quiet_before(event)

    def _quiet_before(self, event: StepChanged) -> None:
        """Nothing is in flight but the step that begins just now, and its effect has not begun."""
        if self._wanted is not None and not self._keep_moment(event):
            return
        if any(not it.hit and not it.over for it in self._arms.armed):
            return
        if self._died or self._violations or self._watcher.violations:
            return
        key = self._key()
        if known := self._known.on_the_way.get(key):
            self._join = known
            if self._task is not None:
                self._task.cancel()
            return
        self._keys.append((key, self._clock.now(), self._watcher.missed))

    def _keep_moment(self, event: StepChanged) -> bool:
        """Where a step of this stage is struck; whether cases may come by here that go on like this run."""
        stage = self._follower.stage_of[event.step]
        place = self._plan.stages.index(stage)
        near = {stage.name for stage in self._plan.stages[max(0, place - 1) : place + 1]}
        if stage.name in self._struck_stages:
            fork = self._site.fork(SimulatedClock(self._clock.now()))
            excuses = tuple(replace(it) for it in self._watcher.excuses)
            self._latest = Moment(fork, self._journal, self._run, event.seq - 1, excuses=excuses)
        return not near.isdisjoint(self._struck_stages)

    def _remember(self, played: Played) -> None:
        """So that a play that comes to one of these states need not go on."""
        if played.rest is None or played.violations:
            return
        ended = self._clock.now() - (CALM if played.rest.asked is None and not played.joined else 0.0)
        tail = self._join.seconds if self._join else 0.0
        for key, at, missed in self._keys:
            without = {what: self._watcher.missed_on(what, at) for what in missed}
            self._known.on_the_way.setdefault(key, Rested(played.rest, ended - at + tail, without))

    async def _began(self, action: Action, operation: Operation, context: Context) -> None:
        """An effect begins."""
        step = context.step
        if self._wanted is not None and self._wanted(step) and self._latest is not None:
            self._base.moments.setdefault(step, self._latest)
        await self._follower.performed(action, operation, context)

    def _befall(self, kind: Kind, target: str) -> None:
        """Somebody else's transaction, a row that belongs to nothing, a line in a log: there it is."""
        site = self._site
        if kind is Kind.LOCKED:
            store = site.stores[target]
            store.locked_until = max(store.locked_until, self._clock.now() + HELD)
        elif kind is Kind.STALLS:
            site.deployments[target].stale["4711"] = "of nobody"
        else:
            for path in site.nodes[target].logs:
                site.hosts[site.nodes[target].host].log(path, b"ERROR that nobody knows\n")

    def _struck(self, armed: Armed, call: Call) -> None:
        self._hits.append(str(armed.strike))
        self._note(f"struck: {armed.strike.kind} at {call}")
        if armed.strike.kind in (Kind.HOST_DIES, Kind.NETWORK_CUT) and call.host:
            self._watcher.struck(call.host)

    # Where it rests

    async def _at_rest(self, status: RunStatus) -> Rest:
        question = asked(status) if not status.ended else None
        where_it_began = False
        if status.ended:
            await self._clock.sleep(CALM)
            self._site.settle()
            judged = judging.ended(
                self._plan, status, self._site, self._base.before, self._watcher.answered_for()
            )
            where_it_began = judged.where_it_began
            self._violations += judged.violations
        elif question is not None:
            self._violations += judging.at_rest(status, question, self._site)
            if self._unmended and not self._hits:
                self._violations += judging.unmended(status, question, self._site)
        self._violations += judging.writes(self._plan, status, self._site, self._follower.agreed)
        if question is not None:
            self._note(f"a person is asked: {question.text}")
        return self._rest(status, question, where_it_began)

    def _rest(self, status: RunStatus, question: Asked | None, where_it_began: bool) -> Rest:
        moment = Moment(
            self._site,
            self._journal,
            self._run,
            status.seq,
            tuple(self._arms.armed),
            tuple(self._watcher.excuses),
            self._follower.agreed,
        )
        rest = Rest(status.state, moment, question, where_it_began)
        if self._violations or any(not it.hit and not it.over for it in self._arms.armed):
            return rest
        key = self._key()
        return self._known.at_rest.setdefault(key, rest)

    async def _reply(self, reply: Answer, question: Asked) -> None:
        """The person thinks, has it mended where that belongs to the answer, and gives the commands."""
        await self._clock.sleep(THINKS)
        self._site.settle()
        if reply == Reply.SKIP:
            taken = commands_of(reply, self._status, question)
            steps = [self._follower.steps[it.step] for it in taken]
            self._watcher.skipped({it.unit or it.do.target for it in steps} & self._site.nodes.keys())
        self._follower.accepting = reply == Reply.ACCEPT
        if reply == Reply.ACCEPT:
            self._watcher.skipped(self._status.set_aside & self._site.nodes.keys())
        if reply in MENDS:
            self._arms.mend()
            judging.mend(self._site, question)
            self._watcher.mended()
            self._note("everything is mended")
            await self._clock.sleep(MENDED)
            self._site.settle()
        for command in commands_of(reply, self._status, question):
            self._note(f"answered: {command.verb} {command.step} {command.answer}".rstrip())
            await self._journal.command(
                self._run,
                command.verb,
                actor=command.actor,
                step=command.step,
                reason=command.reason,
                accept_skipped=command.accept_skipped,
                answer=command.answer,
                signed=command.signed,
            )

    # Small things

    def _key(self) -> sameness.Key:
        now = self._clock.now()
        excuses = self._watcher.excuses
        excused = tuple((it.host, round(it.until - now)) for it in excuses if now < it.until < math.inf)
        broken = tuple(sorted((it.host, it.skipped) for it in excuses if it.until == math.inf))
        faults = sameness.faults(self._status, self._arms.armed)
        agreed = tuple(sorted(self._follower.agreed))
        window = self._plan.release.window
        return (
            int((window.closes - now) // NEAR) if window else 0,
            self._watcher.missed,
            self._follower.standing.key(now),
            sameness.of_site(self._site),
            faults,
            excused,
            broken,
            agreed,
        )

    def _broken(self, rule: str, what: str) -> None:
        self._violations.append(Violation(rule, what, self._clock.now()))

    def _note(self, text: str, at: float = -1.0) -> None:
        if self._traced:
            self._trace.append((self._clock.now() if at < 0 else at, text))
