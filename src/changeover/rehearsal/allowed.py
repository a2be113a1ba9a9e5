"""What an end may have in it, on simulated hosts as on real ones: read off the plan and the run alone. Pure."""

from collections.abc import Container, Iterable, Iterator, Mapping

from changeover.engine.fold import RunStatus
from changeover.fallback import MIGRATES
from changeover.model.plan import Plan, Step, snapshot_label
from changeover.model.states import StepState


def kept_snapshots(status: RunStatus) -> frozenset[tuple[str, str]]:
    """(database, label) of the snapshots that a way back leaves: those of databases that were changed."""
    steps = list(status.first_plan.steps())
    changed = {it.do.target for it in steps if it.do.action in MIGRATES and status.steps[it.id].attempt}
    return frozenset(
        (it.do.target, snapshot_label(str(it.do.params["label"]), status.run))
        for it in steps
        if it.do.action == "database.snapshot" and it.do.target in changed
    )


def skipped(status: RunStatus) -> frozenset[str]:
    """The nodes, databases and others of which a person has skipped a step, and answers for what became of them."""
    both = {step.id: step for plan in (status.first_plan, status.plan) for step in plan.steps()}
    return frozenset(
        it.unit or it.do.target
        for it in both.values()
        if not it.person
        and status.steps[it.id].state is StepState.SKIPPED
        and not status.steps[it.id].set_aside
    )


def restored_from(plan: Plan, status: RunStatus, database: str = "") -> Iterator[Step]:
    """The steps that took the snapshots from which the run restores, or may have restored, that database, or any."""
    labels = {
        (it.do.target, it.do.params["label"])
        for it in status.plan.steps()
        if it.do.action == "database.restore" and (database in ("", it.do.target))
    }
    for it in plan.steps():
        if it.do.action == "database.snapshot" and (it.do.target, it.do.params["label"]) in labels:
            yield it


def not_applied(plan: Plan, steps: Iterable[Step], applied: Mapping[str, Container[str]]) -> Iterator[str]:
    """Which of the migrations of these steps are not there; `applied`: database → the names of those that are."""
    names = {step.id.rpartition("/")[2] for step in steps if step.do.action in MIGRATES}
    for change in plan.release.migrations:
        there = applied.get(change.database)
        for migration in (*change.expand, *change.contract):
            if there is not None and migration.name in names and migration.name not in there:
                yield f"{migration.name} is not applied to {change.database}"
