"""The schema's way back: by down scripts in reverse, or by the snapshot instead of all of them."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from changeover.fallback.reached import Begun
from changeover.fallback.stages import taking_back
from changeover.fallback.steps import gated, in_reverse
from changeover.model.plan import BACK, Operation, Stage, Step

LETS_IN = frozenset({"access.open", "traffic.enter", "application.unflush"})
KEEPS_OUT = frozenset(
    {"access.close", "traffic.drain", "traffic.remove", "application.flush", "application.flushed"}
)


def schema(stage: Stage, begun: Begun) -> Stage:
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
            steps += in_reverse(applied)
    return taking_back(stage, steps, begun)


def _needs_restore(step: Step, begun: Begun) -> bool:
    """Whether only the snapshot takes it back: it has no down script, or it died between two statements."""
    reached = begun.reached[step.id]
    if not step.restore or reached.skipped:
        return False
    torn = not reached.done and not step.do.params.get("migration", {}).get("transactional", True)
    return torn or not step.undo


def _restored(database: str, label: str, applied: Sequence[Step], begun: Begun) -> tuple[Step, ...]:
    take = Operation("database.snapshot", database, {"label": label})
    taken = next((it for it in begun.plan.steps() if it.do == take and it.id in begun.reached), None)
    undone = [msgspec.to_builtins(step.do) for step in applied if step.restore]
    quiet = taken is not None and _nobody_wrote_since(taken, begun)
    restore = Step(
        id=f"{BACK}{database}/restore",
        do=Operation("database.restore", database, {"label": label, "backup": label, "instead_of": undone}),
        summary=f"restore {database} from the snapshot {label}, and compare every table"
        + ("; nobody has written to it since" if quiet else ""),
        timeout=begun.plan.release.limits.timeouts.get("restore", 7200),
        estimate=begun.plan.release.estimates.get("restore", 30),
        basis="the file" if "restore" in begun.plan.release.estimates else "",
    )
    if quiet:
        return (restore,)
    at = begun.reached[taken.id].at if taken else 0.0
    since = f"since {_moment(at)}" if at else "since the snapshot was taken"
    loss = f"a person agrees that what was written to {database} {since} is lost: it is restored from {label}"
    return gated(f"{database}/restore", loss, (restore,))


def _nobody_wrote_since(taken: Step, begun: Begun) -> bool:
    """Whether the snapshot was taken while nobody was served by agreement, and nobody was let in afterwards.

    Where nothing keeps people out but that the nodes are stopped, a start lets them in; behind a closed access gate
    the balancers let nobody in. What was to keep them out and was skipped has kept nobody out.
    """
    stages = begun.plan.stages
    place = next(place for place, stage in enumerate(stages) if taken in stage.steps)
    earlier = [(stage, step) for stage in stages[:place] for step in stage.steps]
    before = [step for stage, step in earlier if stage.outage or step.do.action in KEEPS_OUT]
    actions = {step.do.action for _, step in earlier}
    lets_in = LETS_IN if actions & KEEPS_OUT else LETS_IN | {"node.start"}
    if "access.close" in actions:
        lets_in = lets_in - {"traffic.enter"}
    return (
        stages[place].outage
        and all(begun.done(step) for step in before)
        and not any(
            step.do.action in lets_in and step.id in begun.reached
            for stage in stages[place:]
            for step in stage.steps
        )
    )


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
