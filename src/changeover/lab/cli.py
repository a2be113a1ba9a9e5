"""`changeover lab`: a cluster of small hosts on this machine."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

from changeover.lab import operations, ready
from changeover.lab.apps import APPLICATIONS, find_application
from changeover.lab.directory import names
from changeover.lab.errors import LabError
from changeover.lab.faults import Fault
from changeover.lab.forms import Choice, choose_form
from changeover.lab.image import ensure_image
from changeover.lab.layout import DatabaseKind, Form, Layout
from changeover.lab.programs import find_binaries, install

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="A cluster of small hosts on this machine, to try upgrades on.",
)

Name = Annotated[
    str, typer.Option("--name", envvar="CHANGEOVER_LAB", help="Which lab; several may be up at once.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, errors too.")]
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
Passed = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command()
def up(
    *,
    name: Name = "lab",
    app: Annotated[str, typer.Option(help=f"Which application: {', '.join(APPLICATIONS)}.")] = "notes",
    nodes: Annotated[int | None, typer.Option(help="How many nodes it has.")] = None,
    release: Annotated[str | None, typer.Option(help="Which release they run; the oldest.")] = None,
    database: Annotated[DatabaseKind | None, typer.Option(help="What they store in.")] = None,
    keep_balancer_state: Annotated[
        bool, typer.Option(help="Whether drain and maint outlive a reload of HAProxy.")
    ] = True,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Plain processes on the loopback; needs no root.")
    ] = False,
    startup_seconds: Annotated[float, typer.Option(help="How long a node takes to start.")] = 2.0,
    session_idle_seconds: Annotated[float, typer.Option(help="When an idle session of a node ends.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Bring a lab up; returns when every service answers. Up already: completes what is missing."""
    with _told(as_json=as_json):
        choice = Choice(Form.EMBEDDED, "asked for") if embedded else choose_form()
        _say(f"form: {choice.form} ({choice.reason})")
        application = find_application(app)
        layout = Layout(
            name,
            application.nodes if nodes is None else nodes,
            release or application.releases[0],
            database or application.databases[0],
            choice.form,
            keep_balancer_state,
            startup_seconds,
            session_idle_seconds,
            app,
        )
        operations.up(layout, _say)
        said = {
            "lab": name,
            "app": app,
            "form": choice.form,
            "nodes": layout.nodes,
            "release": layout.release,
        }
        text = f"lab {name} is up: {layout.nodes} node{'s' * (layout.nodes != 1)} of {layout.release}"
        _answer(text, said, as_json=as_json)


@app.command(name="install")
def install_(
    embedded: Annotated[bool, typer.Option("--embedded", help="For the embedded form.")] = False,
    app: Annotated[str, typer.Option(help="For which application.")] = "notes",
) -> None:
    """Install what the lab needs from Debian and fill the cache, so that `up` takes seconds."""
    with _told():
        form = Form.EMBEDDED if embedded else choose_form().form
        install(form, _say)
        if form is Form.HOSTS:
            _say(f"image: {ensure_image(_say, find_application(app).packages)}")
        else:
            binaries = find_binaries(_say)
            _say(f"programs: {binaries.haproxy}, {binaries.postgresql}")


@app.command()
def down(name: Name = "lab", as_json: AsJson = False) -> None:
    """Take a lab down: nothing of it stays running, mounted or on the disk."""
    with _told(as_json=as_json):
        # It takes seconds; half of it would leave more behind than none.
        _ignore_interrupts()
        was_up = operations.down(name)
        text = f"lab {name} is down" if was_up else f"lab {name} was not up"
        _answer(text, {"lab": name, "was_up": was_up}, as_json=as_json)


