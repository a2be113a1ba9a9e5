"""What is in a database, small enough to keep beside a snapshot, and exact enough to compare it by."""

import hashlib
from collections.abc import Mapping

from changeover.model.values import Value

SHOWN = 5
"""How many differences an error names."""


class Table(Value, frozen=True):
    """How many rows a table has, and the sum of a 64-bit hash over each row's text.

    A sum does not depend on the order of the rows, and unlike an exclusive-or it sees a row that is there twice.
    """

    rows: int
    digest: str


class Contents(Value, frozen=True):
    """The tables, the counters, and the objects of the catalogue (one line each: kind, name, properties).

    A counter (sequence) is outside of every transaction, so all that can be known of its value within a
    snapshot is that it lies between what was read before the copy began and what was read after it.
    """

    tables: Mapping[str, Table]
    counters: Mapping[str, tuple[int, int]]
    objects: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """A digest of every table's name, count and rows."""
        lines = (f"{name} {table.rows} {table.digest}\n" for name, table in sorted(self.tables.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def differences(self, found: "Contents") -> list[str]:
        """What is not as it was, a line each: tables first."""
        return [
            *_tables(self.tables, found.tables),
            *_counters(self.counters, found.counters),
            *(f"missing: {line}" for line in sorted(set(self.objects) - set(found.objects))),
            *(f"unexpected: {line}" for line in sorted(set(found.objects) - set(self.objects))),
        ]


def shown(differences: list[str]) -> str:
    """The first few of them, for an error."""
    more = len(differences) - SHOWN
    return "; ".join(differences[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _tables(expected: Mapping[str, Table], found: Mapping[str, Table]) -> list[str]:
    lines = []
    for name in sorted({*expected, *found}):
        if name not in found:
            lines.append(f"table {name} is missing")
        elif name not in expected:
            lines.append(f"table {name} is not in the snapshot")
        elif found[name].rows != expected[name].rows:
            lines.append(f"table {name} has {found[name].rows} rows instead of {expected[name].rows}")
        elif found[name].digest != expected[name].digest:
            lines.append(f"table {name} has other rows, as many as it should")
    return lines


def _counters(expected: Mapping[str, tuple[int, int]], found: Mapping[str, tuple[int, int]]) -> list[str]:
    lines = []
    for name, bounds in sorted(expected.items()):
        value = found.get(name, (None,))[0]
        if value is None:
            lines.append(f"sequence {name} is missing")
        elif not min(bounds) <= value <= max(bounds):
            lines.append(f"sequence {name} is at {value} instead of {bounds[0]}")
    return lines
