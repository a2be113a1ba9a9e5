"""The release: from which version to which, with the database changes that go with it."""

from collections.abc import Mapping
from enum import StrEnum

from changeover.model.values import Secret, Value


class SqlMigration(Value, frozen=True, tag_field="kind", tag="sql"):
    """One SQL file. Its text is part of the plan, so that what runs is what was reviewed.

    A transactional migration commits together with its entry in the ledger. None is on a database that has no
    transactions for its schema, and one that cannot run inside of one says so in its first lines:
    `-- changeover: no-transaction`.
    `down` undoes it; without one, the way back is the snapshot.
    """

    name: str
    sql: str
    checksum: str
    transactional: bool = True
    down: str = ""


class CommandMigration(Value, frozen=True, tag_field="kind", tag="command"):
    """A migration that the application performs itself.

    `run` and `observe` name capabilities; `observe` answers `yes` when it is done, `no` when nothing of it is, and
    `partly` where it can tell that.
    `undo`, where there is one, names the capability that takes it back.
    """

    name: str
    run: str
    observe: str
    node: str
    undo: str = ""


class Migrations(Value, frozen=True):
    """The changes to one database: `expand` before the nodes roll, `contract` in finalize."""

    database: str
    expand: tuple[SqlMigration | CommandMigration, ...] = ()
    contract: tuple[SqlMigration | CommandMigration, ...] = ()
    lock_timeout: float = 2.0
    attempts: int = 30
    retry_wait: float = 1.0


