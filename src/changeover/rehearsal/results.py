"""What a rehearsal has come to, as data."""

from enum import StrEnum

from changeover.model.values import Value
from changeover.rehearsal.cases import Kind

FORMAT = 1
"""Of a rehearsal's JSON."""


class End(StrEnum):
    """How a case ended."""

    DONE = "done"
    FELL_BACK = "fell back"
    STOPPED = "stopped safely"
    FINDING = "finding"


class Ending(Value, frozen=True):
    """One case: what struck in which stage, and how it ended. A pair belongs to the stage of its first fault."""

    case: str
    stage: str
    kind: Kind
    end: End


class Line(Value, frozen=True):
    """A line of a trace; `at` is in seconds since the run began."""

    at: float
    text: str


class Finding(Value, frozen=True):
    """A case that broke a rule, at that second of the run; `cases` is how many broke it in the same way.

    The case is the shortest of them: the fewest faults, the fewest answers, the earliest step.
    """

    case: str
    rule: str
    what: str
    at: float
    cases: int = 1
    trace: tuple[Line, ...] = ()


class Question(Value, frozen=True):
    """What a person is asked. `first` is after how many seconds of the run at the earliest, in which case."""

    stage: str
    text: str
    hint: str
    back: bool
    gate: bool
    replies: tuple[str, ...]
    cases: int
    first: float
    case: str


class Worst(Value, frozen=True):
    """The worst of something: how bad, and in which case."""

    what: str
    value: float
    case: str


class Alike(Value, frozen=True):
    """A target whose faults were rehearsed, and those that it stands for."""

    target: str
    stands_for: tuple[str, ...]
    why: str


class Cell(Value, frozen=True):
    """How the cases of one stage and one fault have ended."""

    stage: str
    kind: Kind
    done: int = 0
    fell_back: int = 0
    stopped: int = 0
    findings: int = 0


class Rehearsal(Value, frozen=True, omit_defaults=False):
    """Every fault at every step, and what came of each. Times are seconds.

    `cases` were judged, in `plays`: each goes from a fault or an answer to the next question, or to a state that had been
    played from before.
    `took` is how long the run lasts in which nothing goes wrong, finalize included. `capacity` is per balancer.
    """

    plan: str
    site: str
    from_version: str
    to_version: str
    nodes: int
    steps: int
    rehearsed_steps: int
    seed: int
    pairs: int
    cases: int
    plays: int
    took: float
    clients: str
    table: tuple[Cell, ...] = ()
    findings: tuple[Finding, ...] = ()
    questions: tuple[Question, ...] = ()
    capacity: tuple[Worst, ...] = ()
    outages: tuple[Worst, ...] = ()
    way_back: Worst | None = None
    alike: tuple[Alike, ...] = ()
    format: int = FORMAT


class Replay(Value, frozen=True):
    """One case again, with everything that happened from the moment before the first fault."""

    case: str
    end: End
    findings: tuple[Finding, ...]
    trace: tuple[Line, ...]
    asks: str = ""
    replies: tuple[str, ...] = ()
