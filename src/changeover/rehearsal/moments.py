"""Where plays begin and end, and what is known of them: so that nothing is played twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from changeover.engine.memory import MemoryJournal
from changeover.model.states import RunState
from changeover.rehearsal import sameness
from changeover.rehearsal.asking import Asked
from changeover.rehearsal.cases import Answer
from changeover.rehearsal.excusing import Excuse
from changeover.rehearsal.striking import Armed
from changeover.rehearsal.watching import Costs, Violation
from changeover.simulation import Call, SimulatedSite


@dataclass(slots=True)
class Moment:
    """Where a play can go on from: nothing is in flight. `seq` is the last event of the run by then.

    `agreed` are the databases whose restore a person has agreed to.
    """

    site: SimulatedSite
    journal: MemoryJournal
    run: str
    seq: int
    armed: tuple[Armed, ...] = ()
    excuses: tuple[Excuse, ...] = ()
    agreed: frozenset[str] = frozenset()

    @property
    def at(self) -> float:
        """Seconds since the epoch."""
        return self.site.clock.now()


@dataclass(slots=True, eq=False)
class Rest:
    """Where plays end: the run has ended, or a person is asked. What is answered leads to the next rest."""

    state: RunState
    moment: Moment
    asked: Asked | None = None
    back_where_it_began: bool = False
    answers: dict[Answer, "Played"] = field(default_factory=dict)


@dataclass(slots=True)
class Played:
    """What came of one play. `rest` is None if the engine itself failed. `trace` is there when it was asked for.

    `back` is how many seconds it was on its way back, those in which a person thinks not counted, and `back_since` when that
    began (-1: it did not go back).
    """

    rest: Rest | None
    violations: list[Violation]
    costs: Costs
    back: float = 0.0
    took: float = 0.0
    joined: bool = False
    trace: list[tuple[float, str]] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    back_since: float = -1.0


@dataclass(slots=True)
class Rested:
    """What a play comes to from a state on: where it rests, after how many seconds, and what nobody has for how long."""

    rest: Rest
    seconds: float
    missed: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Known:
    """What plays have come to before, by the state from which they went on."""

    on_the_way: dict[sameness.Key, Rested] = field(default_factory=dict)
    at_rest: dict[sameness.Key, Rest] = field(default_factory=dict)


@dataclass(slots=True)
class Base:
    """What is known from the run in which nothing goes wrong.

    `moments`: step → where a play begins that strikes it. `calls`: step → the calls that it makes.
    """

    before: Mapping[str, object] = field(default_factory=dict)
    moments: dict[str, Moment] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=dict)
    actions: dict[str, str] = field(default_factory=dict)

    def effects(self, step: str) -> int:
        """How many calls of the step change something."""
        return sum(call.effect for call in self.calls.get(step, ()))

    def looks(self, step: str, action: str) -> bool:
        """Whether the step changes nothing; a step that was not seen is like those of its kind that were."""
        if step in self.calls:
            return not self.effects(step)
        alike = [name for name, kind in self.actions.items() if kind == action and name in self.calls]
        return bool(alike) and not any(map(self.effects, alike))
