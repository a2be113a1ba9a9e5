"""Campus: its repository and its operator's file, without a cluster."""

import subprocess
from pathlib import Path

import pytest

from changeover.lab import operations
from changeover.lab.apps.campus import WINDOW, repository
from changeover.lab.directory import Directory
from changeover.lab.layout import DatabaseKind, Layout
from changeover.spec import load


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


def test_its_operator_would_write_a_window(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file loads: a window of some hours from now on, scripts in their order, testers who are let in."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    layout = Layout(nodes=2, release="2.4.0", database=DatabaseKind.MARIADB, app="campus")
    Directory("lab").create(layout)
    site = operations.find("lab").site()
    file = layout.application.write_operator_file(site)
    assert file
    spec = load(file)
    window, [change], [gate] = spec.release.window, spec.release.migrations, spec.site.access
    assert window
    assert window.closes - window.opens == WINDOW.total_seconds()
    assert [it.name for it in change.expand] == ["CAM-869", "CAM-878"]
    assert gate.allow == {"8443": (site["visitors"]["tester"],), "9000": (site["visitors"]["watcher"],)}
    assert spec.site.head.name == "app1"
