"""What actions and checks may ask of the world: narrow protocols, each with a read-back.

Every method raises the error of its port (`HostError`, `BalancerError`, `DatabaseError`, `ApplicationError`,
`AccessError`) when the world does not answer as written here. Times are seconds.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from changeover.model.release import SqlMigration
from changeover.model.values import Value


class Clock(Protocol):
    """The time, and waiting; simulated in rehearsal and in tests."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so long."""
        ...


# Host


@dataclass(frozen=True, slots=True)
class Command:
    """A shell line for a host.

    `secrets` become environment variables of the line and travel by standard input, never in arguments;
    they are left out of `repr`. `become` runs it with the host's means of gaining rights.
    """

    line: str
    become: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a command came to. Output is decoded as UTF-8, undecodable bytes replaced."""

    status: int
    stdout: str
    stderr: str


class LogFile(Value, frozen=True):
    """A file on a host: its name, which inode it is, and its size in bytes."""

    path: str
    inode: int
    size: int


class Stream(Protocol):
    """Two-way bytes to a socket that the host can reach."""

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        ...

    async def read_until(self, end: bytes) -> bytes:
        """Everything up to and including `end`."""
        ...

    async def close(self) -> None:
        """Close it; closing twice is fine."""
        ...


class Host(Protocol):
    """A machine. Connections are kept open, and opened again when they were lost."""

    name: str

    async def run(self, command: Command) -> Result:
        """Run it to its end. A non-zero status is a result, not an error; no answer in time is one."""
        ...

    async def read(self, path: str, *, become: bool = False) -> bytes | None:
        """The file's content, or None if there is no such file."""
        ...

    async def write(
        self,
        path: str,
        content: bytes,
        *,
        mode: int | None = 0o644,
        become: bool = False,
        parents: bool = False,
    ) -> None:
        """Replace the file in one step: readers see the old content or the new.

        Without a `mode` the file keeps the one it has. `parents` makes the directories above it that are missing.
        """
        ...

    async def tree(self, path: str, *, become: bool = False) -> Mapping[str, str] | None:
        """What is there: each path within, `.` for itself → its kind, mode, owner, and SHA-256 or target; None: nothing.

        A symbolic link at the path itself is followed, those within are not.
        """
        ...

    async def copy(self, source: str, target: str, *, become: bool = False) -> None:
        """Make the target what the source is, with modes and owners; the directories above it are made.

        Until all of the copy is there the target is what it was. A link at either path is followed.
        """
        ...

    async def remove(self, path: str, *, become: bool = False) -> None:
        """Remove it with all that is below; nothing there is fine."""
        ...

    async def beside(self, path: str, *, become: bool = False) -> Sequence[LogFile]:
        """The file, and those beside it whose names begin with its name, as a rotated log's do."""
        ...

    async def read_part(self, path: str, start: int, size: int, *, become: bool = False) -> bytes:
        """At most so many bytes of the file from there on; fewer only where it ends."""
        ...

    async def connect_unix(self, path: str, *, become: bool = False) -> Stream:
        """A stream to a unix socket on the host."""
        ...

    async def connect_tcp(self, address: str, port: int) -> Stream:
        """A stream to a port as the host reaches it."""
        ...

    def forward(self, address: str, port: int) -> AbstractAsyncContextManager[tuple[str, int]]:
        """While open, an address and port on the conductor's loopback that lead to `address:port` there."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


# Balancer


class AdminState(StrEnum):
    """What a balancer was told about a server."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


class ServerState(Value, frozen=True):
    """What a balancer reports about one server of the pool.

    `up` is the verdict of its own health check. `sessions` and `queued` are those it counts now;
    `idle` is how many seconds ago it last sent one there (-1: never).
    """

    name: str
    admin: AdminState
    up: bool
    sessions: int
    queued: int
    idle: int
    address: str = ""
    check: str = ""

    @property
    def in_rotation(self) -> bool:
        """Whether new sessions are sent there."""
        return self.admin is AdminState.READY and self.up


