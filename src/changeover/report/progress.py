"""Where a run stands at this moment, as a document that fits a terminal."""

from collections.abc import Iterator, Mapping

from changeover.engine.fold import RunStatus, StepStatus
from changeover.engine.journal import CommandRecord
from changeover.model.plan import Stage, Step
from changeover.model.states import SATISFIED, RunState, StepState
from changeover.model.values import Json
from changeover.model.words import count
from changeover.report.advice import advice, set_aside
from changeover.report.clock import clock_summary, clock_words, untold
from changeover.report.document import Column, Document, Section, Table, Text, Tone, cells
from changeover.report.estimate import ENTER, LEAVE, Estimate
from changeover.report.run import only_finalize_left
from changeover.report.told import TONES, outcome
from changeover.report.words import listed, seconds

MARKS = {
    StepState.PENDING: "·",
    StepState.RUNNING: "▸",
    StepState.WAITING: "?",
    StepState.IN_DOUBT: "!",
    StepState.DONE: "✓",
    StepState.FAILED: "✗",
    StepState.SKIPPED: "-",
}
Notes = Mapping[str, str]
"""Step → what it says of how far it has come."""

SAYING_NOTHING: Notes = {}

_AT_WORK = (StepState.RUNNING, StepState.WAITING, StepState.IN_DOUBT, StepState.FAILED)


def progress(
    status: RunStatus,
    times: Estimate,
    now: float,
    *,
    most: int = 12,
    conductor: str = "",
    conducted: bool = True,
    notes: Notes = SAYING_NOTHING,
) -> Document:
    """Every stage in a line, and the units of the stage at hand, at most `most` of them.

    `conductor` says who conducts it, where that is not the one who looks; `conducted`, whether anybody does. `notes` are what the steps in flight say of
    how far they have come.
    """
    stage = current(status)
    elapsed = seconds(max(0.0, now - status.created_at)) if status.created_at else "0 s"
    left = 0.0 if status.ended else remaining(status, times)
    pace = f"{elapsed} so far" + (f", about {seconds(left)} to go" if left else "")
    sections = [
        Section("", (Text(" · ".join((pace, *in_rotation(status)))), *clock_words(status, now))),
        Section("", (_stages(status, times, stage, now),)),
    ]
    if stage is not None:
        sections.append(
            Section(f"{stage.name}: {stage.title}", tuple(_units(status, stage, now, most, notes)))
        )
    sections += [Section("", notes) for notes in [tuple(_notes(status, conducted=conducted))] if notes]
    sections += [Section("", (Text(conductor, Tone.QUIET),))] if conductor else []
    alone = "" if conducted or status.ended else ", without a conductor"
    return Document(
        title=f"{status.plan.site.name}: {status.plan.release.from_version} → {status.plan.release.to_version}",
        subtitle=f"run {status.run} · {_state(status)}{alone}",
        sections=tuple(sections),
    )


def _state(status: RunStatus) -> str:
    skipped = status.counts[StepState.SKIPPED]
    return outcome(status.state, finalize_left=only_finalize_left(status), skipped=skipped)


def current(status: RunStatus) -> Stage | None:
    """The first stage that is not finished; None when all are."""
    return next((stage for stage in status.plan.stages if _finished(status, stage) < len(stage.steps)), None)


def remaining(status: RunStatus, times: Estimate) -> float:
    """Seconds of work that are left by the estimates: up to finalize, and within it once it is at hand."""
    unfinished = [stage for stage in status.plan.stages if _finished(status, stage) < len(stage.steps)]
    at_hand = [stage for stage in unfinished if not stage.finalize] or unfinished
    return sum(
        times.stages[stage.name].lasts * (1 - _finished(status, stage) / len(stage.steps))
        for stage in at_hand
    )


