"""`pause`, `continue`, `retry`, `skip`, `approve`, `refuse`, `abort`, `forget`: what a person tells a run."""

from typing import Annotated

import typer

from changeover.cli.command import Settings, actor, command
from changeover.cli.exits import Exit
from changeover.engine.events import Verb
from changeover.errors import RefusedError
from changeover.report.document import Text, Tone

app = typer.Typer(rich_help_panel="While it runs")

_NOTES = {
    "": "no run holds the site, so no journal has it",
    "stored": "the next conductor of the run notes it in the journal",
    "taken": "it is in the journal of the run",
    "refused": "the run has ended meanwhile, so its journal does not have it",
}

StepId = Annotated[str, typer.Argument(metavar="STEP", help="The step, as `changeover plan` names it.")]
RunName = Annotated[str | None, typer.Option("--run", help="Which run; the one under way if not given.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the journal.")]
NeededReason = Annotated[str, typer.Option(help="Why; it is kept in the journal, and in the report.")]
AcceptSkipped = Annotated[
    bool, typer.Option("--accept-skipped", help="Open a finalize gate although steps were skipped.")
]

As = Annotated[
    str,
    typer.Option(
        "--as", metavar="NAME", help="Who gives the answer, if not you; your login is recorded beside it."
    ),
]


@command(app, "changeover pause --reason 'phone call'")
async def pause(settings: Settings, run: RunName = None, reason: Reason = "") -> Exit:
    """Launch nothing more; what is in flight finishes."""
    return await _tell(settings, Verb.PAUSE, run=run, reason=reason)


@command(app, "changeover continue", name="continue")
async def continue_(settings: Settings, run: RunName = None, reason: Reason = "") -> Exit:
    """Go on with a run that was paused or stopped, while its conductor is there."""
    return await _tell(settings, Verb.CONTINUE, run=run, reason=reason)


@command(app, "changeover retry app1/start")
async def retry(
    settings: Settings,
    step: StepId,
    run: RunName = None,
    reason: Reason = "",
    answer: Annotated[
        str,
        typer.Option(
            "--with", metavar="ANSWER", help="One of the answers that the step offers, with a reason."
        ),
    ] = "",
) -> Exit:
    """Do a step again that has failed or was skipped."""
    return await _tell(settings, Verb.RETRY, step, run=run, reason=reason, answer=answer)


@command(app, "changeover skip app1/health --reason 'looked at by hand'")
async def skip(
    settings: Settings,
    step: StepId,
    reason: NeededReason,
    run: RunName = None,
    accept_skipped: AcceptSkipped = False,
) -> Exit:
    """Go on as if the step were done. It is in the report, and holds the finalize gate until it is addressed."""
    return await _tell(settings, Verb.SKIP, step, run=run, reason=reason, accept_skipped=accept_skipped)


@command(app, "changeover approve after-canary/approve")
async def approve(  # noqa: PLR0917 - typer gives them by name
    settings: Settings,
    step: StepId,
    run: RunName = None,
    reason: Reason = "",
    accept_skipped: AcceptSkipped = False,
    signed: As = "",
) -> Exit:
    """Open a gate that waits for a person, or say that what it asks a person to do is done."""
    return await _tell(
        settings, Verb.APPROVE, step, run=run, reason=reason, accept_skipped=accept_skipped, signed=signed
    )


@command(app, "changeover refuse after-canary/approve --reason 'error rate is up'")
async def refuse(
    settings: Settings, step: StepId, reason: NeededReason, run: RunName = None, signed: As = ""
) -> Exit:
    """Keep a gate shut: the run stops there."""
    return await _tell(settings, Verb.REFUSE, step, run=run, reason=reason, signed=signed)


@command(app, "changeover abort --reason 'error rate is up'")
async def abort(
    settings: Settings,
    reason: NeededReason,
    run: RunName = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="End it where it is instead; the site is free for another run.")
    ] = False,
) -> Exit:
    """Go back to where the run began; what is in flight finishes first. `plan --fallback` shows the way."""
    return await _tell(settings, Verb.LEAVE if stay else Verb.ABORT, run=run, reason=reason)


@command(app, "changeover forget main 002_words --reason 'dropped the half of it by hand'")
async def forget(
    settings: Settings,
    database: Annotated[str, typer.Argument(metavar="DATABASE", help="The database, as the site names it.")],
    migration: Annotated[
        str, typer.Argument(metavar="MIGRATION", help="The unfinished entry, as `changeover check` names it.")
    ],
    reason: NeededReason,
) -> Exit:
    """Strike a torn migration from the ledger, after you have set right by hand what it left in the database.

    Refused while a run is conducted on the site, unless that has stopped. Nothing but the ledger is changed.
    """
    note = await settings.conductor.forget(database, migration, actor=actor(), reason=reason)
    struck = f"struck {migration} from the ledger of {database}"
    outcome = note.outcome or "stored" if note else ""
    settings.output.answer(
        {"database": database, "migration": migration, "outcome": outcome},
        lambda: Text(f"{struck}; {_NOTES[outcome]}", Tone.GOOD),
    )
    return Exit.DONE


async def _tell(
    settings: Settings,
    verb: Verb,
    step: str = "",
    *,
    run: str | None,
    reason: str,
    accept_skipped: bool = False,
    answer: str = "",
    signed: str = "",
) -> Exit:
    """Send the command, and say what came of it: obeyed, refused, or kept for the next conductor."""
    run = await settings.steered(run)
    sent = await settings.attached.send(
        verb,
        actor=actor(),
        step=step,
        reason=reason,
        run=run,
        accept_skipped=accept_skipped,
        answer=answer,
        signed=signed,
    )
    if sent.outcome == "refused":
        raise RefusedError(sent.answer)
    said = {"command": verb, "step": step, "outcome": sent.outcome or "stored", "answer": sent.answer}
    settings.output.answer(
        said,
        lambda: (
            Text(sent.answer, Tone.GOOD)
            if sent.outcome
            else Text(
                "stored: no conductor has the run now; `changeover resume` will carry it out", Tone.DOUBT
            )
        ),
    )
    return Exit.DONE
