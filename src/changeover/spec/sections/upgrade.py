# ruff: noqa: RUF012  # pydantic copies defaults
"""The upgrade: from which release to which, how fast, and what holds it."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from changeover.model.release import Batch
from changeover.spec.located import Text
from changeover.spec.sections.base import (
    AS_MAP,
    AS_TEXT,
    FORM,
    Count,
    Duration,
    Identifier,
    Name,
    OneOrMany,
    Positive,
    Section,
    Size,
    Variables,
    checked,
    matching,
)
from changeover.spec.sections.files import Kept, Log, Property
from changeover.spec.sections.timing import People, Schedule, Window

_version = checked(
    matching(re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~:-]{0,99}", re.ASCII), "a version"),
    {"type": ["string", "number"]},
)
Version = Annotated[Text, _version[0], _version[1]]

_BATCH = re.compile(r"(\d{1,4})(%?)", re.ASCII)


def _batch(value: object) -> Batch:
    found = _BATCH.fullmatch(value) if isinstance(value, Text) else None
    if not found:
        raise PydanticCustomError(
            "batch", "expected a number of nodes such as 2, or a percentage such as 50%"
        )
    number = int(found[1])
    if not number or (found[2] and number > 100):  # noqa: PLR2004  # per cent
        raise PydanticCustomError("batch", "expected at least one node, and at most 100%")
    return Batch(percent=number) if found[2] else Batch(count=number)


Ability = Literal["start", "run", "no"]

Batches = Annotated[
    list[Annotated[Any, BeforeValidator(_batch), WithJsonSchema({"type": ["integer", "string"]})]],
    Field(min_length=1),
    OneOrMany(),
]


class Gate(Section):
    """What must be so after a stage before the next begins."""

    after: Text
    hold: Duration | None = None
    wait: Duration | None = None
    approve: bool = False
    who: Annotated[list[Text], OneOrMany()] = []

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.who and not self.approve:
            raise PydanticCustomError("gate", "nobody is asked at this gate: give approve, or leave out who")
        if self.hold is not None and self.wait is not None:
            raise PydanticCustomError("gate", "wait and hold mean the same; give one of them")
        if self.hold is None and self.wait is None and not self.approve:
            raise PydanticCustomError("gate", "this gate waits for nothing: give wait, approve, or both")
        return self


class FailureBudget(Section):
    """How many nodes may fail before the run stops."""

    batch: Count = 0
    total: Count = 0
    consecutive: Count = 0


class Coexistence(Section):
    """What each version can do on the other's schema: be started there, go on running there, or neither.

    `together`: whether nodes of both may run at the same time.
    """

    old_on_new_schema: Ability = "start"
    new_on_old_schema: Ability = "no"
    together: bool = True


class Fallback(Section):
    """When the way back is begun without a person, and how each stage is taken back."""

    when: Annotated[list[Literal["failure", "budget", "gate", "deadline"]], OneOrMany()] = []
    deadline: Annotated[Duration, Field(gt=0)] | None = None
    stages: dict[Text, Literal["undo", "ask", "keep", "forward"]] = {}


class Limits(Section):
    """How much at once, for how long, and what must be free."""

    install: Positive = 16
    drain: Duration = 300.0
    drain_escalation: Literal["wait", "ask", "cut"] = "ask"
    quiet: Duration = 1.0
    disk_free: Size = 256 * 1024 * 1024
    clock_skew: Duration = 5.0


class Flush(Section):
    """How long a flush may make no progress before it counts as stalled, and how often it is asked."""

    stall: Annotated[Duration, Field(gt=0)] = 300.0
    poll: Annotated[Duration, Field(gt=0)] = 2.0


class CommandMigration(Section):
    """A migration that the application performs itself, by its capabilities."""

    name: Name | None = None
    run: Identifier
    observe: Identifier
    node: Text | None = None
    undo: Identifier | None = None


Migration = Annotated[Annotated[Text, AS_TEXT] | Annotated[CommandMigration, AS_MAP], FORM]
MigrationList = Annotated[list[Migration], OneOrMany()]


class Migrations(Section):
    """The changes to one database."""

    expand: MigrationList = []
    contract: MigrationList = []
    lock_timeout: Annotated[Duration, Field(gt=0)] = 2.0
    attempts: Positive = 30
    retry_wait: Duration = 1.0


class Upgrade(Section):
    """The upgrade that is wanted."""

    from_version: Version = Field(alias="from")
    to_version: Version = Field(alias="to")
    strategy: Text = Text("rolling")
    batches: Batches = [Batch(count=1)]
    keep_serving: Count = 1
    gates: Annotated[list[Gate], OneOrMany()] = []
    failure_budget: FailureBudget = FailureBudget()
    limits: Limits = Limits()
    timeouts: dict[Identifier, Annotated[Duration, Field(gt=0)]] = {}
    estimates: dict[Identifier, Duration] = {}
    coexistence: Coexistence = Coexistence()
    fallback: Fallback = Fallback()
    expect: dict[Identifier, Text] = {}
    flush: Flush = Flush()
    migrations: dict[Name, Migrations] = {}
    variables: Variables = {}
    kept: Annotated[list[Kept], OneOrMany()] = []
    properties: Annotated[list[Property], OneOrMany()] = []
    logs: Annotated[list[Log], OneOrMany()] = []
    sign_off: Annotated[list[Name], OneOrMany()] = []
    afterwards: Annotated[list[Text], OneOrMany()] = []
    window: Window | None = None
    schedule: Schedule = {}
    people: People = {}
    channel: Text | None = None
