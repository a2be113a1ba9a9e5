"""`{name}` in a binding stands for a value; everything else, `${NAME}` and other braces too, stays as it is."""

import re
from collections.abc import Callable, Mapping

from changeover.errors import ApplicationError

PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill(text: str, values: Mapping[str, str], *, quote: Callable[[str], str] = str) -> str:
    """Put every value in its place, each passed through `quote`; `ApplicationError` for a name without one."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in values:
            raise ApplicationError(
                f"{found[0]} has no value; there are {', '.join(sorted(values))}",
                hint="give it under application.variables",
            )
        return quote(values[name])

    return PLACEHOLDER.sub(value, text)
