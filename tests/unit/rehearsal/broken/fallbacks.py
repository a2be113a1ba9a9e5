"""Ways back that lead elsewhere."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from changeover.engine import commands
from changeover.fallback import Reached, way_back
from changeover.fallback.reached import Begun
from changeover.fallback.rolling import nodes
from changeover.fallback.steps import within
from changeover.model.plan import Operation, Plan, Stage, Step
from tests.unit.rehearsal.broken.breaking import BY_SNAPSHOT, LEADS, WRITES, Broken
from tests.unit.rehearsal.broken.plans import never_asked

TAKEN = f"{commands.__name__}.way_back"


def without_the_half_done(plan: Plan, reached: Mapping[str, Reached]) -> Plan:
    """Only what is wholly done is taken back."""
    return way_back(plan, {step: it for step, it in reached.items() if it.done})


def well_before_it_is_stopped(plan: Plan, reached: Mapping[str, Reached]) -> Plan:
    """Each node is to be well before it is stopped."""
    back = way_back(plan, reached)
    return msgspec.structs.replace(back, stages=tuple(map(_waiting, back.stages)))


def _waiting(stage: Stage) -> Stage:
    steps: list[Step] = []
    for step in stage.steps:
        if step.do.action == "node.stop":
            wait = msgspec.structs.replace(step, id=f"{step.id}-well", do=Operation("node.health", step.unit))
            steps += [wait, msgspec.structs.replace(step, needs=(wait.id,))]
        else:
            steps.append(step)
    return msgspec.structs.replace(stage, steps=tuple(steps))


def schema_first(schemas: list[Stage], batches: list[Stage], begun: Begun) -> Iterator[Stage]:
    """Whatever the versions can live on."""
    yield from schemas
    yield from nodes(batches, begun)


def without_asking(_name: str, _summary: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, and no gate before them."""
    return within(steps)


def one_stage_short(plan: Plan, reached: Mapping[str, Reached]) -> Plan:
    """All of it but the last stage."""
    back = way_back(plan, reached)
    return msgspec.structs.replace(back, stages=back.stages[:-1])


FALLBACKS = {
    "forgets-the-half-done": Broken(
        what="the way back forgets a step that was begun and not finished",
        patches={TAKEN: without_the_half_done},
        case="app1/switch:says-failed:abort:retry:retry",
        rule=LEADS,
        says="back-expand waits for app1",
    ),
    "waits-for-the-ill": Broken(
        what="the way back waits for the health of the node that it is about to replace, which never comes",
        patches={TAKEN: well_before_it_is_stopped},
        case="app1/start:never-well:abort-unmended",
        rule="the way back needs nothing mended",
        says="back-expand waits for app1",
    ),
    "schema-first": Broken(
        what="the way back takes the schema from under nodes of the new version; the interlock stops it",
        patches={"changeover.fallback.rolling.ordered": schema_first},
        case="app2/drain:fails-before:abort:retry:retry",
        rule=LEADS,
        says="no forbidden pair",
    ),
    "schema-first-unguarded": Broken(
        what="the same, and no interlock is asked",
        patches={
            "changeover.fallback.rolling.ordered": schema_first,
            "changeover.engine.guard.Guard.before": never_asked,
            "changeover.engine.guard.Guard.after": never_asked,
        },
        case="app2/drain:fails-before:abort",
        rule="no forbidden pair",
        says="v2 runs with main at its first schema",
    ),
    "restores-without-asking": Broken(
        what="the way back restores a database, and nobody has agreed to what that loses",
        sound=BY_SNAPSHOT,
        patches={"changeover.fallback.schema.gated": without_asking},
        case="app1/drain:fails-before:abort",
        rule=WRITES,
    ),
    "leaves-the-last-stage": Broken(
        what="the way back ends one stage too early",
        patches={TAKEN: one_stage_short},
        case="app1/drain:fails-before:abort",
        rule="fell back to where it began",
        says="installed",
    ),
}
