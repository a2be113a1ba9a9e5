"""The way back: derived from a plan and from how far it has come, as a plan of its own. Pure.

    what is out of rotation comes back first: it lowers nothing
    then the nodes that serve the new version, batch after batch, the latest first, above the same floor
    then the schema, by its down scripts or, where there is none, by the snapshot
    then everything is verified, and what was staged is removed

Where the old version cannot be started on the new schema the schema goes first; where the new version cannot
live on the old schema either, its nodes leave before that and come back after it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from changeover.errors import RefusedError
from changeover.model.plan import BACK, Budget, Direction, Operation, Plan, Stage, Step
from changeover.model.release import Ability
from changeover.model.values import Value
from changeover.model.words import count

MIGRATES = frozenset({"database.migrate", "database.command"})
LEAVES = "node.stop"
"""The last thing that is done to a node before its version may be changed."""
STOPPED = frozenset({LEAVES, "node.start"})
"""What is on the way back of a node only if the old version was, or may have been, stopped there."""

ENTERS = "traffic.enter"


class Reached(Value, frozen=True):
    """How far a step has come: begun at that time (seconds since the epoch), and whether it is wholly done."""

    at: float = 0.0
    done: bool = True
    skipped: bool = False


def point_of_no_return(plan: Plan) -> Stage | None:
    """The first stage that only goes forward."""
    return next((stage for stage in plan.stages if direction(stage, plan) is Direction.FORWARD), None)


def reachable(plan: Plan) -> tuple[Stage, ...]:
    """The stages from which there is a way back."""
    last = point_of_no_return(plan)
    return plan.stages[: plan.stages.index(last)] if last else plan.stages


def from_the_end_of(stage: Stage, plan: Plan) -> Plan:
    """The way back once that stage is done."""
    until = plan.stages[: plan.stages.index(stage) + 1]
    return way_back(plan, {step.id: Reached() for before in until for step in before.steps})


def way_back(plan: Plan, reached: Mapping[str, Reached]) -> Plan:
    """What takes back every step that was begun, half-done ones included; without stages if there is none.

    `RefusedError` past the point of no return.
    """
    begun = _Begun(plan, reached)
    last = point_of_no_return(plan)
    if last and any(step.id in reached and not reached[step.id].skipped for step in begun.steps(last)):
        raise RefusedError(
            f"there is no way back any more: {last.name} has begun",
            hint="retry or skip what failed, or end the run where it is with `changeover abort --stay`",
        )
    stages = [stage for stage in _stages(begun) if stage.steps]
    return msgspec.structs.replace(
        plan, stages=tuple(stages), budgets=(Budget("total", len(plan.site.application.nodes)),)
    )


class _Begun:
    """The plan, seen from how far it has come."""

    def __init__(self, plan: Plan, reached: Mapping[str, Reached]) -> None:
        self.plan = plan
        self.reached = reached
        self.changed = {it.do.target for it in plan.steps() if it.id in reached and it.do.action in MIGRATES}

    def steps(self, stage: Stage) -> list[Step]:
        """Those of the stage that were begun, in their order."""
        return [step for step in stage.steps if step.id in self.reached and not step.person]

    def needed(self, step: Step) -> bool:
        """Whether it took the snapshot of a database that was changed since: that is the only copy of what was."""
        label = step.do.params.get("label")
        return label is not None and step.do.target in self.changed

    def troubled(self) -> set[str]:
        """The units of which a step was begun and did not come to its end, as when one is not well afterwards."""
        return {
            step.unit
            for step in self.plan.steps()
            if step.unit and (it := self.reached.get(step.id)) and not (it.done or it.skipped)
        }

    def half_done(self, steps: Iterable[Step]) -> bool:
        """Whether the node that these belong to is not back in rotation: its last step says so."""
        *_, last = steps
        reached = self.reached.get(last.id)
        return reached is None or not (reached.done or reached.skipped)


def _stages(begun: _Begun) -> Iterator[Stage]:
    before = [
        stage
        for stage in reversed(reachable(begun.plan))
        if direction(stage, begun.plan) is not Direction.KEEP
    ]
    schema = [_whole(_schema(stage, begun)) for stage in before if _migrates(stage)]
    batches = [stage for stage in before if stage.batch]
    if not any(stage.steps for stage in schema):
        yield from _nodes(batches, begun)
    else:
        yield from _ordered(schema, batches, begun)
    yield from _verified(batches, begun)
    for stage in before:
        if not stage.batch and not _migrates(stage):
            yield _whole(_undone(stage, begun))


def _whole(stage: Stage) -> Stage:
    """A node that was left behind may still run the new version: nothing is taken from under it."""
    return msgspec.structs.replace(stage, whole=True)


def _ordered(schema: list[Stage], batches: list[Stage], begun: _Begun) -> Iterator[Stage]:
    """Nodes and schema, so that nothing is ever started on, or left with, a schema it cannot live on."""
    coexistence = begun.plan.release.coexistence
    if coexistence.old_on_new is Ability.START:
        yield from _nodes(batches, begun)
        yield from schema
    elif coexistence.new_on_old is not Ability.NO:
        yield from schema
        yield from _nodes(batches, begun)
    else:
        unstopped, leaving, coming = _parted(list(_nodes(batches, begun)))
        yield unstopped
        if leaving.steps:
            yield _without_service(leaving, coming, begun)
        yield from schema
        yield coming


def _parted(stages: Sequence[Stage]) -> tuple[Stage, Stage, Stage]:
    """The nodes' ways back: whole where the old version was never stopped, else cut in two where the new one has."""
    unstopped: list[Step] = []
    leaving: list[Step] = []
    coming: list[Step] = []
    for steps in _by_unit([step for stage in stages for step in stage.steps]).values():
        if not any(step.do.action in STOPPED for step in steps):
            unstopped += steps
            continue
        stops = [place for place, step in enumerate(steps, start=1) if step.do.action == LEAVES]
        cut = stops[-1] if stops else 0
        leaving += steps[:cut]
        coming += steps[cut:]
    return (
        Stage("back-unstopped", "Bring back what the old version never stopped on", _within(unstopped)),
        Stage("back-leave", "Take out what cannot live on the old schema", _within(leaving)),
        Stage("back-return", "Bring every node back on the old schema", _within(coming)),
    )