class Batch(Value, frozen=True):
    """How many nodes at once: a number, or a percentage of all nodes rounded down, at least one."""

    count: int = 0
    percent: int = 0

    def of(self, total: int) -> int:
        """The number of nodes this comes to among `total`."""
        return self.count or max(1, total * self.percent // 100)

    def __str__(self) -> str:
        """As the operator writes it."""
        return str(self.count) if self.count else f"{self.percent}%"


class Gate(Value, frozen=True):
    """What must be so before the next stage.

    `after` names the stage; `approve` waits for a person, one of `who` if anybody is named; `hold` keeps watching the
    upgraded nodes for so many seconds and fails when one of them stops being healthy.
    """

    after: str
    approve: bool = False
    hold: float = 0.0
    who: tuple[str, ...] = ()


class Budgets(Value, frozen=True):
    """How many nodes may fail before the run stops; a node that fails within them is set aside."""

    batch: int = 0
    total: int = 0
    consecutive: int = 0


class Limits(Value, frozen=True):
    """How much happens at once, and for how long at most (seconds)."""

    install: int = 16
    timeouts: Mapping[str, float] = {}
    drain: float = 300.0
    drain_escalation: str = "stop"
    quiet: float = 1.0
    disk_free: int = 256 * 1024 * 1024
    clock_skew: float = 5.0


class Ability(StrEnum):
    """What a version can do on a schema: be started there, go on running there, or neither."""

    START = "start"
    RUN = "run"
    NO = "no"


class Coexistence(Value, frozen=True):
    """What each version can do on the other's schema. It decides in which order the way back goes.

    `together` says whether nodes of both may run at the same time in one cluster.
    """

    old_on_new: Ability = Ability.START
    new_on_old: Ability = Ability.NO
    together: bool = True


class Cause(StrEnum):
    """Why a run cannot go on."""

    FAILURE = "failure"
    BUDGET = "budget"
    GATE = "gate"
    DEADLINE = "deadline"
    WINDOW = "window"
    INTERLOCK = "interlock"


class Fallback(Value, frozen=True):
    """When the way back is begun without a person, and how each stage is to be taken back.

    `deadline` is how many seconds after the run began it must have been verified; 0: there is none.
    `stages` names the direction of a stage other than the strategy's own.
    """

    when: frozenset[Cause] = frozenset()
    deadline: float = 0.0
    stages: Mapping[str, str] = {}


class Late(StrEnum):
    """What is done at the latest safe moment: stop and ask a person, or begin the way back."""

    ASK = "ask"
    FALL_BACK = "fall-back"


class Window(Value, frozen=True):
    """The time in which the site may be closed: seconds since the epoch, told to people in the time zone `zone`.

    The latest safe moment is `closes`, less the time that the way back takes, less `margin` (seconds). `warn` is how
    many seconds ahead of it people are told.
    """

    opens: float
    closes: float
    zone: str = "UTC"
    margin: float = 0.0
    warn: float = 900.0
    late: Late = Late.ASK


class Duty(Value, frozen=True):
    """Who owns a step or a stage, and when it is planned to begin (seconds since the epoch; 0: no time is set)."""

    owner: str = ""
    at: float = 0.0


class Person(Value, frozen=True):
    """Somebody who takes part, and how they are reached."""

    name: str
    contact: str = ""


class Expectation(Value, frozen=True):
    """What the application must answer to a question before anything is stopped."""

    ask: str
    answer: str


class Flush(Value, frozen=True):
    """How long a flush may make no progress before it counts as stalled, and how often it is asked (seconds)."""

    stall: float = 300.0
    poll: float = 2.0


class Kept(Value, frozen=True):
    """Files or directories of each node that are copied to a directory outside of the installation, and put back."""

    paths: tuple[str, ...]
    to: str


class Property(Value, frozen=True):
    """A key of a properties file on each node: its value while a new version starts for the first time, and after."""

    file: str
    key: str
    first: str
    then: str


class KnownIssue(Value, frozen=True):
    """What may stand in a log: at most `most` times, in that version and step (empty: any), until `expires`.

    `expires` is in seconds since the epoch, 0: never; `owner` is who has looked into it.
    """

    pattern: str
    most: int = 1
    version: str = ""
    step: str = ""
    owner: str = ""
    expires: float = 0.0


class LogWatch(Value, frozen=True):
    """A log of each node, read from where it stood when the node was started.

    A line that matches one of `errors` and none of `known` stops the run, and is shown with `context` lines around it.
    """

    path: str
    errors: tuple[str, ...]
    known: tuple[KnownIssue, ...] = ()
    context: int = 3


class Moment(StrEnum):
    """What people are told of."""

    WINDOW_OPENS = "window-opens"
    WAITS = "waits"
    GO_NO_GO = "go-no-go"
    LATEST_SAFE_MOMENT = "latest-safe-moment"
    OPENED = "opened"
    STOPPED = "stopped"
    FALLS_BACK = "falls-back"
    ENDED = "ended"


class Notice(Value, frozen=True):
    """Who is told of which moments: `to` is an address that Apprise understands."""

    name: str
    to: Secret
    on: frozenset[Moment] = frozenset(Moment)


class Release(Value, frozen=True):
    """The upgrade that is wanted. `estimates`: kind of action → how many seconds it takes, as a rule.

    `duties`: stage or step → who owns it, and when. `sign_off` names who must agree before the site is opened;
    `afterwards` is left to do for people when the upgrade is done.
    """

    from_version: str
    to_version: str
    strategy: str = "rolling"
    batches: tuple[Batch, ...] = (Batch(count=1),)
    keep_serving: int = 1
    gates: tuple[Gate, ...] = ()
    budgets: Budgets = Budgets()
    limits: Limits = Limits()
    migrations: tuple[Migrations, ...] = ()
    variables: Mapping[str, str] = {}
    coexistence: Coexistence = Coexistence()
    fallback: Fallback = Fallback()
    estimates: Mapping[str, float] = {}
    window: Window | None = None
    duties: Mapping[str, Duty] = {}
    people: tuple[Person, ...] = ()
    channel: str = ""
    sign_off: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    flush: Flush = Flush()
    kept: tuple[Kept, ...] = ()
    properties: tuple[Property, ...] = ()
    logs: tuple[LogWatch, ...] = ()
    afterwards: tuple[str, ...] = ()
