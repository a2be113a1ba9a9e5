"""Locks between processes that end with the process that holds them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from changeover.lab.errors import LabError


@contextmanager
def hold(path: Path, subject: str, why: str) -> Iterator[None]:
    """Hold `path` exclusively.

    Raises:
        LabError: another process holds it; the error says which, for what and since when.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LabError(
                f"{subject} is held by {file.read().strip()}", hint="wait until it is done"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, {why}, since {datetime.now(UTC):%H:%M:%S} UTC")
        file.flush()
        yield


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Hold `path` exclusively, waiting for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