def in_rotation(status: RunStatus) -> Iterator[str]:
    """How many servers each balancer sends new sessions to, as far as the run itself has moved them."""
    out: set[str] = set()
    back = status.plan.steps() if status.falling_back else ()
    for step in (*status.first_plan.steps(), *back):
        state = status.steps[step.id].state
        if step.do.action == LEAVE and state not in (StepState.PENDING, StepState.SKIPPED):
            out.add(step.do.target)
        elif step.do.action == ENTER and state is StepState.DONE:
            out.discard(step.do.target)
    for balancer in status.plan.site.balancers:
        nodes = {node.name for node in status.plan.site.application.nodes if balancer.name in node.servers}
        yield f"{len(nodes - out)} of {len(nodes)} in rotation at {balancer.name}"


def _finished(status: RunStatus, stage: Stage) -> int:
    return sum(status.steps[step.id].state in SATISFIED for step in stage.steps)


def _stages(status: RunStatus, times: Estimate, at: Stage | None, now: float) -> Table:
    columns = (
        Column("", whole=True),
        Column("stage", whole=True),
        Column("steps", right=True, whole=True),
        Column("took", right=True, whole=True),
        Column("estimate", right=True, whole=True),
    )
    return Table(
        columns, tuple(_stage(status, stage, times, stage is at, now) for stage in status.plan.stages)
    )


def _stage(status: RunStatus, stage: Stage, times: Estimate, at_hand: bool, now: float) -> tuple[Text, ...]:
    finished = _finished(status, stage)
    whole = finished == len(stage.steps)
    done = sum(status.steps[step.id].state is StepState.DONE for step in stage.steps)
    rests = StepState.DONE if done == len(stage.steps) else StepState.SKIPPED if whole else StepState.PENDING
    state = _worst(status, stage) if at_hand else rests
    tone = TONES[state]
    begun = [at.since for step in stage.steps if (at := status.steps[step.id]).since]
    until = [at.last.at for step in stage.steps if (at := status.steps[step.id]).last]
    took = ""
    if begun and (whole or at_hand):
        took = seconds(max(0.0, (max(until) if whole else now) - min(begun)))
    return cells(
        Text(MARKS[state], tone),
        Text(stage.name, tone),
        f"{done}/{len(stage.steps)}",
        took,
        Text(seconds(times.stages[stage.name].lasts), Tone.QUIET),
    )


def _worst(status: RunStatus, stage: Stage) -> StepState:
    states = {status.steps[step.id].state for step in stage.steps}
    order = (StepState.FAILED, StepState.IN_DOUBT, StepState.RUNNING, StepState.WAITING)
    return next((state for state in order if state in states), StepState.PENDING)


def _units(status: RunStatus, stage: Stage, now: float, most: int, notes: Notes) -> Iterator[Table | Text]:
    units: dict[str, list[Step]] = {}
    for step in stage.steps:
        units.setdefault(step.unit or step.do.target, []).append(step)
    # Those at work first, so that what does not fit is what has nothing to say.
    order = sorted(
        units, key=lambda unit: not any(status.steps[step.id].state in _AT_WORK for step in units[unit])
    )
    rows = tuple(_unit(status, unit, units[unit], now, notes) for unit in order[:most])
    yield Table((Column("", whole=True), Column(""), Column("")), rows)
    if len(order) > most:
        yield Text(f"and {len(order) - most} more", Tone.QUIET)


def _unit(status: RunStatus, unit: str, steps: list[Step], now: float, notes: Notes) -> tuple[Text, ...]:
    verbs = "  ".join(
        f"{step.id.removeprefix(f'{unit}/')} {MARKS[status.steps[step.id].state]}" for step in steps
    )
    at_work = [step for step in steps if status.steps[step.id].state in _AT_WORK]
    if at_work:
        return cells(Text(unit, Tone.STRONG), verbs, _doing(status, at_work[0], now, notes))
    left = [step for step in steps if status.steps[step.id].state is StepState.PENDING]
    return cells(unit, verbs, Text(_waits(status, left[0]) if left else "", Tone.QUIET))


