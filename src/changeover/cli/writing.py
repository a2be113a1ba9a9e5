"""`init`, `schema`, `check`, `plan`: the commands before a run."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from changeover.cli.command import Settings, command
from changeover.cli.exits import Exit
from changeover.cli.plans import read_plan, save, save_plan
from changeover.conductor import Conductor
from changeover.errors import RefusedError, SpecError
from changeover.model import diff as plans
from changeover.model.plan import Plan
from changeover.report import fallback as back
from changeover.report.changes import check_document, diff_document
from changeover.report.document import Text
from changeover.report.formats import Format, written
from changeover.report.plan import outline, plan_document
from changeover.report.runbook import runbook as runbook_of
from changeover.report.runbook import runbook_document
from changeover.report.strategies import fittings, strategies_document
from changeover.spec import reference, starter
from changeover.spec import schema as json_schema

app = typer.Typer(rich_help_panel="Before the run")


@command(app, "changeover init --file changeover.yaml")
async def init(
    settings: Settings,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    whole: Annotated[
        bool, typer.Option("--reference", help="Write every key there is, each explained, to leave out from.")
    ] = False,
) -> None:
    """Write a site's file to start from: what most sites need, or with --reference all there is."""
    path = settings.file
    if path.exists() and not force:
        raise RefusedError(f"{path} exists already", hint="give another --file, or --force to overwrite it")
    save(path, (reference() if whole else starter()).encode())
    settings.output.answer(
        {"file": str(path)}, lambda: Text(f"wrote {path}; fill it in, then `changeover check`")
    )


@command(app, "changeover schema > changeover.schema.json")
async def schema(settings: Settings) -> None:
    """Print the JSON Schema of the site's file, for editors."""
    settings.output.raw(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2))


@command(app, "changeover check --json")
async def check(
    settings: Settings,
    notify: Annotated[
        bool, typer.Option("--notify", help="Send everybody under `notify` a trial message, too.")
    ] = False,
) -> Exit:
    """Look at the live site: a verdict with evidence on everything that the upgrade relies on."""
    conductor = settings.conductor
    verdicts = await conductor.check(notify=notify)
    good = all(verdict.good for verdict in verdicts)
    settings.output.answer(
        {"site": conductor.spec.site.name, "good": good, "verdicts": verdicts},
        lambda: check_document(conductor.spec.site.name, verdicts),
    )
    return Exit.DONE if good else Exit.REFUSED


@command(app, "changeover plan -o plan.json")
async def plan(
    settings: Settings,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Save the plan as JSON, to run exactly that later.")
    ] = None,
    diff: Annotated[
        str | None,
        typer.Option(metavar="FILE|RUN|last", help="Compare with a saved plan, or with the plan of a run."),
    ] = None,
    steps: Annotated[bool, typer.Option("--steps/--brief", help="Every step, or the stages alone.")] = True,
    fallback: Annotated[
        bool, typer.Option("--fallback", help="Show the way back instead: from each stage, and step by step.")
    ] = False,
    *,
    strategies: Annotated[
        bool,
        typer.Option(
            "--strategies", help="Show instead which strategies fit this file, and why others do not."
        ),
    ] = False,
) -> None:
    """Say what would be done, from the site's file and from what the live site shows now; changes nothing."""
    if diff and fallback:
        raise typer.BadParameter("--diff and --fallback exclude one another")
    conductor = settings.conductor
    if strategies:
        if diff or fallback or output:
            raise typer.BadParameter("--strategies makes no plan to save, compare or go back from")
        known = fittings(await conductor.plans(), conductor.spec.release.strategy)
        settings.output.answer(
            {"strategies": known}, lambda: strategies_document(conductor.spec.site.name, known)
        )
        return
    earlier = await _earlier(conductor, diff) if diff else None
    fresh = await conductor.plan()
    if output:
        save_plan(output, fresh)
        settings.output.note(f"saved as {output}; `changeover run {output}` runs exactly this plan")
    if earlier:
        _compare(settings, earlier, fresh)
    elif fallback:
        settings.output.answer(back.outline(fresh), lambda: back.fallback_document(fresh))
    else:
        settings.output.answer(outline(fresh), lambda: plan_document(fresh, steps=steps))


def _compare(settings: Settings, earlier: Plan, fresh: Plan) -> None:
    found = plans.diff(earlier, fresh)
    names = {"before": earlier.digest(), "after": fresh.digest()}
    settings.output.answer(
        {**names, "differences": found},
        lambda: diff_document(
            found, before=f"plan {names['before'][:12]}", after=f"plan {names['after'][:12]}"
        ),
    )


async def _earlier(conductor: Conductor, what: str) -> Plan:
    """The plan of a run, or the one in a file; `last` is the latest run of the site."""
    runs = [record.run for record in await conductor.runs()]
    if what == "last" and not runs:
        raise SpecError("--diff last: there is no run yet", hint="compare with a saved plan: --diff FILE")
    run = runs[0] if what == "last" else what
    return await conductor.journal.plan(run) if run in runs else read_plan(Path(what))


@command(app, "changeover runbook plan.json --format html -o runbook.html")
async def runbook(
    settings: Settings,
    saved: Annotated[
        Path | None,
        typer.Argument(metavar="[PLAN]", help="A saved plan; otherwise one is made of the live site."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TERMINAL,
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to this file.", show_default=False)
    ] = None,
) -> None:
    """Print the plan for people: times, owners, what is typed where, the way back, contacts, what is left to do."""
    plan = read_plan(saved) if saved else await settings.conductor.plan()

    book = runbook_of(plan, lambda step: Conductor.by_hand(step, plan))
    if target is None and form is Format.TERMINAL:
        settings.output.answer(book, lambda: runbook_document(plan, book))
        return
    text = written(book, lambda: runbook_document(plan, book), form)
    if target is None:
        settings.output.raw(text.encode())
        return
    save(target, text.encode())
    settings.output.answer({"file": str(target)}, lambda: Text(f"wrote {target}"))