def _without_service(leaving: Stage, coming: Stage, begun: _Begun) -> Stage:
    """Where too few old nodes are left to keep the floor, a person agrees to that first."""
    plan = begun.plan
    left = len(plan.site.application.nodes) - len({step.unit for step in coming.steps})
    if left >= plan.release.keep_serving:
        return msgspec.structs.replace(leaving, in_rotation=left)
    serving = f"{count(left, 'node')} {'serves' if left == 1 else 'serve'}"
    summary = f"a person agrees that {serving} until the schema and the others are back, below the floor"
    gated = _gated("outage", summary, leaving.steps)
    affected = f"whom {count(left, 'node')} cannot serve" if left else "everybody: no node is left"
    return msgspec.structs.replace(leaving, steps=gated, in_rotation=left, outage=True, affected=affected)


def _nodes(batches: Iterable[Stage], begun: _Begun) -> Iterator[Stage]:
    """Batch after batch; what is not in rotation anyway first, at once, then a batch with a node in trouble."""
    idle: list[Step] = []
    stages: list[Stage] = []
    troubled = begun.troubled()
    for stage in sorted(batches, key=lambda it: troubled.isdisjoint(step.unit for step in it.steps)):
        serving: list[Step] = []
        for unit, steps in _by_unit(stage.steps).items():
            if not any(step.id in begun.reached for step in steps):
                continue
            undo = [step for step in _reversed(begun.steps(stage)) if step.unit == unit]
            (idle if begun.half_done(steps) else serving).extend(undo)
        stages.append(_of(stage, serving, begun))
    if idle:
        names = ", ".join(dict.fromkeys(step.unit for step in idle))
        yield Stage(
            "back-half-done",
            f"Bring back {names}, which {'is' if ',' not in names else 'are'} half-way",
            tuple(idle),
        )
    yield from stages


def _schema(stage: Stage, begun: _Begun) -> Stage:
    """By the down scripts in reverse, or by the snapshot instead of all of them."""
    steps: list[Step] = []
    databases: dict[str, list[Step]] = {}
    for step in begun.steps(stage):
        databases.setdefault(step.do.target, []).append(step)
    for database, applied in databases.items():
        label = next((step.restore for step in applied if _needs_restore(step, begun)), "")
        if label:
            steps += _restored(database, label, applied, begun)
        else:
            steps += _reversed(applied)
    return _of(stage, steps, begun)


def _needs_restore(step: Step, begun: _Begun) -> bool:
    """Whether only the snapshot takes it back: it has no down script, or it died between two statements."""
    reached = begun.reached[step.id]
    if not step.restore or reached.skipped:
        return False
    torn = not reached.done and not step.do.params.get("migration", {}).get("transactional", True)
    return torn or not step.undo


