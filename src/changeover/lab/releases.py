"""The two releases of the lab's application, as tar archives."""

import io
import tarfile
from importlib import resources
from pathlib import Path

from changeover.lab.layout import RELEASES

SOURCE = Path(str(resources.files("changeover.lab") / "app"))


def contents(version: str) -> dict[str, bytes]:
    """Return the files of a release by their path in it: the program, its version, its SQL."""
    files = {"app.py": (SOURCE / "app.py").read_bytes(), "VERSION": f"{version}\n".encode()}
    own = SOURCE / version
    for path in sorted(own.rglob("*.sql")):
        files[str(path.relative_to(own))] = path.read_bytes()
    return files


def write_tar(version: str, directory: Path) -> Path:
    """Write `VERSION.tar`, whose files lie under no directory of their own; the same sources give the same bytes."""
    return write_archive(directory / f"{version}.tar", contents(version))


def write_archive(target: Path, files: dict[str, bytes]) -> Path:
    """Write files as a tar, whole or not at all."""
    partial = target.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o755 if name.endswith(".py") else 0o644
            tar.addfile(info, io.BytesIO(data))
    partial.rename(target)
    return target


def write_all(directory: Path) -> list[Path]:
    """Write every release's archive."""
    return [write_tar(version, directory) for version in RELEASES]


def base_schema() -> str:
    """Return the SQL that makes the schema of v1 in an empty database."""
    return (SOURCE / "v1" / "schema.sql").read_text()