class Balancer(Protocol):
    """A pool of servers."""

    name: str

    async def servers(self) -> Mapping[str, ServerState]:
        """Every server of the pool by name, as the balancer reports it now."""
        ...

    async def set_state(self, server: str, state: AdminState) -> None:
        """Return once the balancer itself reports that state."""
        ...

    async def cut(self, server: str) -> None:
        """End every session of that server, at once."""
        ...

    async def version(self) -> str:
        """What the balancer calls itself, and since when it has been running: `2.6.12 pid 411`."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


# Database


class Snapshot(Value, frozen=True):
    """A snapshot on the database's host. `rows` maps each table to its row count within it.

    `fingerprint` names the data in it: equal for a database restored from it, whatever the host.
    """

    label: str
    path: str
    size: int
    sha256: str
    rows: Mapping[str, int]
    fingerprint: str
    taken_at: float
    verified: bool = False


class Applied(Value, frozen=True):
    """An entry in the migration ledger. `finished_at` is 0 while it is under way, or since it died there."""

    name: str
    checksum: str
    started_at: float
    finished_at: float


def restoring(label: str) -> str:
    """The entry that stands unfinished in the ledger while a restore is there in part.

    No migration has that name: there is a blank in it.
    """
    return f"restore {label}"


class ServerFacts(Value, frozen=True):
    """What a database server says of itself and of us. `directory`: where its files are, if we may know."""

    version: str
    size: int
    now: float
    missing_privileges: Sequence[str] = ()
    directory: str = ""


class Database(Protocol):
    """One database, its snapshots, and the ledger of its migrations (table `changeover_migration`)."""

    name: str

    async def facts(self) -> ServerFacts:
        """Version, size in bytes, the server's clock, and which of the rights we need are missing."""
        ...

    async def snapshot(self, label: str) -> Snapshot:
        """Take a snapshot under that label, consistent while others write. One that is there is returned."""
        ...

    async def find_snapshot(self, label: str) -> Snapshot | None:
        """The finished snapshot of that label; one that was cut short does not count."""
        ...

    async def verify_snapshot(self, label: str) -> Snapshot:
        """Restore it into a scratch database, compare every table with the snapshot, and mark it verified.

        The scratch database is gone afterwards. `DatabaseError` names the tables that differ.
        """
        ...

    async def drop_snapshot(self, label: str) -> None:
        """Remove it, and what a snapshot cut short has left."""
        ...

    async def restore(self, label: str) -> None:
        """Put the database back to the verified snapshot, whoever is connected, and compare.

        One that was cut short has changed nothing, or has left the database closed, or an entry `restoring(label)`
        in the ledger; restoring again completes it.
        """
        ...

    async def ledger(self) -> tuple[Applied, ...]:
        """The migrations applied or begun, in their order; none if there is no ledger yet."""
        ...

    async def migrate(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Apply it and write it down, and return what the server said.

        A transactional one is applied together with its entry or not at all. `LockTimeoutError` if a lock
        was not granted in time: nothing has changed then, and no other session waited longer than that.
        """
        ...

    async def revert(self, migration: SqlMigration, *, lock_timeout: float) -> str:
        """Run its `down` text and strike it from the ledger, together or not at all."""
        ...

    async def forget(self, name: str) -> None:
        """Strike an unfinished migration from the ledger, after a person has set right what it left."""
        ...

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


# Application


class Answer(Value, frozen=True):
    """What the application said: whether it is well, the value asked for, and the words it came in."""

    ok: bool
    value: str
    evidence: str


class Application(Protocol):
    """The application through its bindings. `node` is a node's name; `values` fill the binding's template."""

    def can(self, capability: str) -> bool:
        """Whether that capability has a binding."""
        ...

    async def do(self, capability: str, node: str, *, timeout: float = ..., **values: str) -> str:
        """Perform it and return the evidence; `ApplicationError` if the binding did not succeed.

        What is still at work after `timeout` is ended where it runs, not only waited for no longer. `BusyError` if
        a conductor that is gone had begun the like there, and it was at work until now.
        """
        ...

    async def do_then_ask(
        self, capability: str, question: str, node: str, *, timeout: float = ..., **values: str
    ) -> tuple[str, Answer | None]:
        """Perform it, then ask that, with one round trip where there can be one; None if there was no answer.

        The `values` are for what is performed.
        """
        ...

    async def ask(self, capability: str, node: str, **values: str) -> Answer:
        """Ask it. An answer that is not well is an answer; only no answer at all is an error."""
        ...

    def recent(self, question: str, node: str, seconds: float) -> Answer | None:
        """The last answer of `do_then_ask`, if it is at most so old and nothing was performed on the node since."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


# Access


class Gating(StrEnum):
    """What a host reports of a gate: nothing of it is there, all of it, or neither. *unknown*: it does not answer."""

    OPEN = "open"
    CLOSED = "closed"
    PARTLY = "partly"
    UNKNOWN = "unknown"


class GateState(Value, frozen=True):
    """One host's part of a gate; `evidence` says what is there, and what differs where it is there in part."""

    gating: Gating
    evidence: str


class Seen(StrEnum):
    """What the public gets at a port: refused, no answer in time, the maintenance page, or the application."""

    REFUSED = "refused"
    SILENT = "silent"
    PAGE = "page"
    APPLICATION = "application"


class Access(Protocol):
    """A gate in front of the application: while it is closed, nobody but the allowlist comes in.

    It stays as it is when the conductor dies, and when its hosts boot. Whatever it is told, the conductor comes in.
    """

    name: str

    async def state(self) -> Mapping[str, GateState]:
        """Each of its hosts by name, as the host itself reports it now, if it does."""
        ...

    async def shut(self) -> Mapping[str, GateState]:
        """Close it on every host, and return once each reports it closed; closed already, it is mended."""
        ...

    async def reopen(self) -> Mapping[str, GateState]:
        """Take away what `shut` has made and nothing else; return once each host reports nothing of it."""
        ...

    async def seen_from(self, outside: str) -> Mapping[str, Seen]:
        """What that host of the public gets at each of the gate's public ports: `app1:8080` → what it saw."""
        ...

    async def version(self) -> str:
        """What the packet filter of the hosts calls itself; an error says what is missing to use it."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


# Notifiers


class Notifier(Protocol):
    """A way to tell people something. Nothing comes back, and nothing of the site is changed by it."""

    name: str

    async def send(self, title: str, text: str) -> None:
        """Return once whoever delivers it has taken it; `NotifierError` if nobody has, within 30 s."""
        ...


@dataclass(frozen=True)
class World:
    """All ports of one site, by the names the operator gave."""

    hosts: Mapping[str, Host]
    balancers: Mapping[str, Balancer]
    databases: Mapping[str, Database]
    application: Application
    clock: Clock
    access: Mapping[str, Access] = field(default_factory=dict)
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