@app.command()
def status(name: Name = "lab", as_json: AsJson = False) -> None:
    """Ask every service of a lab; ends with 1 when one does not answer."""
    with _told(as_json=as_json):
        lab = operations.find(name)
        with lab.window() as window:
            verdicts = ready.look(lab.layout, window)
    if as_json:
        _print_json({v.host: {"ok": v.ok, "answer": v.answer} for v in verdicts})
    else:
        for verdict in verdicts:
            typer.echo(f"{verdict.host:8} {'ok ' if verdict.ok else 'BAD'} {verdict.answer}")
    raise typer.Exit(0 if all(verdict.ok for verdict in verdicts) else 1)


@app.command(name="list")
def list_labs(as_json: AsJson = False) -> None:
    """Name the labs there are."""
    found = list(names())
    if as_json:
        _print_json(found)
    else:
        typer.echo("".join(f"{name}\n" for name in found), nl=False)


@app.command()
def site(name: Name = "lab") -> None:
    """Describe a lab as JSON: hosts, addresses, keys, balancer, database, application."""
    with _told():
        _print_json(operations.find(name).site())


@app.command(context_settings=Passed)
def ssh(context: typer.Context, host: str, name: Name = "lab") -> None:
    """Open SSH to a host, or run a command there."""
    with _told():
        _become(operations.find(name).host_command(host, context.args), name)


@app.command(name="exec", context_settings=Passed)
def execute(context: typer.Context, name: Name = "lab") -> None:
    """Run a command of this machine in the lab's network; CHANGEOVER_LAB and CHANGEOVER_LAB_DIRECTORY say which lab."""
    with _told():
        _become(operations.find(name).enter_command(context.args), name)


@app.command(name="break")
def break_(host: str, fault: Fault, name: Name = "lab", as_json: AsJson = False) -> None:
    """Cut a host's power, freeze it, unplug it, or fill its disk."""
    with _told(as_json=as_json):
        operations.find(name).befall(host, fault)
        _answer(f"{host}: {fault}", {"lab": name, "host": host, "fault": fault}, as_json=as_json)


@app.command()
def mend(host: str, name: Name = "lab", as_json: AsJson = False) -> None:
    """Undo whatever befell a host; returns when its service answers."""
    with _told(as_json=as_json):
        operations.find(name).mend(host)
        _answer(f"{host} is well", {"lab": name, "host": host, "fault": None}, as_json=as_json)


@app.command()
def reset(name: Name = "lab", as_json: AsJson = False) -> None:
    """Put a lab back to its first state: release, faults, empty database, pool."""
    with _told(as_json=as_json):
        operations.find(name).reset()
        _answer(f"lab {name} is as new", {"lab": name}, as_json=as_json)


@contextmanager
def _told(*, as_json: bool = False) -> Iterator[None]:
    """Turn errors into a line for the operator; Ctrl-C and SIGTERM clean up, and cannot interrupt that."""
    for number in _INTERRUPTS:
        # Ignored by whoever started us: in the background of a script.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    except LabError as error:
        if as_json:
            typer.echo(
                json.dumps({"error": "LabError", "message": error.message, "hint": error.hint}), err=True
            )
            raise typer.Exit(1) from None
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; cleaned up", err=True)
        raise typer.Exit(130) from None


def _interrupt(*_: object) -> None:
    _ignore_interrupts()
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


def _become(command: list[str], name: str) -> NoReturn:
    """Let the command take the place of this process, terminal and signals included."""
    directory = operations.find(name).directory.path
    environment = {
        "CHANGEOVER_FILE": str(directory / "changeover.yaml"),
        **os.environ,
        "CHANGEOVER_LAB": name,
        "CHANGEOVER_LAB_DIRECTORY": str(directory),
    }
    # Python ignores it, and the command would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  # nothing here is text from outside
    except OSError as error:
        raise LabError(f"{command[0]}: {error.strerror}") from None


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _answer(text: str, value: Any, *, as_json: bool) -> None:
    """What a command came to: a remark for people, or a value for programs on standard output."""
    if as_json:
        _print_json(value)
    else:
        _say(text)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
