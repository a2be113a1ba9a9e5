"""The image is built whole or not at all."""

from pathlib import Path

import pytest

from changeover.lab import LabError
from changeover.lab.image import ensure_image, image_path

SUCCEEDS = 'while [ $# -gt 1 ]; do shift; done\nmkdir "$1" && touch "$1/built"\n'
FAILS = 'while [ $# -gt 1 ]; do shift; done\nmkdir "$1"\necho "E: no mirror" >&2\nexit 2\n'


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The image of these tests is in a cache of their own, and their tool comes before the machine's."""
    monkeypatch.setenv("CHANGEOVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return tmp_path


def tool(tmp_path: Path, script: str) -> None:
    """Put a stand-in for mmdebstrap in place, which treats its last argument as the target."""
    (tmp_path / "bin" / "mmdebstrap").write_text(f"#!/bin/sh\n{script}")
    (tmp_path / "bin" / "mmdebstrap").chmod(0o755)


def test_an_image_is_built_once(own_cache: Path) -> None:
    """The second call finds it, and says nothing."""
    tool(own_cache, SUCCEEDS)
    said: list[str] = []
    assert ensure_image(said.append) == ensure_image(said.append) == image_path()
    assert (image_path() / "built").exists()
    assert len(said) == 1


def test_a_failed_build_leaves_no_image(own_cache: Path) -> None:
    """The error carries what the tool said, and the next attempt starts afresh."""
    tool(own_cache, FAILS)
    with pytest.raises(LabError, match="E: no mirror"):
        ensure_image()
    assert not image_path().exists()
    assert not image_path().with_suffix(".partial").exists()


def test_an_interrupted_build_is_begun_again(own_cache: Path) -> None:
    """What an interrupted build left is removed, not used."""
    tool(own_cache, SUCCEEDS)
    partial = image_path().with_suffix(".partial")
    (partial / "etc").mkdir(parents=True)
    ensure_image()
    assert not (image_path() / "etc").exists()
