"""`{name}` in a binding stands for a value; everything else, `${NAME}` and other braces too, stays as it is."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping

from changeover.errors import ApplicationError
from changeover.model.templates import PLACEHOLDER

IDENTIFIER = re.compile(r"[A-Za-z0-9_.]+")


def fill(text: str, values: Mapping[str, str], *, quote: Callable[[str], str] = str) -> str:
    """Put every value in its place, each passed through `quote`; `ApplicationError` for a name without one."""
    return PLACEHOLDER.sub(lambda found: quote(_value(found, values)), text)


def fill_shell(text: str, values: Mapping[str, str]) -> str:
    """Fill a shell line; each value is one word of it, or part of one, whatever characters it holds.

    Raises:
        ApplicationError: a name without a value, or one where quoting would not hold (see `check_shell`).
    """
    check_shell(text)
    return fill(text, values, quote=shlex.quote)


def check_shell(text: str) -> None:
    """See that every placeholder stands where the shell takes a quoted value as it is.

    Within quotes of the line's own, in a comment, in a here-document, in backquotes or after a backslash it
    does not. Within `$(…)`, also in double quotes, it does.

    Raises:
        ApplicationError: naming the first one elsewhere.
    """
    bare = set(_bare(text))
    for found in PLACEHOLDER.finditer(text):
        if found.start() not in bare:
            raise ApplicationError(
                f"{found[0]} stands within quotes, a comment or a here-document of the shell line",
                hint=f"values are quoted for you: end the quotes before {found[0]} and open them again after it",
            )


def _bare(text: str) -> Iterator[int]:  # noqa: C901, PLR0912 - a branch for each rule of the shell's grammar
    """The positions outside of all quotes, as far as they can be trusted."""
    inside = [""]
    skip = 0
    for position, character in enumerate(text):
        if skip > position:
            continue
        match inside[-1], character:
            case ("'", "'") | ('"', '"') | ("#", "\n"):
                inside.pop()
            case ("'" | "#", _):
                continue
            case _, "\\":
                skip = position + 2
            case _, "`":
                return
            case _, "(" if inside[-1] != '"' or text[position - 1 : position] == "$":
                inside.append("(")
            case '"', _:
                continue
            case "(", ")":
                inside.pop()
            case _, "'" | '"':
                inside.append(character)
            case _, "#" if text[position - 1 : position].strip() == "":
                inside.append("#")
            case _, "<" if text[position : position + 2] == "<<":
                return
            case _:
                yield position


def fill_sql(text: str, values: Mapping[str, str]) -> str:
    """Fill a statement: within single quotes any value, elsewhere only a number or a plain name.

    Raises:
        ApplicationError: a name without a value, or a value that could be more than one there.
    """

    def quoted(found: re.Match[str]) -> str:
        value = _value(found, values)
        within_quotes = text.count("'", 0, found.start()) % 2 == 1
        if within_quotes and "\\" not in value and "\0" not in value:
            return value.replace("'", "''")
        if not within_quotes and IDENTIFIER.fullmatch(value):
            return value
        raise ApplicationError(
            f"the value of {found[0]} cannot be put into a statement safely",
            hint=f"write '{found[0]}', in single quotes, and use no backslash in the value",
        )

    return PLACEHOLDER.sub(quoted, text)


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    name = found[1]
    if name not in values:
        raise ApplicationError(
            f"{found[0]} has no value; there are {', '.join(sorted(values))}",
            hint="give it under application.variables",
        )
    return values[name]
