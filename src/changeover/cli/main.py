"""The program `changeover`: its commands by subject, and what it says when something goes wrong."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import changeover
from changeover.cli import commanding, reading, rehearsing, running, writing
from changeover.cli.failures import explain
from changeover.cli.output import Output, prepare_streams, reader_gone
from changeover.lab.cli import app as lab
from changeover.probe.cli import app as probe


def _app() -> typer.Typer:
    app = typer.Typer(
        name="changeover",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Conduct the upgrade of a cluster: plan it, run it, resume it, and see what it cost.",
        epilog="Example: changeover init && changeover check && changeover plan -o plan.json "
        "&& changeover run plan.json",
    )
    app.callback()(_root)
    for subject in (writing, rehearsing, running, commanding, reading):
        app.add_typer(subject.app)
    app.add_typer(probe, name="probe", rich_help_panel="Beside it")
    app.add_typer(lab, name="lab", rich_help_panel="Beside it")
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"changeover {changeover.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app = _app()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code; nothing an operator does ends in a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    prepare_streams()
    sys.exit(_run(given))


def _run(given: list[str]) -> int:
    try:
        code = app(given, prog_name="changeover", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return reader_gone()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- the last place before the operator
        debug = "--debug" in given or bool(os.environ.get("CHANGEOVER_DEBUG"))
        return explain(error, Output(json="--json" in given), debug=debug)
    return code if isinstance(code, int) else 0
