"""`status`, `watch`, `log`, `runs`, `report`: the commands that only read."""

import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import typer

from changeover.cli.command import Settings, command
from changeover.cli.exits import Exit, of_run
from changeover.cli.live import showing
from changeover.cli.plans import save
from changeover.conductor import Attached, Conductor
from changeover.engine.commands import nearest_step
from changeover.engine.events import Event, StepChanged
from changeover.engine.fold import RunStatus
from changeover.engine.journal import RunRecord
from changeover.errors import RefusedError
from changeover.model.plan import Plan, Step
from changeover.report import ledgers
from changeover.report.estimate import estimate
from changeover.report.formats import Format, rendered
from changeover.report.happened import line
from changeover.report.progress import farewell, progress, status_summary
from changeover.report.run import RunReport, only_finalize_left, run_report
from changeover.report.runs import runs_document
from changeover.report.told import run_document

app = typer.Typer(rich_help_panel="Looking")

RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Which run; the latest if not given.")]


@command(app, "changeover status --json")
async def status(settings: Settings, run: RunName = None) -> None:
    """Say where a run stands: its stages, the steps at hand, what it waits for, what to do next."""
    journal = settings.attached.journal
    name = await _chosen(settings.attached, run)
    at, notes = await journal.status(name), await journal.notes(name)
    record = await journal.run(name)
    stored = [f"{command.verb} {command.step}".strip() for command in await journal.pending_commands(name)]
    settings.output.answer(
        {
            **status_summary(at, notes, conducted=record.conducted),
            "conducted": record.conducted,
            "owner": str(record.owner),
            "stored": stored,
        },
        lambda: progress(
            at,
            estimate(at.plan),
            _until(record),
            conductor=_conductor(record, stored),
            conducted=record.conducted,
            notes=notes,
        ),
    )


@command(app, "changeover watch")
async def watch(settings: Settings, run: RunName = None) -> Exit:
    """Follow a run until it ends or only finalize is left, without conducting it.

    Ctrl-C ends the watching alone.
    """
    journal = settings.attached.journal
    name = await _chosen(settings.attached, run)
    so_far = (await journal.status(name)).seq
    async with showing(RunStatus(name, await journal.plan(name)), settings.output, journal.notes) as display:
        async for event in journal.follow(name):
            display.see(event)
            if event.seq >= so_far and only_finalize_left(display.status) and display.at_rest:
                break
    if not settings.json:
        settings.output.answer(None, lambda: farewell(display.status))
    return of_run(display.status.state, finalize_left=only_finalize_left(display.status))


@command(app, "changeover log --step app1/start")
async def log(
    settings: Settings,
    run: RunName = None,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on until the run ends.")] = False,
    step: Annotated[str, typer.Option(help="Only this step, or all of a node: app1/start, app1.")] = "",
) -> None:
    """Print what happened in a run, an event in a line."""
    name = await _chosen(settings.attached, run)
    plan = await settings.attached.journal.plan(name)
    if step and not any(it.id == step or it.id.startswith(f"{step}/") for it in _every_step(plan)):
        nearest_step(step, plan.steps())
    async for event in _events(settings.attached, name, follow=follow):
        if step and not _is_about(event, step):
            continue
        if settings.json:
            settings.output.item(event)
        else:
            settings.output.line(line(event))


@command(app, "changeover runs")
async def runs(settings: Settings) -> None:
    """List the runs in the journal, the latest first."""
    records = await settings.attached.runs()
    settings.output.answer(
        [{**dataclasses.asdict(record), "owner": str(record.owner)} for record in records],
        lambda: runs_document(records),
    )


@command(app, "changeover report --format html -o report.html")
async def report(
    settings: Settings,
    run: RunName = None,
    as_: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TERMINAL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; standard output if not given.")
    ] = None,
    ledger: Annotated[
        list[Path] | None,
        typer.Option(
            help="A ledger of the probe; again for several. "
            "If not given: those in `probes/` beside the journal that overlap the run in time."
        ),
    ] = None,
) -> None:
    """Report a run: what it cost against what was promised, what happened, by whom, and how long it took."""
    name = await _chosen(settings.attached, run)
    made = await _report(settings, name, ledger or [])
    if settings.json:
        as_ = Format.JSON
    if output:
        save(output, rendered(made, as_).encode())
        settings.output.note(f"saved as {output}")
    elif as_ is Format.TERMINAL:
        settings.output.answer(made, lambda: run_document(made))
    else:
        settings.output.raw(rendered(made, as_).encode())


async def _report(settings: Settings, run: str, named: list[Path]) -> RunReport:
    journal = settings.attached.journal
    events = await journal.events(run)
    plan = await journal.plan(run)
    now = time.time()
    found = (
        ledgers.named(named)
        if named
        else ledgers.overlapping(settings.probes, events[0].at, max(now, events[-1].at))
    )
    return run_report(
        run, plan, events, now=now, ledgers=found[0], sources=found[1], by_hand=Conductor.by_hand
    )


def _until(record: RunRecord) -> float:
    return record.ended_at or time.time()


def _conductor(record: RunRecord, stored: list[str]) -> str:
    if record.ended_at:
        return ""
    if record.conducted:
        return f"conducted by {record.owner}"
    waiting = f"; stored for the next one: {', '.join(stored)}" if stored else ""
    return f"no conductor has it now, the last was {record.owner}{waiting}; `changeover resume` takes it over"


async def _chosen(attached: Attached, run: str | None) -> str:
    if run:
        return run
    records = await attached.runs()
    if not records:
        store = attached.journal.store
        looked = f"there is no journal at {store}" if store.absent else f"none of the site is in {store}"
        raise RefusedError(
            f"there is no run yet: {looked}",
            hint="`changeover run` begins one; --journal names another place",
        )
    return records[0].run


async def _events(attached: Attached, run: str, *, follow: bool) -> AsyncIterator[Event]:
    if follow:
        async for event in attached.journal.follow(run):
            yield event
    else:
        for event in await attached.journal.events(run):
            yield event


def _every_step(plan: Plan) -> Iterator[Step]:
    """Those of the plan, and those of the ways back."""
    for step in plan.steps():
        yield step
        yield from step.undo


def _is_about(event: Event, step: str) -> bool:
    about = event.step if isinstance(event, StepChanged) else getattr(event, "step", "")
    return about == step or about.startswith(f"{step}/")
