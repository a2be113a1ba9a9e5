"""The only two directories the lab writes to."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return where images and downloaded packages are kept: `$CHANGEOVER_CACHE` or `~/.cache/changeover`."""
    given = os.environ.get("CHANGEOVER_CACHE")
    base = Path(given) if given else Path.home() / ".cache" / "changeover"
    return base.absolute()


def labs_dir() -> Path:
    """Return where labs keep their state: `changeover/labs` under `$XDG_STATE_HOME` or `~/.local/state`."""
    given = os.environ.get("XDG_STATE_HOME")
    base = Path(given) if given else Path.home() / ".local" / "state"
    return (base / "changeover" / "labs").absolute()
