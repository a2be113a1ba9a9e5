"""The clients of a simulated site: so many requests, sessions and writes a second, counted to the last one.

Nothing happens for each of them. Between two changes of the site all that arrive fare alike, so that they are
counted together: number k (from 0) arrives at `began + (k + 1) / rate` and goes to the server whose turn it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from changeover.simulation.state import Server, Store


@dataclass(frozen=True, slots=True)
class Traffic:
    """What arrives at each balancer in a second. A session lasts `session_seconds` and stays with its server.

    Writes go to `database`, the first of the site if it is empty.
    """

    requests: float = 0.0
    sessions: float = 0.0
    writes: float = 0.0
    session_seconds: float = 20.0
    database: str = ""


class Target(NamedTuple):
    """A server in rotation, and whether the node behind it serves."""

    name: str
    server: Server
    serves: bool


class Flow(NamedTuple):
    """Where one balancer sends what arrives, until the site changes; `store` is where writes go, if any can."""

    targets: Sequence[Target]
    store: Store | None


@dataclass(frozen=True, slots=True)
class Loss:
    """What was lost from one time to another (seconds since the epoch), and because of which server.

    `what`: `request`, `write`, `session` (it found no server), `cut` (it was open). `server` is empty where there
    was none in rotation.
    """

    begin: float
    end: float
    what: str
    count: int
    server: str = ""


class Writes(NamedTuple):
    """Those that arrive at one of `pools` balancers, the one at `place`."""

    turns: range
    place: int
    pools: int

    def numbers(self, turns: range) -> range:
        """Give each a number that no write through another balancer has."""
        return range(
            turns.start * self.pools + self.place,
            turns.stop * self.pools + self.place,
            turns.step * self.pools,
        )


@dataclass(slots=True)
class Clients:
    """Their ledger. `counted` is until when."""

    traffic: Traffic
    began: float
    counted: float
    requests: int = 0
    requests_failed: int = 0
    sessions: int = 0
    sessions_refused: int = 0
    sessions_cut: int = 0
    writes: int = 0
    writes_failed: int = 0
    acknowledged: list[range] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    _latest: dict[tuple[str, str], int] = field(default_factory=dict)

    def count(self, flows: Sequence[Flow], until: float) -> None:
        """Count all that arrives until then, while everything stays as it is."""
        begin, self.counted = self.counted, until
        traffic = self.traffic
        for kind, rate in (
            ("request", traffic.requests),
            ("write", traffic.writes),
            ("session", traffic.sessions),
        ):
            first, end = int((begin - self.began) * rate), int((until - self.began) * rate)
            if first == end:
                continue
            for place, flow in enumerate(flows):
                turns = _turns(first, end, len(flow.targets))
                if kind == "request":
                    self._requests(flow, turns, end - first, begin, until)
                elif kind == "write":
                    its = Writes(range(first, end), place, len(flows))
                    self._writes(flow, turns, its, begin, until)
                else:
                    self._sessions(flow, turns, end - first, begin, until)

    def cut(self, server: Server, name: str, now: float) -> int:
        """End the open sessions of a server."""
        count = server.count(now)
        server.sessions.clear()
        self.sessions_cut += count
        self._lose(now, now, "cut", count, name)
        return count

    def missing(self, store: Store) -> int:
        """How many acknowledged writes are not in the database."""
        if self.acknowledged == store.writes:
            return 0
        return len(_numbers(self.acknowledged) - _numbers(store.writes))

    def copy(self) -> "Clients":
        """A ledger that goes on by itself."""
        return replace(
            self,
            acknowledged=list(self.acknowledged),
            losses=list(self.losses),
            _latest=dict(self._latest),
        )

    def _requests(self, flow: Flow, turns: Sequence[range], count: int, begin: float, until: float) -> None:
        self.requests += count
        if not flow.targets:
            self.requests_failed += count
            self._lose(begin, until, "request", count)
        for target, its in zip(flow.targets, turns, strict=True):
            target.server.sent_at = until
            if its and not target.serves:
                self.requests_failed += len(its)
                self._lose(begin, until, "request", len(its), target.name)

    def _writes(self, flow: Flow, turns: Sequence[range], its: "Writes", begin: float, until: float) -> None:
        count = len(its.turns)
        self.writes += count
        if not flow.targets:
            self.writes_failed += count
            self._lose(begin, until, "write", count)
        elif flow.store and all(target.serves for target in flow.targets):
            self._acknowledge(flow.store, its.numbers(its.turns))
        else:
            for target, turn in zip(flow.targets, turns, strict=True):
                if flow.store and target.serves:
                    self._acknowledge(flow.store, its.numbers(turn))
                else:
                    self.writes_failed += len(turn)
                    self._lose(begin, until, "write", len(turn), target.name)

    def _acknowledge(self, store: Store, numbers: range) -> None:
        """Keep them on both sides."""
        for kept in (self.acknowledged, store.writes) if numbers else ():
            last = kept[-1] if kept else None
            if last and last.step == numbers.step and last[-1] + last.step == numbers.start:
                kept[-1] = range(last.start, numbers.stop, last.step)
            else:
                kept.append(numbers)

    def _sessions(self, flow: Flow, turns: Sequence[range], count: int, begin: float, until: float) -> None:
        self.sessions += count
        if not flow.targets:
            self.sessions_refused += count
            self._lose(begin, until, "session", count)
        rate, lasts = self.traffic.sessions, self.traffic.session_seconds
        for target, its in zip(flow.targets, turns, strict=True):
            if target.serves:
                ends = [self.began + (k + 1) / rate + lasts for k in its]
                target.server.open([end for end in ends if end > until], until)
            else:
                self.sessions_refused += len(its)
                self._lose(begin, until, "session", len(its), target.name)

    def _lose(self, begin: float, end: float, what: str, count: int, server: str = "") -> None:
        """Write it down; what goes on from the loss before it is one with that."""
        if not count:
            return
        place = self._latest.get((what, server), -1)
        if place >= 0 and self.losses[place].end == begin:
            before = self.losses[place]
            self.losses[place] = Loss(before.begin, end, what, before.count + count, server)
        else:
            self._latest[what, server] = len(self.losses)
            self.losses.append(Loss(begin, end, what, count, server))


def _turns(first: int, end: int, servers: int) -> list[range]:
    """Which of the numbers from `first` to before `end` are each server's turn."""
    return [range(first + (place - first) % servers, end, servers) for place in range(servers)]


def _numbers(ranges: Iterable[range]) -> set[int]:
    found: set[int] = set()
    for part in ranges:
        found.update(part)
    return found
