"""`rehearse`: every fault at every step of a plan, before the window."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from changeover.cli.command import Settings, command
from changeover.cli.exits import Exit
from changeover.cli.output import Output
from changeover.cli.plans import read_plan, save
from changeover.conductor import Conductor
from changeover.model.words import count
from changeover.report.document import Document
from changeover.report.formats import Format, written

app = typer.Typer(rich_help_panel="Before the run")

MOST_PAIRS = 100_000
"""More of them would be days of work, and are a slip of the finger."""

SAYS_EVERY = 5.0
"""Seconds between two lines of progress where no terminal is."""


@command(app, "changeover rehearse plan.json --pairs 200 --format html -o rehearsal.html")
async def rehearse(
    settings: Settings,
    *,
    plan: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PLAN]",
            help="A saved plan: nothing else is needed. If not given, one is made from the live site.",
        ),
    ] = None,
    pairs: Annotated[
        int, typer.Option(min=0, max=MOST_PAIRS, help="How many pairs of faults are rehearsed besides.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Which pairs: the same seed, the same pairs.")] = 1,
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="CASE", help="Only this case, and all that happens in it: app2/start:host-dies:abort"
        ),
    ] = None,
    lab: Annotated[
        bool,
        typer.Option("--lab", help="On the real hosts of a lab instead: some of the cases, on its own plan."),
    ] = False,
    cases: Annotated[
        list[str] | None,
        typer.Option("--cases", metavar="PATTERN", help="With --lab: these cases, such as '*:host-dies:*'."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="With --lab: every case that it can bring about.")
    ] = False,
    as_: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TERMINAL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; standard output if not given.")
    ] = None,
) -> Exit:
    """Rehearse a plan on a simulated site: every fault at every step, every answer to it, and where each ends.

    Nothing is done to the site. It ends with 9 if anything is not as it should be.
    """
    from changeover.report import rehearsal as told  # it is not for every command to load

    if sum(map(bool, (replay, cases, every))) > 1:
        raise typer.BadParameter("--replay, --cases and --all exclude one another")
    if lab:
        return await _on_lab(settings, plan, [replay] if replay else cases or [], as_, output, every=every)
    if cases or every:
        raise typer.BadParameter("--cases and --all are of --lab")
    chosen = read_plan(plan) if plan else await settings.conductor.plan()
    if replay:
        again = await Conductor.replay(chosen, replay)
        _say(settings, again, lambda: told.replay_document(again), as_, output)
        return Exit.FINDINGS if again.findings else Exit.DONE
    made = await Conductor.rehearse(chosen, pairs=pairs, seed=seed, progress=_Progress(settings.output))
    _say(settings, made, lambda: told.rehearsal_document(made), as_, output)
    return Exit.FINDINGS if made.findings else Exit.DONE


async def _on_lab(
    settings: Settings,
    plan: Path | None,
    patterns: Sequence[str],
    as_: Format,
    output: Path | None,
    *,
    every: bool,
) -> Exit:
    from changeover.labrehearsal.interrupting import Interrupted
    from changeover.labrehearsal.rehearsing import on_hosts
    from changeover.labrehearsal.telling import document

    if plan:
        raise typer.BadParameter("a lab has a plan of its own")
    try:
        made = await on_hosts(patterns, settings.output.note, everything=every)
    except Interrupted:
        raise typer.Abort from None
    _say(settings, made, lambda: document(made), as_, output)
    return Exit.FINDINGS if made.findings else Exit.DONE


def _say(
    settings: Settings, value: object, document: Callable[[], Document], as_: Format, output: Path | None
) -> None:
    form = Format.JSON if settings.json else as_
    if output:
        save(output, written(value, document, form).encode())
        settings.output.note(f"saved as {output}")
    elif form is Format.TERMINAL or settings.json:
        settings.output.answer(value, document)
    else:
        settings.output.raw(written(value, document, form).encode())


class _Progress:
    """Says how far it has come: in a line that is written again and again, or a line now and then."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said = time.monotonic()

    def __call__(self, done: int, total: int, cases: int, findings: int) -> None:
        """It has come so far."""
        text = f"{100 * done // total} %: {count(cases, 'case')}, {count(findings, 'finding')}"
        stream = self._output.err
        if stream.isatty():
            stream.write(f"\r\x1b[K{text}" if done < total else "\r\x1b[K")
            stream.flush()
        elif time.monotonic() - self._said >= SAYS_EVERY:
            self._said = time.monotonic()
            self._output.note(text)
