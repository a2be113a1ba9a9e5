"""The git repository of the application, as the stream from which `git fast-import` makes it: a commit and a tag per release."""

from importlib import resources
from importlib.resources.abc import Traversable

RELEASES = ("2.4.0", "2.4.1")
_SOURCES = resources.files("changeover.lab") / "apps" / "campus" / "repository"


def contents(release: str) -> dict[str, bytes]:
    """Return the files of a release by their path in it: what all have in common, and its own."""
    return _files(_SOURCES / "common") | _files(_SOURCES / release)


def scripts(release: str) -> dict[str, bytes]:
    """Return the SQL scripts that lead to a release, by name and in their order."""
    return {entry.name: entry.read_bytes() for entry in _sorted(_SOURCES / release / "scripts")}


def schema() -> str:
    """Return the SQL of the first release's schema, and the first announcements."""
    return (_SOURCES / RELEASES[0] / "schema.sql").read_text()


def stream() -> bytes:
    """Return it; the same sources give the same repository."""
    said = []
    for number, release in enumerate(RELEASES, 1):
        text = f"Campus {release}".encode()
        said.append(b"commit refs/heads/main\nmark :%d\n" % number)
        said.append(b"committer Campus <campus@example.org> %d +0000\n" % (1_180_000_000 + number))
        said.append(b"data %d\n%s\ndeleteall\n" % (len(text), text))
        for path, data in contents(release).items():
            mode = b"100755" if path == "build" else b"100644"
            said.append(b"M %s inline %s\ndata %d\n%s\n" % (mode, path.encode(), len(data), data))
        said.append(b"reset refs/tags/campus-%s\nfrom :%d\n\n" % (release.encode(), number))
    return b"".join(said)


def _files(directory: Traversable, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in _sorted(directory):
        name = f"{prefix}{entry.name}"
        found |= _files(entry, f"{name}/") if entry.is_dir() else {name: entry.read_bytes()}
    return found


def _sorted(directory: Traversable) -> list[Traversable]:
    return sorted(directory.iterdir(), key=lambda entry: entry.name)
