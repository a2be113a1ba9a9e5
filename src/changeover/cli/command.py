"""What every command has: the same options, an example in its help, and an exit code."""

import asyncio
import getpass
import inspect
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from changeover.cli.exits import Exit
from changeover.cli.failures import explain
from changeover.cli.output import Output, reader_gone
from changeover.conductor import Attached, Conductor
from changeover.engine.journal import Journal
from changeover.errors import RefusedError, SpecError
from changeover.report.document import Text, Tone
from changeover.spec.loading import JOURNAL

P = ParamSpec("P")

_PANEL = "Options of every command"

File = Annotated[
    Path,
    typer.Option("--file", "-f", envvar="CHANGEOVER_FILE", help="The site's file.", rich_help_panel=_PANEL),
]
JournalPlace = Annotated[
    str,
    typer.Option(
        "--journal",
        envvar="CHANGEOVER_JOURNAL",
        help="Where the journal is, if not where the site's file says: a path, or a postgresql:// URL.",
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Answer in JSON; streams as one line for each item.", rich_help_panel=_PANEL),
]
NoColor = Annotated[
    bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.", rich_help_panel=_PANEL)
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", envvar="CHANGEOVER_DEBUG", help="Show the traceback of an error.", rich_help_panel=_PANEL
    ),
]


@dataclass
class Settings:
    """The options of every command, and what follows from them."""

    file: File = Path("changeover.yaml")
    journal: JournalPlace = ""
    json: AsJson = False
    no_color: NoColor = False
    debug: Debug = False

    def __post_init__(self) -> None:
        self.output = Output(json=self.json, color=not self.no_color)
        self._attached: Attached | None = None

    @property
    def conductor(self) -> Conductor:
        """The conductor of the site, made from its file at first use; `SpecError` for a file that is wrong."""
        if not isinstance(self._attached, Conductor):
            self._attached = Conductor.from_file(self.file, journal=self.journal)
        return self._attached

    @property
    def attached(self) -> Attached:
        """The journal alone where there is no more: a site's file that broke keeps nobody from their run."""
        if self._attached is None:
            self._attached = self._attach()
            if self.journal and self._attached.journal.store.absent:
                raise SpecError(
                    f"there is no journal at {self.journal}",
                    hint="`changeover run` makes one; look at --journal",
                )
        return self._attached

    def _attach(self) -> Attached:
        try:
            return self.conductor
        except SpecError as error:
            beside = self.file.parent / JOURNAL
            if not self.journal and not beside.exists():
                without = "without the site's file a run is followed and steered with --journal PATH"
                error.hint = f"{error.hint}; {without}" if error.hint else without
                raise
        if self.file.exists() or not self.journal:
            place = "the journal" if self.journal else beside  # a URL may hold a password
            self.output.note(Text(f"{self.file} cannot be used; going by {place} alone", Tone.DOUBT))
        return Attached(Journal.open(self.journal or beside))

    async def steered(self, named: str | None) -> str:
        """The run that a command is for: the one that is named, else the one that holds the site.

        `RefusedError` if there is none, or if it is not named and no file says which site is meant: a journal may
        be shared, and the one run under way in it another site's.
        """
        attached = self.attached
        if named or isinstance(attached, Conductor):
            return named or await attached.active()
        active = [f"{record.run} of {record.site}" for record in await attached.runs() if not record.ended_at]
        raise RefusedError(
            f"without {self.file} nobody knows which site is meant; under way: {', '.join(active) or 'no run'}",
            hint="name the run, or the site's file with --file",
        )

    @property
    def probes(self) -> Path:
        """Where the ledgers of probes are looked for: beside the journal, or where it would be by default."""
        attached = self.attached
        place = self.journal or (attached.spec.journal if isinstance(attached, Conductor) else "")
        journal = Path(place) if place and "://" not in place else self.file.parent / JOURNAL
        return journal.parent / "probes"

    def redact(self, text: str) -> str:
        """The text without any secret that was looked up."""
        return self._attached.redact(text) if self._attached else text

    async def close(self) -> None:
        """Let go of what was opened."""
        if self._attached is not None:
            await self._attached.close()


Command = Callable[Concatenate[Settings, P], Awaitable[Exit | None]]


def command(app: typer.Typer, example: str, name: str | None = None) -> Callable[[Command[P]], Command[P]]:
    """Register an async function as a command: it gets the settings first, and returns an exit code or None."""

    def register(function: Command[P]) -> Command[P]:
        common = {field.name: field for field in fields(Settings)}

        def run(**values: Any) -> None:
            settings = Settings(**{name: values.pop(name) for name in common})
            empty = [name for name, default in optional.items() if default is None and values[name] == ""]
            if empty:  # as `--run "$RUN"` of a script is: nobody has chosen what is done without it
                raise typer.BadParameter(f"{empty[0]} is empty")
            code = _run(function, settings, values)
            if code:
                raise typer.Exit(code)

        own = list(inspect.signature(function).parameters.values())[1:]
        optional = {parameter.name: parameter.default for parameter in own}
        options = [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
            )
            for field in common.values()
        ]
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + options
        run.__name__ = getattr(function, "__name__", "")
        run.__doc__ = function.__doc__
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        # typer reads the options from here, by inspect.signature.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name, epilog=f"Example: {example}", rich_help_panel=app.info.rich_help_panel)(run)
        return function

    return register


def _run(function: Callable[..., Awaitable[Exit | None]], settings: Settings, values: dict[str, Any]) -> int:
    async def whole() -> Exit | None:
        try:
            return await function(settings, **values)
        finally:
            await settings.close()

    try:
        return int(asyncio.run(whole()) or Exit.DONE)
    except typer.Exit:
        raise
    except BrokenPipeError:  # typer would call it a failure
        return reader_gone()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- the last place before the operator
        return explain(error, settings.output, debug=settings.debug, redact=settings.redact)


def actor() -> str:
    """Who gives the command: the person behind `sudo`, if there is one."""
    try:
        return os.environ.get("CHANGEOVER_ACTOR") or os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return str(os.getuid())
