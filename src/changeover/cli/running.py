"""`run`, `resume`, `finalize`: the commands that conduct."""

from pathlib import Path
from typing import Annotated

import typer

from changeover.cli.command import Settings, actor, command
from changeover.cli.conducting import conduct
from changeover.cli.exits import Exit
from changeover.cli.plans import read_plan
from changeover.conductor import OnStop
from changeover.engine.events import Verb
from changeover.engine.fold import RunStatus
from changeover.errors import RefusedError, SpecError
from changeover.model.plan import Plan
from changeover.model.states import RunState, StepState
from changeover.report.document import Text
from changeover.report.plan import plan_document

app = typer.Typer(rich_help_panel="The run")

Reason = Annotated[str, typer.Option(help="Why; it is kept in the journal, and shown to whoever asks.")]
Stopping = Annotated[
    OnStop | None,
    typer.Option(
        "--on-stop",
        help="When only a person can move the run on: wait for a command, or return. "
        "If not given, it waits on a terminal.",
    ),
]
RunName = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Which run; the one under way if not given.")
]


@command(app, "changeover run plan.json --reason CHG-1234")
async def run(
    settings: Settings,
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN]", help="A saved plan: exactly that is run, or refused.")
    ] = None,
    reason: Reason = "",
    on_stop: Stopping = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run a fresh plan without asking.")] = False,
) -> Exit:
    """Execute a plan: a saved one, or a fresh one that you are shown and asked about.

    Ctrl-C lets what is in flight finish and leaves the run paused; a second one leaves at once.
    """
    conductor = settings.conductor
    # Before the site is looked at: what a run under way has made of it is no mistake of the operator's.
    await conductor.journal.refuse_second(conductor.spec.site.name)
    chosen = read_plan(plan) if plan else await conductor.plan()
    if not plan:
        _confirm(settings, chosen, yes=yes)
    return await conduct(
        settings,
        conductor,
        RunStatus("", chosen),
        lambda observer, stop: conductor.run(
            chosen,
            actor=actor(),
            reason=reason,
            on_stop=stop,
            observer=observer,
            just_planned=yes and not plan,
        ),
        on_stop,
    )


@command(app, "changeover resume")
async def resume(settings: Settings, run: RunName = None, on_stop: Stopping = None) -> Exit:
    """Go on with a run that was paused, or whose conductor has gone.

    What was in flight is in doubt: it is looked at before anything else.
    """
    return await _resume(settings, await settings.steered(run), on_stop)


@command(app, "changeover finalize --reason 'a week without a complaint'")
async def finalize(
    settings: Settings,
    run: RunName = None,
    reason: Reason = "",
    accept_skipped: Annotated[
        bool, typer.Option("--accept-skipped", help="Finalize although steps were skipped; give a reason.")
    ] = False,
    on_stop: Stopping = None,
) -> Exit:
    """Give up the way back: approve the finalize gate, and do what is behind it."""
    attached = settings.attached
    run = await settings.steered(run)
    status = await attached.journal.status(run)
    finalizing = [
        step for stage in status.plan.stages if stage.finalize for step in stage.steps if step.person
    ]
    gates = [step.id for step in finalizing if status.steps[step.id].state is StepState.WAITING]
    if not gates:
        raise RefusedError(
            f"no finalize gate of run {run} waits for approval", hint=f"`changeover status {run}`"
        )
    for gate in gates:
        sent = await attached.send(
            Verb.APPROVE, actor=actor(), step=gate, reason=reason, run=run, accept_skipped=accept_skipped
        )
        if sent.outcome == "refused":
            raise RefusedError(sent.answer)
    if (await attached.journal.run(run)).conducted:
        settings.output.answer(
            {"run": run, "approved": gates},
            lambda: Text("approved; `changeover watch` shows what comes of it"),
        )
        return Exit.DONE
    ended = await _resume(settings, run, on_stop)
    after = await attached.journal.status(run)
    if ended is Exit.DONE and any(after.steps[gate].state is StepState.WAITING for gate in gates):
        return Exit.STOPPED  # the approval was refused, or other commands came before it
    return ended


async def _resume(settings: Settings, run: str, on_stop: OnStop | None) -> Exit:
    attached = settings.attached
    status = await attached.journal.status(run)
    stored = await attached.journal.pending_commands(run)
    if status.state is RunState.PAUSED and not (await attached.journal.run(run)).conducted:
        await attached.send(Verb.CONTINUE, actor=actor(), reason="resumed", run=run)
    return await conduct(
        settings,
        attached,
        status,
        lambda observer, stop: attached.resume(run, on_stop=stop, observer=observer),
        on_stop,
        stored=stored,
    )


def _confirm(settings: Settings, plan: Plan, *, yes: bool) -> None:
    """Show a fresh plan, and ask; `SpecError` where nobody can be asked."""
    output = settings.output
    if not yes and (output.json or not output.interactive):
        raise SpecError(
            "a fresh plan is run only after somebody has read it",
            hint="save it with `changeover plan -o plan.json` and run that, or give --yes",
        )
    if not output.json:
        output.answer(None, lambda: plan_document(plan, steps=not yes))
    if not yes and not typer.confirm("\nRun this plan?", err=True):
        raise RefusedError("not confirmed; nothing was changed")
