"""The run report and its receipt, as a document."""

from collections.abc import Iterable, Iterator

from changeover.engine.events import FAILURE_BUDGET
from changeover.model.states import RunState, StepState
from changeover.model.words import count
from changeover.report.document import Code, Column, Document, Figure, Section, Table, Text, Tone, cells
from changeover.report.ledgers import Source
from changeover.report.receipt import Cost, Held, Loss
from changeover.report.run import RunReport, StageReport, StepReport
from changeover.report.typed import typed
from changeover.report.words import clock, moment, seconds

_LATE = 1.0
"""Seconds behind its schedule from which on a probe's lateness is worth a word."""

AGREED = "an outage was agreed to"
NOT_MEASURED = Text("not measured", Tone.DOUBT)

TONES = {
    StepState.DONE: Tone.GOOD,
    StepState.FAILED: Tone.BAD,
    StepState.IN_DOUBT: Tone.BAD,
    StepState.SKIPPED: Tone.DOUBT,
    StepState.WAITING: Tone.DOUBT,
    StepState.RUNNING: Tone.STRONG,
    StepState.PENDING: Tone.QUIET,
}
_HELD = {Held.KEPT: Tone.GOOD, Held.BROKEN: Tone.BAD, Held.NOT_MEASURED: Tone.DOUBT}


def run_document(report: RunReport) -> Document:
    """Everything in the report, the receipt first."""
    return Document(
        title=f"{report.site}: {report.from_version} → {report.to_version}, {report.strategy}",
        subtitle=f"run {report.run} · {_outcome(report)}",
        figures=_figures(report),
        sections=tuple(section for section in _sections(report) if section.body),
    )


def outcome(state: RunState, *, finalize_left: bool, skipped: int = 0) -> str:
    """Where the run stands, for a person; `skipped` steps of what it executed are not done."""
    but = f", but for {count(skipped, 'skipped step')}" if skipped else ""
    if finalize_left:
        return f"upgraded{but}; finalize waits for approval"
    if but and state in (RunState.DONE, RunState.FELL_BACK):
        return f"{state}{but}"
    return {
        RunState.RUNNING: "running",
        RunState.PAUSED: "paused",
        RunState.WAITING: "waiting for a person",
        RunState.STOPPED: "stopped for a person",
        RunState.ABORTED: "aborted; the site was left where it was",
        RunState.FELL_BACK: "fell back to where it began",
        RunState.DONE: "done",
    }[state]


def _outcome(report: RunReport) -> str:
    fell_back = report.state is RunState.FELL_BACK
    skipped = len(report.left) if fell_back else len(report.skipped)
    return outcome(report.state, finalize_left=report.finalize_left, skipped=skipped)


def _figures(report: RunReport) -> tuple[Figure, ...]:
    total = report.total
    unwritten = NOT_MEASURED if total.unwritten is None else Text(f"{total.unwritten:.1f}")
    return (
        *(Figure(loss.what, _seen(loss), _base(loss, total)) for loss in total.losses),
        Figure("seconds without writing", unwritten),
        Figure("wall time", Text(seconds(report.lasted)), f"from {moment(report.created)}"),
    )


def _base(loss: Loss, total: Cost) -> str:
    if loss.seen is None:
        return loss.note or "no ledger of a probe covers it"
    of = {
        total.requests.what: f"of {total.sent} sent",
        total.sessions.what: f"of {total.opened} opened",
        total.writes.what: f"of {total.acknowledged} acknowledged",
    }[loss.what]
    late = total.late > _LATE and loss is total.requests
    starved = f"the probe was up to {seconds(total.late)} behind its schedule" if late else ""
    return "; ".join(filter(None, (of, loss.note, starved)))


def _seen(loss: Loss) -> Text:
    if loss.seen is None:
        return NOT_MEASURED
    return Text(str(loss.seen), Tone.DOUBT if loss.seen and loss.promised is None else _HELD[loss.held])


def _sections(report: RunReport) -> Iterable[Section]:
    yield Section("The run", (_facts(report),))
    yield Section(
        "Stages, and what each cost: requests failed, sessions cut, writes lost", (_stages(report.stages),)
    )
    yield Section("Left of the way back, to be done by hand in this order", tuple(_left(report)))
    yield Section("Planned, and how it went", _duties(report))
    yield Section("Skipped, and why", _skipped(report))
    yield Section("To be done afterwards", tuple(Text(f"☐ {it}") for it in report.afterwards))
    yield Section("Commands", _decisions(report))
    yield Section("Conductors", _takeovers(report))
    yield Section("Steps", tuple(_steps(report.stages)))
    yield Section("Probes", _sources(report.sources))


def _facts(report: RunReport) -> Table:
    rows = [
        cells("state", _outcome(report)),
        cells("because", report.why),
        cells("started by", report.actor),
        cells("reason", report.reason),
        cells("from", moment(report.created)),
        cells("to", moment(report.until)),
        cells("plan", report.plan[:12]),
    ]
    return Table((Column("", whole=True), Column("")), tuple(row for row in rows if row[1].text))


def _stages(stages: Iterable[StageReport]) -> Table:
    columns = (
        Column("stage", whole=True),
        Column("steps", right=True, whole=True),
        Column("took", right=True, whole=True),
        Column("estimate", right=True, whole=True),
        Column("failed", right=True, whole=True),
        Column("cut", right=True, whole=True),
        Column("lost", right=True, whole=True),
        Column("promise"),
    )
    return Table(columns, tuple(_stage(stage) for stage in stages))


