"""The probe at work: sends on schedule, writes down what came of it, then looks for the writes."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from changeover.errors import ChangeoverError
from changeover.probe.exchange import Client, Reply, Site
from changeover.probe.ledger import Writer
from changeover.probe.profile import ANY_SITE, Profile, Request, Session
from changeover.probe.records import Answered, Ended, Kind, Outcome, Sent, SessionChanged, Tally
from changeover.probe.schedule import Clock, Load
from changeover.probe.variables import Variables
from changeover.probe.verification import PATIENCE, Verification
from changeover.probe.visitor import Visit, Visitor

FLUSH_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Turn:
    kind: Kind
    request: Request
    visit: Visit | None = None
    id: str = ""


class Probe:
    """One run over one site; `tally` and `in_flight` are for whoever watches."""

    def __init__(
        self,
        site: Site,
        profile: Profile,
        load: Load,
        *,
        secrets: Mapping[str, str],
        writer: Writer,
        clock: Clock,
        run: str,
    ) -> None:
        """`run` is a name that no other run has: the ids of the writes begin with it."""
        self.tally: Tally = Counter()
        self.in_flight = 0
        self._site, self._profile, self._load = site, profile, load
        self._writer, self._clock, self._run = writer, clock, run
        # Where no session is at hand, requests come from someone without cookies, whom a balancer may send anywhere.
        self._passer_by = Client(site, cookies=False)
        self._variables = Variables(profile, self._passer_by, secrets)
        self._read = profile.read or Request()
        self._script = profile.session or Session(use=self._read, cut=ANY_SITE)
        self._session_numbers = count(1)
        self._visits: set[Visit] = set()
        self._visitors = deque(Visitor(self._begin) for _ in range(load.sessions))
        self._to_verify: list[str] = []
        self._end = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Send until the load's time is over or `stop` is set, wait for the answers, verify the writes.

        `ApplicationError` if the setup request fails at the start, `LedgerError` if the ledger cannot be written.
        """
        try:
            await self._variables.prepare()
            async with asyncio.TaskGroup() as background:
                helpers = [
                    background.create_task(self._flush()),
                    background.create_task(self._variables.keep(self._clock)),
                ]
                await self._send_all(stop)
                await self._verify()
                for helper in helpers:
                    helper.cancel()
        except ExceptionGroup as group:
            if expected := group.subgroup(ChangeoverError):
                raise expected.exceptions[0] from None
            raise
        finally:
            for client in [self._passer_by, *(visit.client for visit in self._visits)]:
                await client.close()

    async def _flush(self) -> None:
        # Real time, whatever the clock: it bounds what the death of this process takes along, and measures nothing.
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self._writer.flush()

    async def _send_all(self, stop: asyncio.Event) -> None:
        self._end = self._clock.now()
        async with asyncio.TaskGroup() as requests:
            schedule = requests.create_task(self._schedule(requests))
            stopped = requests.create_task(stop.wait())
            await asyncio.wait({schedule, stopped}, return_when=asyncio.FIRST_COMPLETED)
            why = "stopped" if stopped.done() else "time"
            schedule.cancel()
            stopped.cancel()
        self._writer.append(Ended(self._end, why))
        self._writer.flush()

    async def _schedule(self, requests: asyncio.TaskGroup) -> None:
        """Start each request at its moment. Nothing here waits for an answer: that is what open-loop means."""
        begin = self._clock.now()
        for number in count():
            if number == self._load.count:
                return
            due = begin + number / self._load.rate
            await self._clock.sleep_until(due)
            self._end = begin + (number + 1) / self._load.rate
            self.in_flight += 1
            requests.create_task(self._send(number, due, self._turn(number)))

    def _turn(self, number: int) -> _Turn:
        if self._profile.write is not None and self._load.writes(number):
            visit = next((visitor.visit for visitor in self._visitors if visitor.visit.open), None)
            return _Turn(
                Kind.WRITE, self._profile.write.request, self._joined(visit), f"{self._run}-{number:08d}"
            )
        visitor = self._visitors[0]
        self._visitors.rotate(-1)
        if (wanted := visitor.next()) is None:
            return _Turn(Kind.READ, self._read)
        return _Turn(*wanted, self._joined(visitor.visit))

    async def _send(self, number: int, due: float, turn: _Turn) -> None:
        visit = turn.visit
        late = max(0.0, self._clock.now() - due)
        session = visit.number if visit else 0
        self._writer.append(Sent(number, round(due, 6), round(late, 6), turn.kind, session, turn.id))
        client = visit.client if visit else self._passer_by
        variables = self._variables.values | (visit.variables if visit else {}) | {"id": turn.id}
        reply = await client.send(turn.request, variables)
        answered = Answered(number, round(self._clock.now() - due, 6), reply.outcome, reply.status)
        self._writer.append(answered)
        self.tally.update((turn.kind, reply.outcome))
        if turn.kind in (Kind.READ, Kind.WRITE):
            self._variables.answered(reply.status)
        if turn.kind is Kind.WRITE and (reply.outcome is Outcome.OK or answered.undecided):
            self._to_verify.append(turn.id)
        if visit is not None:
            await self._left(visit, turn.kind, reply, due)
        self.in_flight -= 1

    # Sessions

    def _begin(self) -> Visit:
        client = Client(self._site, cookies=True)
        visit = Visit(next(self._session_numbers), client, self._script, self._load.session_length)
        self._visits.add(visit)
        return visit

    @staticmethod
    def _joined(visit: Visit | None) -> Visit | None:
        if visit is not None:
            visit.in_flight += 1
        return visit

    async def _left(self, visit: Visit, kind: Kind, reply: Reply, due: float) -> None:
        visit.in_flight -= 1
        for change, how in visit.answered(kind, reply):
            self.tally[change] += 1
            self._writer.append(SessionChanged(round(due, 6), visit.number, change, how))
        if visit.over and not visit.in_flight:
            self._visits.discard(visit)
            await visit.client.close()

    # Writes

    async def _verify(self) -> None:
        if self._profile.write is None:
            return
        looking = Verification(self._profile.write, self._passer_by, self._variables.values, self._clock)
        async for checked in looking.run(self._to_verify, self._clock.now() + PATIENCE):
            self._writer.append(checked)
            self.tally[checked.found] += 1
