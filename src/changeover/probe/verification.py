"""Whether writes are there: asked after the load, with patience, many at once where the site can say."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from changeover.errors import SpecError
from changeover.probe.exchange import Client, Reply
from changeover.probe.ledger import Writer, read
from changeover.probe.profile import Bulk, Profile, Verify, Write
from changeover.probe.records import Checked, Found, Outcome
from changeover.probe.schedule import Clock
from changeover.probe.site import site
from changeover.probe.template import Variables as Values
from changeover.probe.variables import Variables, secrets

ROUNDS = 4
SECONDS_BETWEEN = 1.0
AT_ONCE = 8
PATIENCE = 120.0
"""Seconds after which the remaining writes stay unverified."""


class Verification:
    """Looks for writes until each is present, or `ROUNDS` rounds are over, or the time is up."""

    def __init__(self, write: Write, client: Client, variables: Values, clock: Clock) -> None:
        self._write = write
        self._client = client
        self._variables = variables
        self._clock = clock

    async def run(self, ids: Sequence[str], until: float) -> AsyncIterator[Checked]:
        """One record for each id; what nobody could be asked about before `until` is unverified."""
        open_ = {key: Checked(key, Found.UNVERIFIED) for key in ids}
        for number in range(ROUNDS):
            if number and open_:
                await self._clock.sleep_until(self._clock.now() + SECONDS_BETWEEN)
            async for checked in self._round(list(open_), until):
                open_[checked.id] = checked
                if checked.found is Found.PRESENT:
                    yield open_.pop(checked.id)
        for checked in open_.values():
            yield checked

    async def _round(self, ids: Sequence[str], until: float) -> AsyncIterator[Checked]:
        shown: set[str] = set()
        for bulk, chunk in self._chunks(ids):
            if self._clock.now() < until:
                shown |= bulk_present(
                    bulk, chunk, await self._client.send(bulk, {**self._variables, "ids": chunk})
                )
        for key in shown:
            yield Checked(key, Found.PRESENT)
        rest = [key for key in ids if key not in shown]
        for start in range(0, len(rest), AT_ONCE):
            if self._clock.now() >= until:
                return
            for checked in await asyncio.gather(
                *(self._single(key) for key in rest[start : start + AT_ONCE])
            ):
                yield checked

    def _chunks(self, ids: Sequence[str]) -> Iterator[tuple[Bulk, list[str]]]:
        if bulk := self._write.bulk:
            for start in range(0, len(ids), bulk.size):
                yield bulk, list(ids[start : start + bulk.size])

    async def _single(self, key: str) -> Checked:
        verify = self._write.verify
        reply = await self._client.send(verify, {**self._variables, "id": key})
        return Checked(key, found(verify, reply), reply.status)


def found(verify: Verify, reply: Reply) -> Found:
    """What the answer says about one write: the right status without the right content says it is missing."""
    if reply.outcome is Outcome.OK:
        return Found.PRESENT
    absent = reply.outcome is Outcome.CONTENT or reply.status in verify.absent
    return Found.MISSING if absent else Found.UNVERIFIED


def bulk_present(bulk: Bulk, ids: Sequence[str], reply: Reply) -> set[str]:
    """Those of the ids that the answer shows to be there; none, if it is not the answer that was hoped for."""
    if reply.outcome is not Outcome.OK:
        return set()
    if bulk.missing is None:
        return {key for key in ids if key.encode() in reply.body}
    missing = reply.json(bulk.missing)
    return set(ids) - {str(key) for key in missing} if isinstance(missing, list) else set()


async def verify_again(path: Path, clock: Clock, seconds: float) -> None:
    """Look once more for the writes in a ledger, and note there what came of it; it takes at most so many seconds.

    The ledger carries the profile; its secrets are read again from where the profile says.
    """
    ledger = read(path)
    profile = Profile.model_validate(ledger.header.profile)
    if profile.write is None:
        raise SpecError(f"{path}: the probe wrote nothing on this run, so there is nothing to verify")
    client = Client(site(ledger.header.url, profile, ledger.header.timeout), cookies=False)
    try:
        variables = Variables(profile, client, secrets(profile))
        await variables.prepare()
        looking = Verification(profile.write, client, variables.values, clock)
        with Writer(path) as writer:
            async for checked in looking.run(ledger.to_verify, clock.now() + seconds):
                writer.append(checked)
    finally:
        await client.close()
