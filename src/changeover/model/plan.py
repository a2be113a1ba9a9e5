"""The plan: stages of steps, as data that can be read, stored, compared and executed later."""

import hashlib
from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from changeover.model.release import Release
from changeover.model.site import Site
from changeover.model.values import Json, Value

FORMAT = 1
"""Of the plan's JSON. A plan of another format is refused, not guessed at."""


BACK = "back/"
"""What the names of the steps of a way back begin with; no node is called that."""


ACTIVE = "active"
"""The state of a deployment that sends, and so is flushed."""


def snapshot_label(label: str, run: str) -> str:
    """The name under which a run keeps the snapshot that its plan calls `label`."""
    return f"{label}.{run}"


class Operation(Value, frozen=True):
    """What is done: the kind of action, the name of what it is done to, and its parameters."""

    action: str
    target: str
    params: Mapping[str, Json] = {}


class Direction(StrEnum):
    """Where a run goes that cannot go on in a stage, and what becomes of the stage when a later one fails.

    *undo*: it is taken back. *ask*: only when a person agrees. *keep*: it stays, while what is before and
    after it is taken back. *forward*: from there on there is no way back.
    """

    UNDO = "undo"
    ASK = "ask"
    KEEP = "keep"
    FORWARD = "forward"


class Step(Value, frozen=True):
    """One operation in the plan.

    `id` is stable and readable (`app1/drain`). `needs` names steps of the same stage, or of earlier ones,
    that come first. `limits` names the limits of the plan that it takes a place in. Times are seconds.
    `undo` are the steps, one after another, that take it back, also when it is half done; they are made
    while planning, from the facts then known. `restore` labels the snapshot that takes it back where they
    cannot. Where there is neither, `undo_note` says why.
    `unit` is what the failure budgets count: the node that the step belongs to.
    `person` marks a gate: it waits for `approve` and is never performed; `who` names those who may give it, anybody
    if it is empty. `owner` is whose step it is, and `planned` when it is to begin (seconds since the epoch; 0: no time
    is set). `answers`: what a person may choose when it has failed, instead of only trying again → what that does.
    `estimate` is the median of what it took here before, and `at_worst` the 90th percentile, as `basis` says; without
    a history there is but one.
    """

    id: str
    do: Operation
    summary: str
    undo: tuple["Step", ...] = ()
    restore: str = ""
    undo_note: str = ""
    needs: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    timeout: float = 60.0
    attempts: int = 1
    retry_wait: float = 0.0
    estimate: float = 0.0
    at_worst: float = 0.0
    basis: str = ""
    unit: str = ""
    person: bool = False
    who: tuple[str, ...] = ()
    owner: str = ""
    planned: float = 0.0
    answers: Mapping[str, str] = {}


class Promise(Value, frozen=True):
    """What a stage is to cost at the most; the receipt is held against it. None: nothing is promised of that."""

    requests_failed: int | None = 0
    sessions_cut: int | None = 0
    writes_lost: int = 0


class Stage(Value, frozen=True):
    """Steps between two barriers: none begins before every step of the stages before has ended.

    `in_rotation` is how many nodes serve at the least while it runs. `finalize` marks the stage that gives
    up the way back: its gate stays shut while a skipped step is not addressed. `affected` says who notices.
    `back` is the direction of the way out of it; finalize always goes *forward*.
    `whole` marks one that begins only while no unit is set aside: what it does, all of them must be ready for.
    `outage` marks a stage in which a person has agreed that nobody is served: no floor holds in it.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    in_rotation: int = 0
    affected: str = "nobody"
    promise: Promise = Promise()
    finalize: bool = False
    batch: int = 0
    back: Direction = Direction.UNDO
    whole: bool = False
    outage: bool = False


class Facts(Value, frozen=True):
    """What was seen of the live site when the plan was made; the run refuses a site where it differs.

    `versions`: node → running version. `pools`: balancer → server → admin state. `schemas`: database →
    names of the migrations in its ledger. `servers`: database → server version. `deployments`: what of the
    application is flushed by itself → `active` or `inactive`.
    """

    versions: Mapping[str, str] = {}
    pools: Mapping[str, Mapping[str, str]] = {}
    schemas: Mapping[str, tuple[str, ...]] = {}
    servers: Mapping[str, str] = {}
    deployments: Mapping[str, str] = {}


class Budget(Value, frozen=True):
    """At most `limit` units may fail: in one batch, in the whole run, or one after another."""

    scope: str
    limit: int
    unit: str = "nodes"


class Plan(Value, frozen=True):
    """What will happen, in full: nothing is decided later that could have been decided here."""

    site: Site
    release: Release
    stages: tuple[Stage, ...]
    facts: Facts = Facts()
    limits: Mapping[str, int] = {}
    budgets: tuple[Budget, ...] = ()
    format: int = FORMAT

    def steps(self) -> Iterator[Step]:
        """Every step, in the order of the stages."""
        for stage in self.stages:
            yield from stage.steps

    def to_json(self) -> bytes:
        """The plan as JSON, the same bytes for the same plan."""
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def from_json(cls, data: bytes | str) -> "Plan":
        """The plan again; raises `msgspec.ValidationError` for anything that is not one."""
        return msgspec.json.decode(data, type=cls)

    def digest(self) -> str:
        """Names exactly this plan, also once it was written and read back: 64 hexadecimal digits."""
        read_back = Plan.from_json(self.to_json())  # in which 30 and 30.0 are the same number
        return hashlib.sha256(read_back.to_json()).hexdigest()
