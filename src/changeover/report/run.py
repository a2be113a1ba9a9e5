"""What happened in a run: when, by whom, how long, and at what cost. One value, made from the journal alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from changeover.engine.events import Claimed, CommandTaken, Created, Event, StepChanged
from changeover.engine.fold import RunStatus, fold
from changeover.model.plan import Plan, Promise, Stage, Step
from changeover.model.states import SATISFIED, RunState, StepState
from changeover.model.values import Value
from changeover.probe.ledger import Ledger
from changeover.report.estimate import Estimate, estimate
from changeover.report.ledgers import Source
from changeover.report.receipt import Cost, cost

FORMAT = 1
"""Of the report's JSON."""


class Attempt(Value, frozen=True):
    """One start of a step, and what it came to; `ended` is None while it is in flight."""

    number: int
    started: float
    ended: float | None = None
    outcome: StepState = StepState.RUNNING
    evidence: str = ""
    error: str = ""


class StepReport(Value, frozen=True):
    """A step: where it ended, its attempts, and its time from the first start to the last end, in seconds."""

    id: str
    summary: str
    state: StepState
    estimate: float
    took: float | None = None
    attempts: tuple[Attempt, ...] = ()
    evidence: str = ""


class StageReport(Value, frozen=True):
    """A stage: its steps, its time, and what it cost, None where it never began. Times are seconds."""

    name: str
    title: str
    steps: tuple[StepReport, ...]
    estimate: float
    promise: Promise
    started: float | None = None
    took: float | None = None
    cost: Cost | None = None


class Decision(Value, frozen=True):
    """What a person told the run; `refused` says why it was not obeyed."""

    at: float
    actor: str
    command: str
    step: str = ""
    reason: str = ""
    refused: str = ""


class Skipped(Value, frozen=True):
    """A step that was not done, who decided so, and why."""

    at: float
    step: str
    actor: str
    reason: str


class Takeover(Value, frozen=True):
    """A conductor took the run: the first at its creation, each later one after another had let go of it."""

    at: float
    epoch: int
    owner: str


