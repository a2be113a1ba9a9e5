"""The values of a profile's placeholders: its secrets, and what the setup request captures and renews."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from changeover.errors import ApplicationError, SpecError
from changeover.probe.exchange import Client
from changeover.probe.profile import Profile, Reference
from changeover.probe.records import Outcome
from changeover.probe.schedule import Clock

_BETWEEN_RENEWALS = 1.0


def secrets(profile: Profile, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Every secret of the profile, read now; `SpecError` says which reference leads nowhere, never a value."""
    return {
        name: _read(f"secrets.{name}", reference, environment) for name, reference in profile.secrets.items()
    }


def _read(key: str, reference: Reference, environment: Mapping[str, str]) -> str:
    if reference.env is not None:
        if reference.env not in environment:
            raise SpecError(f"{key}: the environment has no variable {reference.env}")
        value = environment[reference.env]
    else:
        try:
            value = Path(reference.file or "").read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{key}: file {reference.file} cannot be read") from error
    if not value.isprintable():
        raise SpecError(f"{key}: contains characters that no header can carry, such as a line break")
    return value


class Variables:
    """The current values, kept fresh by `keep` while the probe runs."""

    def __init__(self, profile: Profile, client: Client, values: Mapping[str, str]) -> None:
        self.values = dict(values)
        self._setup = profile.setup
        self._client = client
        self._refused = asyncio.Event()

    async def prepare(self) -> None:
        """Send the setup request, if there is one; `ApplicationError` if it does not give what it should."""
        if self._setup is None:
            return
        reply = await self._client.send(self._setup, self.values)
        if reply.outcome is not Outcome.OK:
            raise ApplicationError(
                f"setup: {self._setup.method} {self._setup.path} was answered "
                + (f"with status {reply.status}" if reply.status else f"not at all ({reply.outcome})"),
                hint="nothing was sent after it; try the request by hand",
            )
        for name, capture in self._setup.capture.items():
            if (value := reply.captured(capture)) is None:
                raise ApplicationError(
                    f"setup: the answer has no {'header' if capture.header else 'field'} "
                    f"{capture.header or capture.field} for {{{name}}}"
                )
            self.values[name] = value

    def answered(self, status: int) -> None:
        """Tell of an answer to a request that used the values: a refusal has them renewed."""
        if self._setup is not None and status in self._setup.refused:
            self._refused.set()

    async def keep(self, clock: Clock) -> None:
        """Renew the values when they are due or refused, and again until it works; ends only by cancellation."""
        while self._setup is not None:
            await self._due(clock)
            try:
                await self.prepare()
                self._refused.clear()
            except ApplicationError:
                self._refused.set()
            await clock.sleep_until(clock.now() + _BETWEEN_RENEWALS)

    async def _due(self, clock: Clock) -> None:
        waits = [asyncio.ensure_future(self._refused.wait())]
        if self._setup and self._setup.renew:
            waits.append(asyncio.ensure_future(self._passed(clock, clock.now() + self._setup.renew)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    @staticmethod
    async def _passed(clock: Clock, moment: float) -> Literal[True]:
        await clock.sleep_until(moment)
        return True
