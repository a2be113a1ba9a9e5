"""What both databases mean by a statement of an SQL file, and which files are refused before they run."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from changeover.errors import DatabaseError

Cut = Callable[[str], Iterator["Statement"]]
"""Cuts a file into statements as the database's own client does."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its delimiter, and the line of the file (from 1) that it begins on."""

    text: str
    line: int

    @property
    def verb(self) -> str:
        """Its first word, in capitals."""
        word = re.match(r"\w+", self.text)
        return word[0].upper() if word else ""


def parse(name: str, sql: str, cut: Cut, *, refused: frozenset[str] = frozenset()) -> tuple[Statement, ...]:
    """Cut the file of that name.

    Raises:
        DatabaseError: there is no statement in it, or one that begins with a word of `refused`.
    """
    found = tuple(cut(sql))
    if not found:
        raise DatabaseError(
            f"{name}: there is no statement in the file",
            hint="write the migration, or take it out of the release",
        )
    for statement in found:
        if statement.verb in refused:
            raise DatabaseError(
                f"{name}, line {statement.line}: {statement.verb} is not allowed in a migration",
                hint="the transaction is ours, and its entry in the ledger is part of it; take the statement out, "
                "or begin the file with `-- changeover: no-transaction`",
            )
    return found


def made(sql: str, start: int, end: int) -> Statement:
    """The statement between two offsets of the file."""
    return Statement(sql[start:end], sql.count("\n", 0, start) + 1)
