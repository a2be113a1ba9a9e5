"""What became of each node, seen from outside: by HAProxy, by the application and by systemd, never by who upgrades.

All times are seconds of CLOCK_MONOTONIC, which every process and host of this machine shares.
"""

import csv
import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

EVERY = 0.01
MICROSECONDS = 1e6
UNIT_TIMES = (
    "ActiveExitTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
)


@dataclass(frozen=True)
class Turn:
    """One node's turn.

    From `drained` (HAProxy reports drain) to `empty` (HAProxy and the application count no session on it), from
    `stopping` to `stopped` (systemd's unit), from `starting` to `ready` (the application says so) the application
    needs the time; the rest, until `back` (HAProxy reports it up) and to the next node's turn, is overhead.
    """

    node: str
    drained: float
    empty: float
    stopping: float
    stopped: float
    starting: float
    ready: float
    back: float

    @property
    def own(self) -> float:
        """Seconds of drain, stop and start."""
        return self.empty - self.drained + self.stopped - self.stopping + self.ready - self.starting

    @property
    def in_order(self) -> bool:
        """Whether everything happened, once, in the order of a rolling upgrade."""
        times = (self.drained, self.empty, self.stopping, self.stopped, self.starting, self.ready, self.back)
        return all(earlier <= later for earlier, later in pairwise(times))


@dataclass
class _Seen:
    drained: float = 0.0
    empty: float = 0.0
    back: float = 0.0


class Observer:
    """Looks at the pool, and at the sessions of the node that drains, all the time between `with` and its end."""

    def __init__(self, site: dict[str, Any], on_host: Callable[[str, str], list[str]]) -> None:
        """`on_host` makes the command that runs a shell line on a host."""
        host, _, port = site["balancer"]["tcp"].partition(":")
        self._balancer = (host, int(port))
        self._backend: str = site["balancer"]["backend"]
        self._application: dict[str, Any] = site["application"]
        self._addresses = {entry["name"]: entry["address"] for entry in site["hosts"]}
        self._on_host = on_host
        self._seen = {node: _Seen() for node in self._application["nodes"]}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def turns(self) -> list[Turn]:
        """The turn of each node, the first one first; `SystemExit` if a node had no proper turn."""
        turns = [self._turn(node, seen) for node, seen in self._seen.items()]
        for turn in turns:
            if not turn.in_order:
                raise SystemExit(f"{turn.node} has not been upgraded in the usual order: {turn}")
        return sorted(turns, key=lambda turn: turn.drained)

    def _turn(self, node: str, seen: _Seen) -> Turn:
        unit = self._application["unit"]
        shown = self._ask(node, f"systemctl show {unit} --property={','.join(UNIT_TIMES)}")
        times = dict(line.split("=", 1) for line in shown.splitlines())
        stopping, stopped, starting = (int(times[name]) / MICROSECONDS for name in UNIT_TIMES)
        logged = self._ask(
            node, f"sudo journalctl --unit={unit} --grep='is ready on' --lines=1 --output=json"
        )
        ready = int(json.loads(logged)["__MONOTONIC_TIMESTAMP"]) / MICROSECONDS
        return Turn(node, seen.drained, seen.empty, stopping, stopped, starting, ready, seen.back)

    def _ask(self, host: str, line: str) -> str:
        return subprocess.run(self._on_host(host, line), check=True, capture_output=True, text=True).stdout

    def _watch(self) -> None:
        with socket.create_connection(self._balancer) as connection, connection.makefile("rw") as stream:
            stream.write("prompt\n")
            stream.flush()
            stream.readline()
            while not self._over.wait(EVERY):
                for node, status, sessions in self._look(stream):
                    self._note(self._seen[node], node, status, sessions)

    def _look(self, stream: Any) -> Iterator[tuple[str, str, int]]:
        """Each server's name, status and sessions."""
        stream.write(f"show stat {self._backend} 4 -1\n")
        stream.flush()
        lines = []
        while line := stream.readline().removeprefix("> ").strip():
            lines.append(line)
        for row in csv.DictReader(lines):
            yield row["svname"], row["status"], int(row["scur"]) + int(row["qcur"])

    def _note(self, seen: _Seen, node: str, status: str, sessions: int) -> None:
        now = time.monotonic()
        if status.startswith("DRAIN"):
            seen.drained = seen.drained or now
            if not seen.empty and not sessions and not self._sessions(node):
                seen.empty = time.monotonic()
        elif status.startswith("MAINT"):
            seen.empty = seen.empty or now
        elif status.startswith("UP") and seen.empty:
            seen.back = seen.back or now

    def _sessions(self, node: str) -> int:
        """How many the application counts there; one more than none where it does not say."""
        asking = http.client.HTTPConnection(self._addresses[node], self._application["port"], timeout=1)
        with suppress(OSError, http.client.HTTPException, ValueError):
            asking.request("GET", self._application["sessions"])
            return int(json.loads(asking.getresponse().read())["sessions"])
        return 1
