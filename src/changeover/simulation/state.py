"""What there is in a simulated site: plain mutable data, copied field by field so that a fork costs little."""

import posixpath
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from changeover.errors import DatabaseError
from changeover.ports import AdminState, Applied, Gating, Snapshot

NEVER = float("inf")

OWNED = "644 0:0"
"""The mode and the owner of a file of which nothing else is said."""

GIBIBYTE = 1024 * 1024 * 1024
DIRECTORIES = frozenset({"/", "/etc", "/opt", "/run", "/srv", "/var", "/var/lib", "/var/log"})


@dataclass(frozen=True, slots=True)
class Log:
    """A file that is written to by appending: which inode it is, and what is in it."""

    inode: int
    text: bytes = b""


@dataclass(slots=True)
class Machine:
    """A host. A dead or frozen one does nothing, the dead one has lost its processes; one cut off reaches nobody."""

    up: bool = True
    frozen: bool = False
    cut: bool = False
    full: bool = False
    free: int = 10 * GIBIBYTE
    files: dict[str, bytes] = field(default_factory=dict)
    directories: set[str] = field(default_factory=lambda: set(DIRECTORIES))
    """Those that are there; what is below one that is not cannot be written."""
    owned: dict[str, str] = field(default_factory=dict)
    """The mode and the owner of each file where they are not `OWNED`."""
    logs: dict[str, Log] = field(default_factory=dict)
    """Logs by their paths. An upgrade and its way back leave more in them, so they are no part of what is compared."""

    @property
    def reached(self) -> bool:
        """Whether it answers."""
        return self.up and not self.frozen and not self.cut

    def copy(self) -> "Machine":
        """One that changes by itself."""
        return replace(
            self,
            files=dict(self.files),
            directories=set(self.directories),
            owned=dict(self.owned),
            logs=dict(self.logs),
        )

    def log(self, path: str, text: bytes) -> None:
        """Append to a log, which is made if it is not there."""
        known = self.logs.get(path) or Log(1 + max((it.inode for it in self.logs.values()), default=0))
        self.logs[path] = replace(known, text=known.text + text)

    def make_above(self, path: str) -> None:
        """Make the directories above a path."""
        while (path := posixpath.dirname(path)) not in self.directories:
            self.directories.add(path)

    def within(self, path: str) -> dict[str, bytes]:
        """The files at the path, or below it."""
        return {name: it for name, it in self.files.items() if name == path or name.startswith(f"{path}/")}