class RunReport(Value, frozen=True):
    """The whole report. `total` is the cost of the whole run; `sources` are the ledgers it was read from."""

    run: str
    site: str
    from_version: str
    to_version: str
    strategy: str
    plan: str
    state: RunState
    created: float
    until: float
    actor: str
    total: Cost
    stages: tuple[StageReport, ...]
    reason: str = ""
    why: str = ""
    finalize_left: bool = False
    decisions: tuple[Decision, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    takeovers: tuple[Takeover, ...] = ()
    sources: tuple[Source, ...] = ()
    format: int = FORMAT

    @property
    def lasted(self) -> float:
        """Seconds from its creation to its end, or to the last that is known."""
        return self.until - self.created


def run_report(
    run: str,
    plan: Plan,
    events: Sequence[Event],
    *,
    now: float,
    ledgers: Sequence[Ledger] = (),
    sources: Iterable[Source] = (),
) -> RunReport:
    """The report of a run from its events; one that has not ended is reported up to `now`."""
    status = fold(run, plan, events)
    created = next(event for event in events if isinstance(event, Created))
    until = events[-1].at if status.ended else max(now, events[-1].at)
    changes = [event for event in events if isinstance(event, StepChanged)]
    return RunReport(
        run=run,
        site=plan.site.name,
        from_version=plan.release.from_version,
        to_version=plan.release.to_version,
        strategy=plan.release.strategy,
        plan=plan.digest(),
        state=status.state,
        created=created.at,
        until=until,
        actor=created.actor,
        reason=created.reason,
        why=status.reason if status.changed_at else "",
        finalize_left=only_finalize_left(status),
        total=cost(ledgers, created.at, until, _promised(plan)),
        stages=_stages(plan, changes, created.at, until, ledgers),
        decisions=tuple(_decision(event) for event in events if isinstance(event, CommandTaken)),
        skipped=tuple(_skipped(change) for change in _last(changes) if change.state is StepState.SKIPPED),
        takeovers=tuple(
            Takeover(event.at, event.epoch, str(event.owner))
            for event in events
            if isinstance(event, Claimed)
        ),
        sources=tuple(sources),
    )


def only_finalize_left(status: RunStatus) -> bool:
    """Whether the upgrade is done, and all that waits is the approval to give up the way back."""
    finalize = {step.id for stage in status.plan.stages if stage.finalize for step in stage.steps}
    left = {id_ for id_, step in status.steps.items() if step.state not in SATISFIED}
    waiting = status.steps_in(StepState.WAITING)
    untouched = len(left) == len(waiting) + status.counts[StepState.PENDING]
    return bool(waiting) and left <= finalize and untouched


def _stages(
    plan: Plan, changes: Sequence[StepChanged], created: float, until: float, ledgers: Sequence[Ledger]
) -> tuple[StageReport, ...]:
    """Each stage with its cost until the next one began, so that no moment of the run is left out."""
    of_step: defaultdict[str, list[StepChanged]] = defaultdict(list)
    for change in changes:
        of_step[change.step].append(change)
    begun = {stage.name: _begun(stage, of_step) for stage in plan.stages}
    starts = [at for at in begun.values() if at is not None]
    windows = dict(zip(starts, pairwise([created, *starts[1:], until]), strict=True))
    times = estimate(plan)
    reports = []
    for stage in plan.stages:
        started = begun[stage.name]
        steps = tuple(_step(step, of_step[step.id], times) for step in stage.steps)
        reports.append(
            StageReport(
                stage.name,
                stage.title,
                steps,
                estimate=times.stages[stage.name].lasts,
                promise=stage.promise,
                started=started,
                took=None if started is None else _ended(stage, of_step, until) - started,
                cost=None if started is None else cost(ledgers, *windows[started], stage.promise),
            )
        )
    return tuple(reports)


def _begun(stage: Stage, of_step: Mapping[str, list[StepChanged]]) -> float | None:
    at_work = (StepState.RUNNING, StepState.WAITING)
    return min(
        (change.at for step in stage.steps for change in of_step[step.id] if change.state in at_work),
        default=None,
    )


def _ended(stage: Stage, of_step: Mapping[str, list[StepChanged]], until: float) -> float:
    last = [of_step[step.id][-1] for step in stage.steps if of_step[step.id]]
    open_ = any(change.state in (StepState.RUNNING, StepState.WAITING) for change in last)
    return until if open_ else max(change.at for change in last)


def _step(step: Step, changes: Sequence[StepChanged], times: Estimate) -> StepReport:
    attempts = tuple(_attempts(changes))
    last = changes[-1] if changes else None
    ended = [attempt.ended for attempt in attempts if attempt.ended is not None]
    return StepReport(
        step.id,
        step.summary,
        last.state if last else StepState.PENDING,
        estimate=times.steps[step.id].lasts,
        took=ended[-1] - attempts[0].started if ended else None,
        attempts=attempts,
        evidence=last.evidence if last else "",
    )


def _attempts(changes: Sequence[StepChanged]) -> Iterator[Attempt]:
    for change, after in pairwise((*changes, None)):
        if change is None or change.state is not StepState.RUNNING:
            continue
        if after is None:
            yield Attempt(change.attempt, change.at)
        else:
            yield Attempt(change.attempt, change.at, after.at, after.state, after.evidence, after.error)


def _last(changes: Iterable[StepChanged]) -> Iterable[StepChanged]:
    return {change.step: change for change in changes}.values()


def _decision(event: CommandTaken) -> Decision:
    return Decision(event.at, event.actor, event.verb, event.step, event.reason, event.refused)


def _skipped(change: StepChanged) -> Skipped:
    return Skipped(change.at, change.step, change.actor, change.reason or change.evidence)


def _promised(plan: Plan) -> Promise:
    promises = [stage.promise for stage in plan.stages]
    return Promise(
        sum(promise.requests_failed for promise in promises),
        sum(promise.sessions_cut for promise in promises),
        sum(promise.writes_lost for promise in promises),
    )