def _doing(status: RunStatus, step: Step, now: float, notes: Notes) -> Text:
    at = status.steps[step.id]
    verb = step.id.rpartition("/")[2]
    if at.state is StepState.WAITING:
        return Text("waits for approval", TONES[at.state])
    if at.state is not StepState.RUNNING:
        return Text(f"{verb} {at.state}", TONES[at.state])
    attempt = f", attempt {at.attempt}" if at.attempt > 1 else ""
    said = f": {notes[step.id]}" if step.id in notes else ""
    took = f"{seconds(max(0.0, now - at.started_at))} of about {seconds(step.estimate)}"
    return Text(f"{verb} {took}{attempt}{said}")


def _waits(status: RunStatus, step: Step) -> str:
    needs = [need for need in step.needs if status.steps[need].state not in SATISFIED]
    if needs:
        return f"waits for {listed(needs, 2)}"
    if status.state is not RunState.RUNNING:
        return ""
    return f"waits for room: {', '.join(step.limits)}" if step.limits else ""


def _notes(status: RunStatus, *, conducted: bool) -> Iterator[Text]:
    """What a person should read, and what to type then."""
    for id_ in status.steps_in(StepState.FAILED, StepState.IN_DOUBT):
        yield Text(f"{id_} {_why(status.steps[id_])}", Tone.BAD)
    for id_ in set_aside(status):
        yield Text(f"{id_} skipped: {status.steps[id_].evidence or 'its node was set aside'}", Tone.BAD)
    if status.state in (RunState.STOPPED, RunState.PAUSED, RunState.ABORTED) and status.reason:
        yield Text(f"{status.state}: {status.reason}", Tone.DOUBT)
    yield from (Text(words, Tone.DOUBT) for words in untold(status))
    yield from (Text(f"next: {words}", Tone.STRONG) for words in advice(status, conducted=conducted))


def _why(at: StepStatus) -> str:
    """What became of a step that failed: what was seen, or who said so."""
    last = at.last
    if last and last.actor and last.reason:
        return f"refused by {last.actor}: {last.reason}"
    return f"{at.state}: {at.evidence}" + (f" ({last.hint})" if last and last.hint else "")


def farewell(status: RunStatus) -> Document:
    """Where the run was left, and how to go on: the last words of whoever conducted it."""
    finished = sum(status.counts[state] for state in SATISFIED)
    steps = count(sum(status.counts.values()), "step") + (" of the way back" if status.falling_back else "")
    notes = list(_notes(status, conducted=False))
    if status.run:
        notes.append(Text(f"report: `changeover report {status.run}`"))
    state = _state(status)
    if status.in_flight:
        state = f"left with {count(status.in_flight, 'step')} in flight"
    return Document(
        title=f"{status.plan.site.name}: {state}",
        subtitle=f"run {status.run or '(not begun)'} · {finished} of {steps} finished",
        sections=(Section("", tuple(notes)),),
    )


def answered(record: CommandRecord) -> Text:
    """What came of a command that had waited for a conductor."""
    command = record.command
    what = f"{command.verb} {command.step}".strip()
    said, tone = {
        "taken": (record.answer, Tone.GOOD),
        "refused": (f"refused: {record.answer}", Tone.BAD),
        "": ("not taken yet, and still stored", Tone.DOUBT),
    }[record.outcome]
    return Text(f"{what} (stored by {command.actor}): {said}", tone)


def status_summary(
    status: RunStatus, notes: Notes = SAYING_NOTHING, *, conducted: bool = True
) -> dict[str, Json]:
    """Where the run stands, as JSON: every step with its state, and what to do next in words."""
    return {
        "run": status.run,
        "site": status.plan.site.name,
        "state": status.state,
        "finalize_left": only_finalize_left(status),
        "reason": status.reason,
        "steps": {
            name: {"state": step.state, "attempt": step.attempt, "evidence": step.evidence}
            | ({"progress": notes[name]} if name in notes and step.state is StepState.RUNNING else {})
            for name, step in status.steps.items()
        },
        "latest_safe_moment": clock_summary(status),
        "untold": list(untold(status)),
        "next": list(advice(status, conducted=conducted)),
    }
