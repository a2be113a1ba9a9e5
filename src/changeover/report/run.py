"""What happened in a run: when, by whom, how long, and at what cost. One value, made from the journal alone."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

import msgspec

from changeover.engine.events import Claimed, CommandTaken, Created, Event, FallbackBegun, StepChanged
from changeover.engine.fold import RunStatus, fold
from changeover.errors import RefusedError
from changeover.fallback import way_back
from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Promise, Step
from changeover.model.states import SATISFIED, RunState, StepState
from changeover.model.values import Value
from changeover.probe.ledger import Ledger
from changeover.report.duties import Duty, duties
from changeover.report.estimate import Estimate, estimate
from changeover.report.ledgers import Source
from changeover.report.promises import promised, together
from changeover.report.receipt import Cost, Window, cost

ByHand = Callable[[Step, Plan], tuple[Instruction, ...]]

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


class Left(Value, frozen=True):
    """A step of the way back that nobody has done: what it would do, what was last seen of it, and how it is done by hand."""

    step: str
    summary: str
    evidence: str = ""
    instructions: tuple[Instruction, ...] = ()


class RunReport(Value, frozen=True, omit_defaults=False):
    """The whole report. `total` is the cost of the whole run; `sources` are the ledgers it was read from.

    `afterwards` is what people have to do when the upgrade is done.
    """

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
    left: tuple[Left, ...] = ()
    duties: tuple[Duty, ...] = ()
    afterwards: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    format: int = FORMAT

    @property
    def lasted(self) -> float:
        """Seconds that it took, without the wait for the approval of finalize."""
        return sum(window.lasts for window in self.total.windows)


def _unsaid(_step: Step, _plan: Plan) -> tuple[Instruction, ...]:
    return ()


def run_report(
    run: str,
    plan: Plan,
    events: Sequence[Event],
    *,
    now: float,
    ledgers: Sequence[Ledger] = (),
    sources: Iterable[Source] = (),
    by_hand: ByHand = _unsaid,
) -> RunReport:
    """The report of a run from its events: up to `now` while it is at work, up to where it came to rest else.

    `by_hand` says how a person does a step of a plan.
    """
    status = fold(run, plan, events)
    created = next(event for event in events if isinstance(event, Created))
    at_work = status.in_flight or (status.state is RunState.RUNNING)
    until = max(now, events[-1].at) if at_work else events[-1].at
    changes = [event for event in events if isinstance(event, StepChanged)]
    of_step: defaultdict[str, list[StepChanged]] = defaultdict(list)
    for change in changes:
        of_step[change.step].append(change)
    whole = plan
    if status.falling_back:
        whole = msgspec.structs.replace(plan, stages=(*plan.stages, *status.plan.stages))
    windows = _windows(whole, of_step, created.at, until)
    promises = promised(whole.stages)
    stages = _stages(whole, of_step, windows, ledgers, promises)
    agreed = together(promises, (stage.cost for stage in stages))
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
        why=(status.reason or _turned_back(events)) if status.changed_at else "",
        finalize_left=only_finalize_left(status),
        total=cost(ledgers, _joined(windows.values()), agreed),
        stages=stages,
        decisions=tuple(_decision(event) for event in events if isinstance(event, CommandTaken)),
        skipped=tuple(_skipped(change) for change in _last(changes) if change.state is StepState.SKIPPED),
        takeovers=tuple(
            Takeover(event.at, event.epoch, str(event.owner))
            for event in events
            if isinstance(event, Claimed)
        ),
        left=tuple(_left(status, by_hand)),
        duties=tuple(duties(whole, of_step)),
        afterwards=plan.release.afterwards,
        sources=tuple(sources),
    )


def _turned_back(events: Iterable[Event]) -> str:
    """Why it went back, and who said so."""
    return next(
        (": ".join(filter(None, (it.actor, it.reason))) for it in events if isinstance(it, FallbackBegun)), ""
    )


def _left(status: RunStatus, by_hand: ByHand) -> Iterator[Left]:
    """What a person has to do by hand to bring the site back, if the run does not."""
    steps: list[Step] = []
    if status.falling_back and status.state in (RunState.STOPPED, RunState.ABORTED, RunState.FELL_BACK):
        steps = [step for step in status.plan.steps() if status.steps[step.id].state is not StepState.DONE]
    elif status.state is RunState.ABORTED:
        with suppress(RefusedError):  # past the point of no return
            steps = list(way_back(status.plan, status.reached()).steps())
    for step in steps:
        at = status.steps.get(step.id)
        yield Left(step.id, step.summary, at.evidence if at else "", by_hand(step, status.plan))


def only_finalize_left(status: RunStatus) -> bool:
    """Whether the upgrade is done, and all that waits is the approval to give up the way back."""
    finalize = {step.id for stage in status.plan.stages if stage.finalize for step in stage.steps}
    left = {step.id for step in status.plan.steps() if status.steps[step.id].state not in SATISFIED}
    waiting = status.steps_in(StepState.WAITING)
    untouched = len(left) == len(waiting) + status.counts[StepState.PENDING]
    return bool(waiting) and left <= finalize and untouched and not status.ended


def _stages(
    plan: Plan,
    of_step: Mapping[str, list[StepChanged]],
    windows: Mapping[str, Window],
    ledgers: Sequence[Ledger],
    promises: Sequence[Promise],
) -> tuple[StageReport, ...]:
    times = estimate(plan)
    reports = []
    for stage, promise in zip(plan.stages, promises, strict=True):
        window = windows.get(stage.name)
        steps = tuple(_step(step, of_step[step.id], times) for step in stage.steps)
        ends = [at for step in steps for attempt in step.attempts if (at := attempt.ended) is not None]
        reports.append(
            StageReport(
                stage.name,
                stage.title,
                steps,
                estimate=times.stages[stage.name].lasts,
                promise=promise,
                started=window.start if window else None,
                took=max(ends) - window.start if window and ends else None,
                cost=cost(ledgers, [window], promise) if window else None,
            )
        )
    return tuple(reports)


def _windows(
    plan: Plan, of_step: Mapping[str, list[StepChanged]], created: float, until: float
) -> dict[str, Window]:
    """Stage → from its beginning until the next one's, so that no moment is left out but the wait for finalize.

    That wait may take days, and what the site loses then is not the upgrade's doing.
    """
    windows: dict[str, Window] = {}
    end = until
    for stage in reversed(plan.stages):
        changes = [change for step in stage.steps for change in of_step[step.id]]
        work = [change.at for change in changes if change.state is StepState.RUNNING]
        waits = [change.at for change in changes if change.state is StepState.WAITING]
        if stage.finalize and work:
            windows[stage.name] = Window(min(work), end)
        elif not stage.finalize and (work or waits):
            windows[stage.name] = Window(min(work + waits), end)
        end = min((*work, *waits, end))
    if windows:
        first = next(stage.name for stage in plan.stages if stage.name in windows)
        windows[first] = Window(created, windows[first].end)
    return {stage.name: windows[stage.name] for stage in plan.stages if stage.name in windows}


def _joined(windows: Iterable[Window]) -> list[Window]:
    """Adjacent windows as one: an outage across two stages is one outage."""
    joined: list[Window] = []
    for window in windows:
        if joined and joined[-1].end == window.start:
            joined[-1] = Window(joined[-1].start, window.end)
        else:
            joined.append(window)
    return joined


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
        evidence=next((it.evidence for it in reversed(changes) if it.evidence), ""),
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
    return Decision(
        event.at,
        event.by,
        f"{event.verb} with {event.answer}" if event.answer else event.verb,
        event.step,
        event.reason,
        event.refused,
    )


def _skipped(change: StepChanged) -> Skipped:
    return Skipped(change.at, change.step, change.actor, change.reason or change.evidence)
