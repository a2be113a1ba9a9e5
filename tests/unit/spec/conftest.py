"""A site that loads, in a directory of its own."""

from pathlib import Path

import pytest

SITE = (Path(__file__).parent / "site.yaml").read_text()


class Written:
    """Files of an operator; `load` reads the main one from their directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = Path("site.yaml")
        self.write("site.yaml", SITE)
        self.write("migrations/expand/001_add.sql", "ALTER TABLE t ADD COLUMN c int;\n")
        self.write("migrations/expand/001_add.down.sql", "ALTER TABLE t DROP COLUMN c;\n")
        index = "-- changeover: no-transaction\nCREATE INDEX CONCURRENTLY i ON t (c);\n"
        self.write("migrations/expand/002_index.sql", index)
        self.write("migrations/contract/003_drop.sql", "ALTER TABLE t DROP COLUMN b;\n")

    def write(self, name: str, text: str) -> Path:
        """A file, with the directories that lead to it."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def change(self, old: str, new: str) -> None:
        """Put `new` in the place of the one `old` in the main file."""
        assert SITE.count(old) == 1, f"{old!r} is not there exactly once"
        self.write("site.yaml", SITE.replace(old, new))

    def add(self, section: str, name: str, value: str) -> None:
        """Put one more entry into a section of the main file."""
        text = self.path.read_text()
        assert f"\n{section}:\n" in text
        self.write("site.yaml", text.replace(f"\n{section}:\n", f"\n{section}:\n  {name}: {value}\n"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """The files, in the current directory."""
    monkeypatch.chdir(tmp_path)
    return Written(tmp_path)