def _restored(database: str, label: str, applied: Sequence[Step], begun: _Begun) -> tuple[Step, ...]:
    taken = [
        begun.reached[step.id].at
        for step in begun.plan.steps()
        if step.id in begun.reached and step.do == Operation("database.snapshot", database, {"label": label})
    ]
    undone = [msgspec.to_builtins(step.do) for step in applied if step.restore]
    since = f"since {_moment(taken[0])}" if taken and taken[0] else "since the snapshot was taken"
    restore = Step(
        id=f"{BACK}{database}/restore",
        do=Operation("database.restore", database, {"label": label, "backup": label, "instead_of": undone}),
        summary=f"restore {database} from the snapshot {label}, and compare every table",
        timeout=begun.plan.release.limits.timeouts.get("restore", 7200),
        estimate=begun.plan.release.estimates.get("restore", 30),
        basis="the file" if "restore" in begun.plan.release.estimates else "",
    )
    loss = f"a person agrees that what was written to {database} {since} is lost: it is restored from {label}"
    return _gated(f"{database}/restore", loss, (restore,))


def _undone(stage: Stage, begun: _Begun) -> Stage:
    """The stage in reverse. The snapshot of a database that was changed is kept."""
    kept = [step for step in begun.steps(stage) if not begun.needed(step)]
    return _of(stage, _reversed(kept), begun)


def _verified(batches: Iterable[Stage], begun: _Begun) -> Iterator[Stage]:
    """See each node that was touched well, of the old version and in rotation."""
    plan = begun.plan
    touched = {step.unit for stage in batches for step in begun.steps(stage) if _serves_again(step)}
    steps = tuple(
        Step(
            id=f"{BACK}{node.name}/verify",
            do=Operation(
                "node.verify",
                node.name,
                {"version": plan.release.from_version, "servers": dict(node.servers)},
            ),
            summary=f"see that {node.name} is well, runs {plan.release.from_version}, and is in rotation",
            timeout=30,
            attempts=2,
            retry_wait=1,
            estimate=0.1,
            unit=node.name,
        )
        for node in plan.site.application.nodes
        if node.name in touched
    )
    yield Stage("back-verify", f"See every node well and of version {plan.release.from_version}", steps)


def _serves_again(step: Step) -> bool:
    return any(undo.do.action == ENTERS for undo in step.undo)


def _of(stage: Stage, steps: Sequence[Step], begun: _Begun) -> Stage:
    """The stage that takes this one back by these steps; behind a gate where the stage asks."""
    if steps and direction(stage, begun.plan) is Direction.ASK:
        steps = _gated(stage.name, f"a person agrees that {stage.name} is taken back", steps)
    return Stage(
        f"back-{stage.name}",
        f"Take back: {stage.title}",
        _within(steps),
        in_rotation=stage.in_rotation,
        affected=stage.affected,
    )


def _gated(name: str, summary: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    gate = Step(
        id=f"{BACK}{name}/approve",
        do=Operation("people.approve", name),
        summary=summary,
        person=True,
        timeout=0,
    )
    behind = (
        step if step.needs else msgspec.structs.replace(step, needs=(gate.id,)) for step in _within(steps)
    )
    return (gate, *behind)


def _reversed(steps: Sequence[Step]) -> list[Step]:
    """What takes these steps back, the last first, within each unit or target one after another."""
    chains: dict[str, str] = {}
    found: list[Step] = []
    for step in reversed(steps):
        chain = step.unit or step.do.target
        for undo in step.undo:
            before = (chains[chain],) if chain in chains else ()
            found.append(msgspec.structs.replace(undo, needs=before))
            chains[chain] = undo.id
    return found


def _within(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, needing only one another: what they needed of other stages is met when theirs begins."""
    names = {step.id for step in steps}
    return tuple(
        msgspec.structs.replace(step, needs=tuple(need for need in step.needs if need in names))
        for step in steps
    )


def _by_unit(steps: Iterable[Step]) -> dict[str, list[Step]]:
    units: dict[str, list[Step]] = {}
    for step in steps:
        units.setdefault(step.unit, []).append(step)
    return units


def _migrates(stage: Stage) -> bool:
    return any(step.do.action in MIGRATES for step in stage.steps)


def direction(stage: Stage, plan: Plan) -> Direction:
    """Where a run goes that cannot go on in that stage: as the operator says, else as the strategy does."""
    if stage.finalize:
        return Direction.FORWARD
    return Direction(plan.release.fallback.stages.get(stage.name, stage.back))


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
