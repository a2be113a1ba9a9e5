"""`changeover probe URL`, `changeover probe verify LEDGER`, `changeover probe show LEDGER`.

Exit codes: 0 measured (with --check: and nothing was lost), 1 with --check something was lost, 2 bad input,
3 the measurement failed, 130 told twice to stop.
"""

import asyncio
import resource
import secrets as randomness
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from typer.core import TyperGroup

from changeover.errors import ChangeoverError, SpecError
from changeover.probe.arguments import duration, moment
from changeover.probe.foreground import foreground
from changeover.probe.ledger import Ledger, Writer, read
from changeover.probe.loading import load as load_profile
from changeover.probe.loading import shipped
from changeover.probe.printing import summary_text
from changeover.probe.profile import Profile
from changeover.probe.records import Header
from changeover.probe.running import Probe
from changeover.probe.schedule import Load, SteadyClock
from changeover.probe.site import site
from changeover.probe.variables import secrets
from changeover.probe.verification import PATIENCE, verify_again

LOST, BAD_INPUT, FAILED, INTERRUPTED = 1, 2, 3, 130
_WRITE_SHARE = 0.1


class _UrlFirst(TyperGroup):
    """`probe URL` is `probe run URL`: what is no subcommand begins the arguments of `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, "--help"}
        return super().parse_args(ctx, args if not args or args[0] in known else ["run", *args])


app = typer.Typer(
    cls=_UrlFirst,
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
    script = load_profile(profile) if profile else Profile()
    if writes and not script.write:
        raise SpecError(
            "--writes: only a profile can say what a write is", hint=f"shipped: {', '.join(shipped())}"
        )
    load = Load(
        rate=rate,
        write_rate=writes if writes is not None else rate * _WRITE_SHARE if script.write else 0.0,
        sessions=sessions,
        session_length=session_length,
        seconds=duration(for_) if for_ is not None else None,
        timeout=duration(timeout),
    )
    if problems := load.problems():
        raise SpecError("\n".join(problems))
    _allow_connections(load.descriptors)
    target, values = site(url, script, load.timeout), secrets(script)
    clock, name = SteadyClock(), randomness.token_hex(4)
    path = ledger or Path(f"probe-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}.jsonl")
    with Writer(path, _header(name, url, clock.now(), load, script)) as writer:
        typer.echo(f"ledger {path}", err=True)

        async def measure() -> None:
            probe = Probe(target, script, load, secrets=values, writer=writer, clock=clock, run=name)
            await foreground(probe, clock)

        _finishing(measure())
    _show(read(path), as_json=as_json, check=check)


@app.command("verify")
def verify(path: LedgerFile, *, as_json: AsJson = False, check: Check = False) -> None:
    """Look again for the writes in a ledger, and note there what came of it."""
    _finishing(verify_again(path, SteadyClock(), PATIENCE))
    _show(read(path), as_json=as_json, check=check)


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
    _show(read(path), start, end, as_json=as_json, check=check)


def _header(name: str, url: str, begin: float, load: Load, script: Profile) -> Header:
    return Header(
        run=name,
        url=url,
        begin=begin,
        rate=load.rate,
        write_rate=load.write_rate,
        sessions=load.sessions,
        timeout=load.timeout,
        profile=script.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    )


def _allow_connections(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise SpecError(
            f"--rate, --timeout and --sessions could need {wanted} connections; this process may have {hard}",
            hint="lower one of them, or raise the limit (ulimit -n)",
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _finishing(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise typer.Exit(INTERRUPTED) from None


def _show(
    ledger: Ledger, start: float | None = None, end: float | None = None, *, as_json: bool, check: bool
) -> None:
    summary = ledger.summary(start, end)
    typer.echo(msgspec.json.encode(summary).decode() if as_json else summary_text(summary))
    if check and summary.losses:
        raise typer.Exit(LOST)


def main() -> None:
    """The probe as a program of its own; never ends in a traceback for anything an operator can cause."""
    try:
        app(prog_name="python -m changeover.probe")
    except ChangeoverError as error:
        hint = f"\n{error.hint}" if error.hint else ""
        sys.exit(_said(f"{error.message}{hint}", BAD_INPUT if isinstance(error, SpecError) else FAILED))


def _said(text: str, code: int) -> int:
    typer.echo(text, err=True)
    return code
