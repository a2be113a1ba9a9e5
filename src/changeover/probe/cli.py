"""`changeover probe URL`, `changeover probe verify LEDGER`, `changeover probe show LEDGER`.

What needs an HTTP client is imported when a command needs it: importing it takes a quarter of a second.
"""

import asyncio
from collections.abc import Coroutine
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from typer.core import TyperGroup

from changeover.errors import ChangeoverError, PortError, SpecError
from changeover.probe.arguments import duration, moment
from changeover.probe.ledger import read
from changeover.probe.printing import summary_text
from changeover.probe.schedule import Load, SteadyClock

T = TypeVar("T")


class Exit(IntEnum):
    """How a command of the probe ends; the numbers mean what they mean in all of Changeover."""

    MEASURED = 0
    LOST = 1  # with --check: something was lost, or could not be verified; without: the ledger failed
    BAD_INPUT = 2
    UNREACHABLE = 8
    INTERRUPTED = 130


class _Commands(TyperGroup):
    """`probe URL` is `probe run URL`: what is no subcommand begins the arguments of `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, "--help"}
        return super().parse_args(ctx, args if not args or args[0] in known else ["run", *args])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ChangeoverError as error:
            typer.echo("\n".join(filter(None, [error.message, error.hint])), err=True)
            raise typer.Exit(_code(error)) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    help="Measure what a site's users lose: constant-rate clients with sessions and writes, and their ledger.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if anything was lost.")]
LedgerFile = Annotated[Path, typer.Argument(metavar="LEDGER")]


@app.command("run")
def run(
    url: Annotated[str, typer.Argument(help="The site; a profile's paths are added to it.")],
    *,
    rate: Annotated[float, typer.Option(help="Requests a second, writes included.")] = 200,
    sessions: Annotated[int, typer.Option(help="Visitors at once.")] = 40,
    session_length: Annotated[
        int, typer.Option(help="Requests of a session, login and logout included.")
    ] = 20,
    writes: Annotated[
        float | None, typer.Option(help="Writes a second; a tenth of the rate if not given.")
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long, such as 60s; until stopped if not given.")
    ] = None,
    timeout: Annotated[str, typer.Option(help="How long to wait for an answer.")] = "5s",
    profile: Annotated[str, typer.Option(help="What to send: a file, or a shipped profile's name.")] = "",
    ledger: Annotated[
        Path | None, typer.Option(help="The ledger to write; probe-TIME-RUN.jsonl if not given.")
    ] = None,
    as_json: AsJson = False,
    check: Check = False,
) -> None:
    """Send at a constant rate, whatever the site does; Ctrl-C or SIGTERM ends it and looks for the writes."""
    from changeover.probe.measuring import measure

    load = Load(
        rate=rate,
        sessions=sessions,
        session_length=session_length,
        seconds=duration(for_) if for_ is not None else None,
        timeout=duration(timeout),
    )
    path = _finish(measure(url, load, writes, profile, ledger))
    _show(path, as_json=as_json, check=check)


@app.command("verify")
def verify(path: LedgerFile, *, as_json: AsJson = False, check: Check = False) -> None:
    """Look again for the writes in a ledger, and note there what came of it."""
    from changeover.probe.verification import PATIENCE, verify_again

    _finish(verify_again(path, SteadyClock(), PATIENCE))
    _show(path, as_json=as_json, check=check)


@app.command("show")
def show(
    path: LedgerFile,
    *,
    from_: Annotated[str | None, typer.Option("--from", help="Epoch seconds or ISO 8601, inclusive.")] = None,
    to: Annotated[str | None, typer.Option(help="Epoch seconds or ISO 8601, exclusive.")] = None,
    as_json: AsJson = False,
    check: Check = False,
) -> None:
    """Print the figures of a ledger, of a running probe too, or of a stretch of time in it."""
    start, end = (moment(text) if text is not None else None for text in (from_, to))
    _show(path, start, end, as_json=as_json, check=check)


def _code(error: ChangeoverError) -> Exit:
    match error:
        case SpecError():
            return Exit.BAD_INPUT
        case PortError():
            return Exit.UNREACHABLE
        case _:
            return Exit.LOST


def _finish(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise typer.Exit(Exit.INTERRUPTED) from None


def _show(
    path: Path, start: float | None = None, end: float | None = None, *, as_json: bool, check: bool
) -> None:
    summary = read(path).summary(start, end)
    typer.echo(msgspec.json.encode(summary).decode() if as_json else summary_text(summary))
    if check and summary.losses:
        raise typer.Exit(Exit.LOST)


def main() -> None:
    """The probe as a program of its own."""
    app(prog_name="python -m changeover.probe")