@dataclass(slots=True)
class SimulatedNode:
    """A node. `release` is where its link leads, `running` the version of the process there is, if any."""

    host: str
    release: str
    installed: set[str]
    running: str = ""
    well_at: float = 0.0
    """When the process has started up."""
    ill: str = ""
    """The version that is never well here."""
    broken: set[str] = field(default_factory=set)
    """Names of capabilities that fail on this node: how a test makes it misbehave."""
    unflushed: int = 0
    watchdog: bool = False
    """Whether its watchdog runs, which starts it again when it does not."""
    watched: bool = False
    """Whether it has one, which starts with its host."""
    revives_at: float = NEVER
    clean: bool = False
    """Whether its storage was cleaned, and it has not run since."""
    built: set[str] = field(default_factory=set)
    settings: tuple[str, ...] = ()
    """Files on its host that a release brings along: they are lost with every switch, until they are put back."""
    logs: tuple[str, ...] = ()
    """What it writes to when it starts."""
    mutters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Version → lines that it writes then, besides that it has started."""

    @property
    def ails(self) -> bool:
        """Whether what runs is never well here."""
        return bool(self.ill) and self.running == self.ill

    def copy(self) -> "SimulatedNode":
        """One that changes by itself."""
        return replace(
            self,
            installed=set(self.installed),
            broken=set(self.broken),
            built=set(self.built),
            mutters=dict(self.mutters),
        )


@dataclass(slots=True)
class Server:
    """A node as a balancer knows it: what it was told, and what its own health check says.

    `turns_at` is when that verdict turns over, if nothing changes until then. `sessions` are the times at which
    its open sessions end by themselves, in order.
    """

    node: str
    admin: AdminState = AdminState.READY
    up: bool = True
    turns_at: float = NEVER
    sent_at: float = -1.0
    sessions: list[float] = field(default_factory=list)

    @property
    def in_rotation(self) -> bool:
        """Whether new sessions are sent there."""
        return self.admin is AdminState.READY and self.up

    def count(self, now: float) -> int:
        """How many sessions are open."""
        return len(self.sessions) - bisect_right(self.sessions, now)

    def open(self, ends: Iterable[float], now: float) -> None:
        """Begin sessions that end at these times."""
        del self.sessions[: bisect_right(self.sessions, now)]
        self.sessions.extend(ends)
        self.sessions.sort()

    def copy(self) -> "Server":
        """One that changes by itself."""
        return replace(self, sessions=list(self.sessions))


@dataclass(slots=True)
class Pool:
    """A balancer: its servers by name. `process` tells one process of it from the next."""

    host: str
    servers: dict[str, Server]
    process: int = 1
    since: float = 0.0

    def copy(self) -> "Pool":
        """One that changes by itself."""
        return replace(self, servers={name: server.copy() for name, server in self.servers.items()})


@dataclass(slots=True)
class Entrance:
    """A host's part of an access gate: in force now, and after the next boot.

    `let_in` says who was let in by somebody else.
    """

    live: bool = False
    kept: bool = False
    let_in: str = ""

    @property
    def gating(self) -> Gating:
        """What the host reports."""
        if self.live != self.kept or self.let_in:
            return Gating.PARTLY
        return Gating.CLOSED if self.live else Gating.OPEN

    @property
    def evidence(self) -> str:
        """In words."""
        now, then = ("closed" if it else "open" for it in (self.live, self.kept))
        told = now if now == then else f"{now}, and {then} after the next boot"
        return f"{told}; {self.let_in} is let in" if self.let_in else told


@dataclass(slots=True)
class Gate:
    """An access gate. `servers` are the nodes that clients come to through it where no balancer sends them.

    `cut`: sessions that are there when it closes are ended.
    """

    entrances: dict[str, Entrance]
    servers: dict[str, Server] = field(default_factory=dict)
    cut: bool = True

    def copy(self) -> "Gate":
        """One that changes by itself."""
        return replace(
            self,
            entrances={name: replace(it) for name, it in self.entrances.items()},
            servers={name: it.copy() for name, it in self.servers.items()},
        )


@dataclass(frozen=True, slots=True)
class Copy:
    """What is in a snapshot."""

    snapshot: Snapshot
    tables: dict[str, frozenset[int]]
    writes: tuple[range, ...]
    ledger: dict[str, Applied]
    applied: tuple[str, ...]
    partly: frozenset[str] = frozenset()


@dataclass(slots=True)
class Store:
    """A database. `writes` are those of the clients, `tables` the rows that were there before, by their ids.

    `applied` are all migrations in effect in their order, those that the application applies itself among them.
    `partly` are those of the latter that were begun, in either direction, and did not come to their end.
    `closed` is what a restore leaves that did not come to its end. `locked_until` is when the last of the long
    transactions ends that hold a lock on what a migration needs. `waited` is the longest that one has waited for it:
    whoever wants to write waits behind it.
    """

    host: str
    tables: dict[str, frozenset[int]] = field(default_factory=dict)
    writes: list[range] = field(default_factory=list)
    ledger: dict[str, Applied] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)
    partly: set[str] = field(default_factory=set)
    snapshots: dict[str, Copy] = field(default_factory=dict)
    drafts: dict[str, Copy] = field(default_factory=dict)
    closed: bool = False
    locked_until: float = 0.0
    waited: float = 0.0
    missing_privileges: tuple[str, ...] = ()

    @property
    def schema(self) -> str:
        """The migration applied last."""
        return self.applied[-1] if self.applied else ""

    def taken(self, label: str) -> Copy:
        """The finished snapshot; `DatabaseError` if there is none."""
        if label not in self.snapshots:
            raise DatabaseError(f"there is no finished snapshot {label!r}", hint="take it first")
        return self.snapshots[label]

    def copy(self) -> "Store":
        """One that changes by itself."""
        return replace(
            self,
            tables=dict(self.tables),
            writes=list(self.writes),
            ledger=dict(self.ledger),
            applied=list(self.applied),
            partly=set(self.partly),
            snapshots=dict(self.snapshots),
            drafts=dict(self.drafts),
        )
