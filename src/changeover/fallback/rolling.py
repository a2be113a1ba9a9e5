"""The way back of what went node after node.

    what is out of rotation comes back first: it lowers nothing
    then the nodes that serve the new version, batch after batch, the latest first, above the same floor
    then the schema, by its down scripts or, where there is none, by the snapshot
    then everything is verified, and what was staged is removed

Where the old version cannot be started on the new schema the schema goes first; where the new version cannot
live on the old schema either, its nodes leave before that and come back after it.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from changeover.fallback.reached import Begun, migrates
from changeover.fallback.schema import schema
from changeover.fallback.stages import taking_back, undone, verified, whole
from changeover.fallback.steps import by_unit, gated, in_reverse, within
from changeover.model.plan import Stage, Step
from changeover.model.release import Ability
from changeover.model.words import count

LEAVES = "node.stop"
"""The last thing that is done to a node before its version may be changed."""

STOPPED = frozenset({LEAVES, "node.start"})
"""What is on the way back of a node only if the old version was, or may have been, stopped there."""


def rolled(begun: Begun) -> Iterator[Stage]:
    """Nodes and schema in the order that both versions can live with, then what is left of the plan in reverse."""
    schemas = [whole(schema(stage, begun)) for stage in begun.stages if migrates(stage)]
    batches = [stage for stage in begun.stages if stage.batch]
    if not any(stage.steps for stage in schemas):
        yield from nodes(batches, begun)
    else:
        yield from ordered(schemas, batches, begun)
    yield verified(batches, begun)
    for stage in begun.stages:
        if not stage.batch and not migrates(stage):
            yield whole(undone(stage, begun))


def ordered(schemas: list[Stage], batches: list[Stage], begun: Begun) -> Iterator[Stage]:
    """Nodes and schema, so that nothing is ever started on, or left with, a schema it cannot live on."""
    coexistence = begun.plan.release.coexistence
    if coexistence.old_on_new is Ability.START:
        yield from nodes(batches, begun)
        yield from schemas
    elif coexistence.new_on_old is not Ability.NO:
        yield from schemas
        yield from nodes(batches, begun)
    else:
        unstopped, leaving, coming = _parted(list(nodes(batches, begun)))
        yield unstopped
        if leaving.steps:
            yield _without_service(leaving, coming, begun)
        yield from schemas
        yield coming


def _parted(stages: Sequence[Stage]) -> tuple[Stage, Stage, Stage]:
    """The nodes' ways back: whole where the old version was never stopped, else cut in two where the new one has."""
    unstopped: list[Step] = []
    leaving: list[Step] = []
    coming: list[Step] = []
    for steps in by_unit([step for stage in stages for step in stage.steps]).values():
        if not any(step.do.action in STOPPED for step in steps):
            unstopped += steps
            continue
        stops = [place for place, step in enumerate(steps, start=1) if step.do.action == LEAVES]
        cut = stops[-1] if stops else 0
        leaving += steps[:cut]
        coming += steps[cut:]
    return (
        Stage("back-unstopped", "Bring back what the old version never stopped on", within(unstopped)),
        Stage("back-leave", "Take out what cannot live on the old schema", within(leaving)),
        Stage("back-return", "Bring every node back on the old schema", within(coming)),
    )


def _without_service(leaving: Stage, coming: Stage, begun: Begun) -> Stage:
    """Where too few old nodes are left to keep the floor, a person agrees to that first."""
    plan = begun.plan
    left = len(plan.site.application.nodes) - len({step.unit for step in coming.steps})
    if left >= plan.release.keep_serving:
        return msgspec.structs.replace(leaving, in_rotation=left)
    serving = f"{count(left, 'node')} {'serves' if left == 1 else 'serve'}"
    summary = f"a person agrees that {serving} until the schema and the others are back, below the floor"
    behind = gated("outage", summary, leaving.steps)
    affected = f"whom {count(left, 'node')} cannot serve" if left else "everybody: no node is left"
    return msgspec.structs.replace(leaving, steps=behind, in_rotation=left, outage=True, affected=affected)


def nodes(batches: Iterable[Stage], begun: Begun) -> Iterator[Stage]:
    """Batch after batch; what is not in rotation anyway first, at once, then a batch with a node in trouble."""
    idle: list[Step] = []
    stages: list[Stage] = []
    troubled = begun.troubled()
    for stage in sorted(batches, key=lambda it: troubled.isdisjoint(step.unit for step in it.steps)):
        serving: list[Step] = []
        for unit, steps in by_unit(stage.steps).items():
            if not any(step.id in begun.reached for step in steps):
                continue
            undo = [step for step in in_reverse(begun.steps(stage)) if step.unit == unit]
            (idle if begun.half_done(steps) else serving).extend(undo)
        stages.append(taking_back(stage, serving, begun))
    if idle:
        names = ", ".join(dict.fromkeys(step.unit for step in idle))
        yield Stage(
            "back-half-done",
            f"Bring back {names}, which {'is' if ',' not in names else 'are'} half-way",
            tuple(idle),
        )
    yield from stages
