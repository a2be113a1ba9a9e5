"""SQL files, read when the spec is, so that the plan holds the very text that will run."""

import hashlib
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from changeover.model.release import SqlMigration
from changeover.spec.located import Text
from changeover.spec.paths import Paths
from changeover.spec.problems import Place, Problems, nearest
from changeover.spec.reading import read_text

NO_TRANSACTION = "no-transaction"
DIRECTIVES = (NO_TRANSACTION,)

_FILE = re.compile(r"(\d{1,14})_[A-Za-z0-9_.-]+\.sql", re.ASCII)
_DIRECTIVE = re.compile(r"--\s*changeover:\s*(.*?)\s*")
_DOWN = ".down.sql"


@dataclass(frozen=True)
class Found:
    """A file, and what messages call it."""

    path: Path
    shown: str

    @property
    def number(self) -> str:
        """The digits it begins with."""
        return self.path.name.partition("_")[0]


class SqlFiles:
    """Reads the migrations that one entry names: a file, or a directory of `NNN_name.sql`."""

    def __init__(self, paths: Paths, problems: Problems) -> None:
        self._paths = paths
        self._problems = problems

    def read(self, named: Text) -> list[SqlMigration]:
        """In their order; a `NNN_name.down.sql` is the way back of its namesake."""
        path, shown = self._paths.absolute(named), self._paths.shown(named)
        try:
            files = self._listed(path, shown, named) if path.is_dir() else [Found(path, shown)]
            found = [self._migration(file, named) for file in files]
        except (OSError, ValueError):
            self._problems.add(named.place, f"cannot read {shown}")
            return []
        return [migration for migration in found if migration is not None]

    def _listed(self, path: Path, shown: str, named: Text) -> list[Found]:
        names = sorted(entry.name for entry in path.iterdir() if entry.name.endswith(".sql"))
        ups = [name for name in names if not name.endswith(_DOWN)]
        for name in names:
            if not _FILE.fullmatch(name):
                self._problems.add(named.place, f"{shown}/{name}: expected a name such as 001_add_column.sql")
            elif name.endswith(_DOWN) and name.removesuffix(_DOWN) + ".sql" not in ups:
                self._problems.add(named.place, f"{shown}/{name} takes back a migration that is not there")
        if not ups:
            self._problems.add(named.place, f"there is no NNN_name.sql in {shown}")
        found = [Found(path / name, f"{shown}/{name}") for name in ups if _FILE.fullmatch(name)]
        self._check_order(found, named)
        return found

    def _check_order(self, files: list[Found], named: Text) -> None:
        for one, two in pairwise(files):
            if int(one.number) == int(two.number):
                self._problems.add(named.place, f"{one.shown} and {two.path.name} have the same number")
            elif int(one.number) > int(two.number):
                message = (
                    f"{one.shown} comes before {two.path.name} by name, after it by number: pad the numbers"
                )
                self._problems.add(named.place, message)

    def _migration(self, file: Found, named: Text) -> SqlMigration | None:
        text = self._text(file, named.place)
        if text is None:
            return None
        down = Found(file.path.with_name(file.path.stem + _DOWN), file.shown.removesuffix(".sql") + _DOWN)
        return SqlMigration(
            name=file.path.name.removesuffix(".sql"),
            sql=text,
            checksum=hashlib.sha256(text.encode()).hexdigest(),
            transactional=NO_TRANSACTION not in self._directives(text, file),
            down=(self._text(down, named.place) or "") if down.path.exists() else "",
        )

    def _text(self, file: Found, named_at: Place) -> str | None:
        text = read_text(file.path, file.shown, self._problems, named_at=named_at)
        if text is not None and not _statements(text):
            self._problems.add(named_at, f"{file.shown} holds no statement")
        return text

    def _directives(self, text: str, file: Found) -> set[str]:
        found: set[str] = set()
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.startswith("--"):
                break
            if match := _DIRECTIVE.fullmatch(line):
                found.add(match[1])
                if match[1] not in DIRECTIVES:
                    self._problems.add(
                        Place(file.shown, number),
                        "unknown directive",
                        expected=DIRECTIVES,
                        nearest=nearest(match[1], DIRECTIVES),
                    )
        return found


def _statements(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "".join(lines).strip()
