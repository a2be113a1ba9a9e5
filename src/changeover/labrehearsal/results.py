"""What the cases on the lab have come to, as data."""

from changeover.model.values import Value
from changeover.rehearsal import End, Finding, Line

FORMAT = 1
"""Of its JSON."""


class Played(Value, frozen=True):
    """One case: what befell in which stage, how it ended, and what it cost. Times are seconds.

    `asked` is how often a person was asked. `in_rotation` is the least that the balancer reported, `gap` the longest time
    without an answer to anybody. `writes_given_up` came after the snapshot that a person agreed to restore from.
    """

    case: str
    stage: str
    end: End
    befell: tuple[str, ...]
    asked: int
    in_rotation: int
    requests_failed: int
    sessions_cut: int
    writes_acknowledged: int
    writes_lost: int
    writes_given_up: int
    gap: float
    way_back: float
    took: float
    trace: tuple[Line, ...] = ()


class LeftOut(Value, frozen=True):
    """Cases of a stage that were not played."""

    stage: str
    cases: tuple[str, ...]


class OnHosts(Value, frozen=True):
    """Cases of a rehearsal, played on real hosts. `beyond` are the faults that only the simulated site can bring about."""

    format: int
    site: str
    lab: str
    form: str
    plan: str
    from_version: str
    to_version: str
    nodes: int
    stages: tuple[str, ...]
    cases: tuple[Played, ...]
    left_out: tuple[LeftOut, ...]
    beyond: tuple[str, ...]
    findings: tuple[Finding, ...]
    took: float