def _stage(stage: StageReport) -> tuple[Text, ...]:
    done = sum(step.state is StepState.DONE for step in stage.steps)
    begun = cells(
        stage.name,
        f"{done}/{len(stage.steps)}",
        "" if stage.took is None else seconds(stage.took),
        Text(seconds(stage.estimate), Tone.QUIET),
    )
    if stage.cost is None:
        return (*begun, *cells("", "", "", Text("never began", Tone.QUIET)))
    losses = (Text("?", Tone.DOUBT) if loss.seen is None else _seen(loss) for loss in stage.cost.losses)
    return (*begun, *losses, _promise(stage.cost))


def _promise(cost: Cost) -> Text:
    notes = {loss.note for loss in cost.losses if loss.note}
    broken = [f"{loss.what}: {loss.promised} promised" for loss in cost.losses if loss.held is Held.BROKEN]
    unseen = [f"no {loss.what.split()[-2]}" for loss in cost.losses if loss.seen is None]
    agreed = [AGREED] if any(loss.promised is None for loss in cost.losses) else []
    details = [*broken, *agreed, *sorted(notes)] or (unseen if len(unseen) < len(cost.losses) else [])
    text = cost.held.value + (f" ({'; '.join(details)})" if details else "")
    return Text(text, _HELD[cost.held])


def _skipped(report: RunReport) -> tuple[Table, ...]:
    columns = (Column("at", whole=True), Column("step", whole=True), Column("by", whole=True), Column("why"))
    rows = tuple(
        cells(clock(skip.at), skip.step, _actor(skip.actor), skip.reason or "no reason given")
        for skip in report.skipped
    )
    return (Table(columns, rows),) if rows else ()


def _actor(actor: str) -> str:
    return "the failure budget" if actor == FAILURE_BUDGET else actor


def _left(report: RunReport) -> Iterator[Text | Code]:
    for left in report.left:
        seen = f" (last seen: {left.evidence})" if left.evidence else ""
        yield Text(f"{left.step}: {left.summary}{seen}", Tone.STRONG)
        yield from typed(left.instructions)


def _duties(report: RunReport) -> tuple[Table, ...]:
    columns = (
        Column("planned", whole=True),
        Column("began", whole=True),
        Column("late", right=True, whole=True),
        Column("owner", whole=True),
        Column("step", whole=True),
        Column("ended", whole=True),
        Column("by"),
    )
    rows = tuple(
        cells(
            "" if duty.planned is None else clock(duty.planned),
            "" if duty.begun is None else clock(duty.begun),
            _lateness(duty.late),
            duty.owner,
            duty.step,
            "" if duty.ended is None else clock(duty.ended),
            duty.by,
        )
        for duty in report.duties
    )
    return (Table(columns, rows),) if rows else ()


def _lateness(late: float | None) -> Text:
    if late is None:
        return Text("")
    if late < _LATE:
        return Text(f"{seconds(-late)} early" if late <= -_LATE else "on time", Tone.QUIET)
    return Text(seconds(late), Tone.DOUBT)


def _decisions(report: RunReport) -> tuple[Table, ...]:
    columns = (
        Column("at", whole=True),
        Column("by", whole=True),
        Column("command", whole=True),
        Column("step", whole=True),
        Column("reason"),
        Column(""),
    )
    rows = tuple(
        cells(
            clock(decision.at),
            decision.actor,
            decision.command,
            decision.step,
            decision.reason,
            Text(f"refused: {decision.refused}", Tone.BAD) if decision.refused else "",
        )
        for decision in report.decisions
    )
    return (Table(columns, rows),) if rows else ()


def _takeovers(report: RunReport) -> tuple[Table, ...]:
    columns = (Column("at", whole=True), Column("epoch", right=True), Column("conductor"))
    rows = tuple(cells(clock(taken.at), str(taken.epoch), taken.owner) for taken in report.takeovers)
    return (Table(columns, rows),) if rows else ()


def _steps(stages: Iterable[StageReport]) -> Iterable[Table]:
    columns = (
        Column("step", whole=True),
        Column("state", whole=True),
        Column("took", right=True, whole=True),
        Column("estimate", right=True, whole=True),
        Column("tries", right=True),
        Column("evidence"),
    )
    rows = tuple(_step(step) for stage in stages for step in stage.steps)
    if rows:
        yield Table(columns, rows)


def _step(step: StepReport) -> tuple[Text, ...]:
    return cells(
        step.id,
        Text(step.state, TONES[step.state]),
        "" if step.took is None else seconds(step.took),
        Text(seconds(step.estimate), Tone.QUIET),
        str(len(step.attempts)) if step.attempts else "",
        step.evidence,
    )


def _sources(sources: Iterable[Source]) -> tuple[Table, ...]:
    columns = (
        Column("ledger"),
        Column("site"),
        Column("from", whole=True),
        Column("lasted", whole=True),
        Column(""),
    )
    rows = tuple(_source(source) for source in sources)
    return (Table(columns, rows),) if rows else ()


def _source(source: Source) -> tuple[Text, ...]:
    if source.error:
        return cells(source.file, "", "", "", Text(source.error, Tone.DOUBT))
    notes = [f"{source.rate:g} requests/s"]
    notes += [] if source.ended else ["has not ended, or was killed"]
    notes += [count(source.torn, "unreadable line")] if source.torn else []
    return cells(
        source.file, source.url, clock(source.start), seconds(source.end - source.start), "; ".join(notes)
    )
