"""What tests of the terminal are made from: a real conductor, engine and journal over a site in memory."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from changeover.cli.main import main
from changeover.conductor import Conductor
from changeover.ports import World
from changeover.simulation import SimulatedSite
from changeover.spec import Spec
from tests.sites import a_release, a_site


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


class HurryingClock:
    """Now, and ahead of it by all that was waited for: waiting takes no time."""

    def __init__(self) -> None:
        self._waited = 0.0

    def now(self) -> float:
        return time.time() + self._waited

    async def sleep(self, seconds: float) -> None:
        self._waited += seconds
        await asyncio.sleep(0)


@dataclass
class Ended:
    """A command that ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document that it answered with."""
        return msgspec.json.decode(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON documents that it answered with, a line each."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


@dataclass
class Terminal:
    """Runs commands against one site in memory, which outlives them."""

    site: SimulatedSite
    directory: Path
    _capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> Ended:
        """Run `changeover` with these arguments to its end."""
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = self._capture.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)


def a_terminal(
    monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], directory: Path, **release: Any
) -> Terminal:
    """A terminal in a directory of its own, whose site runs v1."""
    site = SimulatedSite(a_site(), "v1", HurryingClock())
    spec = Spec(
        a_site(),
        a_release(**release),
        str(directory / ".changeover" / "journal.db"),
        "changeover.yaml",
        "digest",
    )

    @asynccontextmanager
    async def open_world(*_: object) -> AsyncIterator[World]:
        yield site.world

    from_file: Callable[..., Conductor] = lambda _path, *, journal="": Conductor(spec, journal)  # noqa: E731
    monkeypatch.setattr("changeover.conductor.open_world", open_world)
    monkeypatch.setattr(Conductor, "from_file", from_file)
    monkeypatch.chdir(directory)
    monkeypatch.setenv("CHANGEOVER_ACTOR", "ann")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return Terminal(site, directory, capture)
