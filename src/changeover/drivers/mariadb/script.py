"""An SQL file for MariaDB cut into statements, where the `mariadb` client cuts it (`client/mysql.cc`)."""

import re
from collections.abc import Iterator

from changeover.drivers.sql.script import Statement, made

TOKEN = re.compile(
    r"""
      (?P<directive> ^[ \t]*delimiter[ \t]+(?P<delimiter>\S+)[^\n]* )
    | (?P<blank>     \n | [^\S\n]+ | --(?=\s|\Z)[^\n]* | \#[^\n]* | /\*(?!!|M!).*?(?:\*/|\Z) )
    | (?P<quoted>    '(?:[^'\\]|\\.|'')*(?:'|\Z) | "(?:[^"\\]|\\.|"")*(?:"|\Z) | `[^`]*(?:`|\Z) )
    | (?P<other>     . )
    """,
    re.DOTALL | re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)


def cut(sql: str) -> Iterator[Statement]:
    """The statements in their order; one that is nothing but comments is none.

    `DELIMITER` on a line of its own, between statements, changes what ends them; a routine with a body
    needs it. `/*!` and `/*M!` are statements to the server, not comments. Backslashes escape, as they do
    unless `sql_mode` holds `NO_BACKSLASH_ESCAPES`.
    """
    start, position, end, delimiter = -1, 0, 0, ";"
    while match := TOKEN.match(sql, position):
        position = match.end()
        if match["directive"] and start < 0:
            delimiter = match["delimiter"]
        elif match["directive"]:
            # Within a statement the word means nothing to the client.
            end = position = match.start() + 1
        elif match["blank"]:
            continue
        elif sql.startswith(delimiter, match.start()):
            position = match.start() + len(delimiter)
            if start >= 0:
                yield made(sql, start, end)
            start = -1
        else:
            start, end = match.start() if start < 0 else start, position
    if start >= 0:
        yield made(sql, start, end)
