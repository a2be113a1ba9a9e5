"""How something is broken on purpose, and what a rehearsal of it finds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from changeover.actions import ACTIONS
from changeover.actions.base import Action
from changeover.model.plan import Facts, Plan, Stage, Step
from changeover.model.release import Migrations, Release
from changeover.rehearsal import Finding, parse
from changeover.rehearsal.exploring import Explorer
from changeover.rehearsal.rehearsing import tallied
from changeover.simulation import SimulatedSite
from changeover.strategies import STRATEGIES
from tests.sites import CONTRACT, EXPAND, a_release, a_site

NOTHING = "nothing"

WITHOUT_A_FAULT = "without a fault it is done"
IS_THERE = "what is done is there"
LEADS = "an answer leads somewhere"
LOST = "nothing is lost"
WRITES = "no acknowledged write is lost"
BEGAN = "fell back to where it began"
FLOOR = "capacity floor"
FIT = "in rotation is running, well and of an allowed version"


ONE_SERVES = a_release(keep_serving=1)


@dataclass(frozen=True, slots=True)
class Sound:
    """What is not broken: a plan of so many nodes, and the kind of site that it is rehearsed on."""

    nodes: int = 2
    release: Release = ONE_SERVES
    site: type[SimulatedSite] = SimulatedSite
    make: Callable[[], Plan] | None = None

    def plan(self) -> Plan:
        """As the strategy makes it."""
        if self.make:
            return self.make()
        return STRATEGIES["rolling"](a_site(self.nodes), self.release, Facts())


PLAIN = Sound()

BY_SNAPSHOT = Sound(
    release=a_release(
        keep_serving=1,
        migrations=(Migrations("main", (msgspec.structs.replace(EXPAND, down=""),), (CONTRACT,)),),
    )
)
"""The expand migration has no down script: only the snapshot takes it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One thing that is broken, in a line, and the rule by which that case finds it out.

    `plan` edits the sound plan. `actions` and `site` take the place of the sound ones, `patches` (dotted name → value)
    that of code. `says` is in what was found.
    """

    what: str
    rule: str
    says: str = ""
    case: str = NOTHING
    sound: Sound = PLAIN
    plan: Callable[[Plan], Plan] = lambda plan: plan
    actions: Mapping[str, Action] = field(default_factory=dict)
    site: type[SimulatedSite] | None = None
    patches: Mapping[str, object] = field(default_factory=dict)


def findings(
    plan: Plan, actions: Mapping[str, Action], site: type[SimulatedSite], case: str
) -> list[Finding]:
    """What is wrong with that case, and with no other."""
    explorer = Explorer(plan, {**ACTIONS, **actions}, site_kind=site)
    nothing = explorer.nothing()
    outcome = nothing if case == NOTHING else explorer.follow(parse(case))
    return list(tallied(explorer, [outcome]).findings.values())


def of_sound(it: Broken) -> list[Finding]:
    """What is wrong with the same case while nothing is broken."""
    return findings(it.sound.plan(), {}, it.sound.site, it.case)


def of_broken(it: Broken) -> list[Finding]:
    """What is wrong with it once it is; to be called with the patches in place."""
    return findings(it.plan(it.sound.plan()), it.actions, it.site or it.sound.site, it.case)


# Edits of a plan


def edited(change: Callable[[Step], Iterable[Step]]) -> Callable[[Plan], Plan]:
    """Every step as `change` has it: another, several, or none."""

    def edit(plan: Plan) -> Plan:
        return msgspec.structs.replace(plan, stages=tuple(map(stage, plan.stages)))

    def stage(it: Stage) -> Stage:
        return msgspec.structs.replace(it, steps=tuple(new for step in it.steps for new in change(step)))

    return edit


def one(name: str, **changes: object) -> Callable[[Plan], Plan]:
    """That step with these changes."""
    return edited(lambda step: (msgspec.structs.replace(step, **changes) if step.id == name else step,))


def without(name: str) -> Callable[[Plan], Plan]:
    """The plan without that step, and nobody needs it."""

    def change(step: Step) -> Iterable[Step]:
        if step.id != name:
            yield msgspec.structs.replace(step, needs=tuple(need for need in step.needs if need != name))

    return edited(change)
