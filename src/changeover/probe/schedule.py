"""When requests are due: fixed by rate and number alone, however the site fares."""

import asyncio
import time
from typing import Protocol

import msgspec

MAX_RATE = 2000
MAX_TIMEOUT = 120


class Clock(Protocol):
    """Seconds since the epoch that never go back, and waiting for a moment of theirs."""

    def now(self) -> float:
        """The moment it is."""
        ...

    async def sleep_until(self, moment: float) -> None:
        """Return at the moment, at once if it has passed, but let others run first."""
        ...


class SteadyClock:
    """The wall clock as it was when this was made, carried on by the monotonic one: no step, no leap."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """The moment it is."""
        return self._offset + time.monotonic()

    async def sleep_until(self, moment: float) -> None:
        """Return at the moment, at once if it has passed, but let others run first."""
        await asyncio.sleep(max(0.0, moment - self.now()))


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How much is sent: `rate` requests a second, of them `write_rate` writes, by so many visitors at once.

    `seconds` is how long, None until told to stop; `session_length` counts the requests of a session.
    """

    rate: float = 200.0
    write_rate: float = 0.0
    sessions: int = 40
    session_length: int = 20
    seconds: float | None = None
    timeout: float = 5.0

    @property
    def count(self) -> int | None:
        """How many requests there will be; None if nobody said for how long."""
        return None if self.seconds is None else round(self.rate * self.seconds)

    def writes(self, number: int) -> bool:
        """Whether request `number`, from 0, is a write: spread evenly, once every visitor has had a first turn."""
        due = [int(n * self.write_rate / self.rate) for n in (number, number + 1)]
        return number >= self.sessions and due[0] < due[1]

    def problems(self) -> list[str]:
        """What makes no sense, in the operator's words; empty if all is well."""
        checks = {
            f"--rate {self.rate:g}: expected more than 0 and at most {MAX_RATE} requests a second": 0
            < self.rate
            <= MAX_RATE,
            f"--writes {self.write_rate:g}: expected from 0 to half of --rate": 0
            <= self.write_rate
            <= self.rate / 2,
            f"--sessions {self.sessions}: expected 1 to 5000": 1 <= self.sessions <= 5000,  # noqa: PLR2004
            f"--session-length {self.session_length}: expected 3 requests or more": self.session_length >= 3,  # noqa: PLR2004
            f"--timeout {self.timeout:g}s: expected more than 0 and at most {MAX_TIMEOUT}s": 0
            < self.timeout
            <= MAX_TIMEOUT,
            "--for: expected enough time for one request": self.count is None or self.count > 0,
        }
        return [problem for problem, holds in checks.items() if not holds]

    @property
    def descriptors(self) -> int:
        """How many connections a site that answers nothing can make this open."""
        return int(self.rate * self.timeout) + 2 * self.sessions + 32
