"""Campus: its repository, without a cluster."""

import subprocess
from pathlib import Path

import pytest

from changeover.lab.apps.campus import repository


def _git(*arguments: str, stdin: bytes = b"") -> str:
    return subprocess.run(["git", *arguments], input=stdin, capture_output=True, check=True).stdout.decode()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, as the head node makes it."""
    path = tmp_path_factory.mktemp("campus")
    _git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    _git(f"--git-dir={path}", "fast-import", "--quiet", stdin=repository.stream())
    return path


def test_every_release_is_a_tag(imported: Path) -> None:
    """And its branch leads to the last one."""
    assert _git(f"--git-dir={imported}", "tag").split() == ["campus-2.4.0", "campus-2.4.1"]
    assert _git(f"--git-dir={imported}", "describe", "--all", "main").strip() == "tags/campus-2.4.1"


@pytest.mark.parametrize("release", repository.RELEASES)
def test_a_tag_has_the_files_of_its_release(imported: Path, tmp_path: Path, release: str) -> None:
    """All of them and no others; the build can be executed."""
    (tmp_path / "sources").mkdir()
    _git(
        f"--git-dir={imported}", f"--work-tree={tmp_path}/sources", "checkout", f"campus-{release}", "--", "."
    )
    found = {
        str(path.relative_to(tmp_path / "sources")): path.read_bytes()
        for path in (tmp_path / "sources").rglob("*")
        if path.is_file()
    }
    assert found == repository.contents(release)
    assert f"version={release}".encode() in found["release.properties"]
    assert (tmp_path / "sources" / "build").stat().st_mode & 0o111


def test_the_same_sources_give_the_same_repository() -> None:
    """So that a tag is the same commit in every lab."""
    assert repository.stream() == repository.stream()


def test_scripts_come_in_their_order() -> None:
    """The second one's text needs what the first one made."""
    assert list(repository.scripts("2.4.1")) == ["CAM-869.sql", "CAM-878.sql"]
