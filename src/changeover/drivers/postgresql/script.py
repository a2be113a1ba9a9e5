"""An SQL file for PostgreSQL cut into statements, where `psql` cuts it (`src/fe_utils/psqlscan.l`)."""

import re
from collections.abc import Iterator

from changeover.drivers.sql.script import Statement, made

TRANSACTION_WORDS = frozenset({"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"})
"""First words of the statements that end or begin a transaction."""

TOKEN = re.compile(
    r"""
      (?P<blank>   \s+ | --[^\n]* )
    | (?P<comment> /\* )
    | (?P<end>     ; )
    | (?P<open>    \( )
    | (?P<close>   \) )
    | (?P<dollar>  (?P<tag>\$(?:[^\W\d]\w*)?\$) .*? (?:(?P=tag)|\Z) )
    | (?P<quoted>  [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) | '[^']*(?:'|\Z) | "[^"]*(?:"|\Z) )
    | (?P<word>    [^\W\d][\w$]* )
    | (?P<other>   . )
    """,
    re.DOTALL | re.VERBOSE,
)


def cut(sql: str) -> Iterator[Statement]:
    """The statements in their order; one that is nothing but comments is none.

    A semicolon ends a statement unless it is quoted, in parentheses (`CREATE RULE`), or in the body of a
    function between `BEGIN ATOMIC` and `END`.
    """
    start, position, end = -1, 0, 0
    depth = 0
    routine = _Routine()
    while match := TOKEN.match(sql, position):
        # The group that closed last is the outermost one.
        kind = match.lastgroup
        position = _comment_end(sql, match.start()) if kind == "comment" else match.end()
        if kind in ("blank", "comment"):
            continue
        if kind == "end" and depth <= 0 and not routine.open:
            if start >= 0:
                yield made(sql, start, end)
            start, depth, routine = -1, 0, _Routine()
            continue
        start, end = match.start() if start < 0 else start, position
        depth += (kind == "open") - (kind == "close")
        if kind == "word" and depth <= 0:
            routine.read(match[0].upper())
    if start >= 0:
        yield made(sql, start, end)


class _Routine:
    """Whether a statement defines a routine, and how many blocks of its body are open."""

    def __init__(self) -> None:
        self.open = 0
        self._words: list[str] = []

    def read(self, word: str) -> None:
        if len(self._words) < 4:  # noqa: PLR2004 - CREATE OR REPLACE FUNCTION
            self._words.append(word)
        if self._words[0] != "CREATE" or not {"FUNCTION", "PROCEDURE"} & set(self._words):
            return
        if word == "BEGIN" or (word == "CASE" and self.open):
            self.open += 1
        elif word == "END" and self.open:
            self.open -= 1


def _comment_end(sql: str, start: int) -> int:
    """Where the comment that begins there ends; PostgreSQL's comments nest."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(sql)
