"""What the operator sees when something goes wrong: what happened and what to do next, never a traceback."""

import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import typer

from changeover.cli.exits import Exit, of_error
from changeover.cli.output import Output, reader_gone
from changeover.errors import ChangeoverError
from changeover.report.document import Text, Tone

# typer carries its own click since 0.26; this is its UsageError, by way of the one name that is public.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

_SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 4


def explain(error: BaseException, output: Output, *, debug: bool, redact: Callable[[str], str] = str) -> Exit:
    """Say it on standard error, and return the exit code."""
    if debug:
        sys.stderr.write(_traceback(error, redact))
    match error:
        case KeyboardInterrupt() | typer.Abort():
            return _say(output, Exit.INTERRUPTED, "interrupted")
        case ChangeoverError():
            problems = [str(problem) for problem in getattr(error, "problems", ())]
            return _say(
                output,
                of_error(error),
                redact(error.message),
                hint=redact(error.hint),
                error=error,
                problems=problems,
            )
        case USAGE_ERROR():
            if not _usage(error):  # no arguments at all: the help has been printed instead
                return Exit.BAD_INPUT
            return _say(output, Exit.BAD_INPUT, _usage(error), hint=_help_for(error), error=error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EIO):
            reader_gone()
            return _say(
                output, Exit.TROUBLE, f"the answer could not be written: {error.strerror}", error=error
            )
    crash = _kept(_traceback(error, redact))
    return _say(
        output,
        Exit.TROUBLE,
        f"sorry, this is a fault in Changeover itself: {type(error).__name__}",
        hint=f"{crash}. A run that was going on can be resumed: `changeover resume`",
        error=error,
    )


def _say(output: Output, code: Exit, message: str, **more: Any) -> Exit:
    """Say it, if there is anybody left to hear it."""
    with suppress(OSError):
        _write(output, code, message, **more)
    return code


def _write(
    output: Output,
    code: Exit,
    message: str,
    *,
    hint: str = "",
    error: BaseException | None = None,
    problems: Sequence[str] = (),
) -> None:
    if output.json:
        said = {"error": type(error).__name__ if error else "", "message": message, "hint": hint}
        document = {**said, "problems": problems, "exit": int(code)}
        output.err.write(msgspec.json.encode(document).decode() + "\n")
        return
    output.note(Text(f"error: {message}", Tone.BAD))
    if hint:
        output.note(f"hint: {hint}")


def _usage(error: BaseException) -> str:
    said: Callable[[], str] = getattr(error, "format_message", error.__str__)
    return said()


def _help_for(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    return f"`{context.command_path} --help` says how" if context else "`changeover --help` says how"


def _traceback(error: BaseException, redact: Callable[[str], str]) -> str:
    return redact(without_secrets("".join(traceback.format_exception(error)), os.environ))


def without_secrets(text: str, environ: Mapping[str, str]) -> str:
    """Blot out the values of those variables whose names say that they are secret."""
    secret = [v for name, v in environ.items() if _SECRET_NAME.search(name) and len(v) >= _SHORTEST]
    for value in sorted(secret, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def _kept(text: str) -> str:
    """Where the text is for whoever is to mend it."""
    try:
        handle, name = tempfile.mkstemp(prefix="changeover-crash-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        return f"what is known about it could not be saved ({error.strerror}); --debug shows it"
    return f"what is known about it is in {name}; please send it along"
