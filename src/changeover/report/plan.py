"""A plan as a document: who is affected, how many serve at each moment, what is undone how, how long."""

from collections.abc import Iterable, Iterator, Mapping

from changeover.fallback import direction, point_of_no_return
from changeover.model.plan import Budget, Direction, Plan, Promise, Stage, Step
from changeover.model.release import SqlMigration
from changeover.model.values import Value
from changeover.model.words import count
from changeover.report.document import Column, Document, Figure, Section, Table, Text, Tone, cells
from changeover.report.estimate import Estimate, estimate, rotation
from changeover.report.promises import promised
from changeover.report.words import seconds

_WHERE = {"batch": "in one batch", "total": "in the whole run", "consecutive": "one after another"}


class Outline(Value, frozen=True):
    """The plan with what follows from it. `in_rotation`: stage → balancer → servers, after each change."""

    digest: str
    seconds: float
    estimate: Estimate
    in_rotation: Mapping[str, Mapping[str, list[int]]]
    plan: Plan


def outline(plan: Plan) -> Outline:
    """Everything that can be known of a plan without running it."""
    times = estimate(plan)
    return Outline(plan.digest(), times.lasts, times, rotation(plan, times), plan)


def plan_document(plan: Plan, *, steps: bool = True) -> Document:
    """The plan to be read, with every step or the stages alone."""
    known = outline(plan)
    site, release = plan.site, plan.release
    sections = [Section("Stages", (*_already(plan), _stages(known), *_common_promise(plan)))]
    if steps:
        sections += [
            Section(
                f"{number} {stage.name}: {stage.title}", (*_own_promise(stage, plan), _steps(stage, known))
            )
            for number, stage in enumerate(plan.stages, start=1)
        ]
    sections += [Section("Migrations", tables) for tables in [tuple(_migrations(plan))] if tables]
    sections.append(Section("When something fails", tuple(_failing(plan))))
    return Document(
        title=f"{site.name}: {release.from_version} → {release.to_version}, {release.strategy}",
        subtitle=f"plan {known.digest[:12]}",
        figures=(
            Figure("nodes", Text(str(len(site.application.nodes))), "of the application that are upgraded"),
            _serving(known),
            Figure(
                "steps", Text(str(sum(1 for _ in plan.steps()))), f"in {count(len(plan.stages), 'stage')}"
            ),
            Figure("about", Text(seconds(known.seconds)), "without the time that people take"),
        ),
        sections=tuple(sections),
    )


def _serving(known: Outline) -> Figure:
    """How many nodes serve at the least, and what that is held against."""
    if any(stage.outage for stage in known.plan.stages):
        return Figure(
            "serving", Text("0"), "nodes at the least: that is agreed, in stages that affect everybody"
        )
    floor = known.plan.release.keep_serving
    return Figure("serving", Text(str(_least(known))), f"nodes at the least; the floor is {floor}")


def _already(plan: Plan) -> Iterator[Text]:
    """A word where there is nothing to upgrade any more: else what is planned reads like an upgrade."""
    versions = set(plan.facts.versions.values())
    if versions == {plan.release.to_version}:
        yield Text(
            f"Every node runs {plan.release.to_version} already: what is left is to see that, and to finalize.",
            Tone.DOUBT,
        )


def _least(known: Outline) -> int:
    """In rotation at any moment, at any balancer; all nodes where no balancer is."""
    counts = [min(seen) for stage in known.in_rotation.values() for seen in stage.values()]
    return min(counts, default=len(known.plan.site.application.nodes))


def _stages(known: Outline) -> Table:
    columns = (
        Column("", right=True, whole=True),
        Column("stage", whole=True),
        Column("steps", right=True, whole=True),
        Column("about", right=True, whole=True),
        Column("in rotation", whole=True),
        Column("affected"),
    )
    rows = tuple(
        cells(
            str(number),
            Text(stage.name, Tone.STRONG),
            str(len(stage.steps)),
            seconds(known.estimate.stages[stage.name].lasts),
            _capacity(known.in_rotation[stage.name]),
            _affected(stage),
        )
        for number, stage in enumerate(known.plan.stages, start=1)
    )
    return Table(columns, rows)


def _affected(stage: Stage) -> Text:
    waits = "; waits for approval" if any(step.person for step in stage.steps) else ""
    quiet = stage.affected == "nobody" and not waits
    return Text(f"{stage.affected}{waits}", Tone.QUIET if quiet else Tone.PLAIN)


def _capacity(balancers: Mapping[str, list[int]]) -> str:
    """`4 → 3 → 4`, with the balancer's name where there are several."""
    shown = {balancer: " → ".join(map(str, _shortened(seen))) for balancer, seen in balancers.items()}
    if len(shown) == 1:
        return next(iter(shown.values()))
    return "; ".join(f"{balancer} {seen}" for balancer, seen in shown.items())


def _shortened(seen: list[int], most: int = 5) -> list[int | str]:
    """A long way down and up again, told by its ends and its lowest point."""
    return list(seen) if len(seen) <= most else [seen[0], "…", min(seen), "…", seen[-1]]


def _common_promise(plan: Plan) -> Iterator[Text]:
    promises = set(promised(plan.stages))
    if len(promises) == 1:
        yield Text(f"Each stage promises: {_promise(promises.pop())}.")


def _own_promise(stage: Stage, plan: Plan) -> Iterator[Text]:
    promises = promised(plan.stages)
    if len(set(promises)) > 1:
        yield Text(f"It promises: {_promise(promises[plan.stages.index(stage)])}.")


def _promise(promise: Promise) -> str:
    writes = f"{count(promise.writes_lost, 'acknowledged write')} lost"
    if promise.requests_failed is None or promise.sessions_cut is None:
        return f"{writes}; requests fail and sessions are cut, since nobody is served"
    return f"{count(promise.requests_failed, 'request')} failed, {count(promise.sessions_cut, 'session')} cut, {writes}"


def _steps(stage: Stage, known: Outline) -> Table:
    columns = (
        Column("step", whole=True),
        Column("what is done"),
        Column("undone by"),
        Column("about", right=True, whole=True),
        Column("at most", right=True, whole=True),
    )
    gone = direction(stage, known.plan) is Direction.FORWARD
    return Table(columns, tuple(_step(step, known, gone=gone) for step in stage.steps))


def _step(step: Step, known: Outline, *, gone: bool) -> tuple[Text, ...]:
    tries = f"{step.attempts} x " if step.attempts > 1 else ""
    return cells(
        step.id,
        Text(step.summary, Tone.STRONG if step.person else Tone.PLAIN),
        Text("nothing: there is no way back from here", Tone.QUIET) if gone else _undone(step),
        seconds(known.estimate.steps[step.id].lasts),
        Text("" if step.person else f"{tries}{seconds(step.timeout)}", Tone.QUIET),
    )


def _undone(step: Step) -> Text:
    """In words: by which steps, by a restore, or why not at all."""
    if step.undo:
        return Text("; ".join(undo.summary for undo in step.undo))
    if step.restore:
        return Text(f"restore the snapshot {step.restore}")
    return Text(step.undo_note or "nothing", Tone.QUIET)


def _migrations(plan: Plan) -> Iterator[Table]:
    columns = (
        Column("migration", whole=True),
        Column("phase"),
        Column("how", whole=True),
        Column("waits for a lock", right=True),
        Column("tries", right=True),
        Column("way back"),
    )
    rows = tuple(
        cells(
            f"{change.database}/{migration.name}",
            phase,
            _how(migration),
            seconds(change.lock_timeout),
            str(change.attempts),
            "down" if _has_way_back(migration) else "snapshot",
        )
        for change in plan.release.migrations
        for phase, migrations in (("expand", change.expand), ("contract", change.contract))
        for migration in migrations
    )
    if rows:
        yield Table(columns, rows)


def _how(migration: object) -> str:
    if not isinstance(migration, SqlMigration):
        return "the application's own"
    return "SQL in a transaction" if migration.transactional else "SQL on its own"


def _has_way_back(migration: object) -> bool:
    return bool(getattr(migration, "down", "") or getattr(migration, "undo", ""))


def _failing(plan: Plan) -> Iterable[Text]:
    if plan.budgets:
        yield Text(f"Failure budgets: {', '.join(map(_budget, plan.budgets))}. Beyond them the run stops.")
    else:
        yield Text("The first failure stops the run.")
    if plan.limits:
        at_once = ", ".join(f"{name} {places}" for name, places in plan.limits.items())
        yield Text(f"At once, at the most: {at_once}.")
    last = point_of_no_return(plan)
    if last and last.finalize:
        yield Text("The way back is given up in finalize alone, which waits for `changeover finalize`.")
    elif last:
        gates = [f", which waits for `changeover approve {step.id}`" for step in last.steps if step.person]
        yield Text(f"There is no way back from {last.name} on{''.join(gates[:1])}.")


def _budget(budget: Budget) -> str:
    unit = budget.unit.removesuffix("s") if budget.limit == 1 else budget.unit
    return f"{budget.limit} {unit} {_WHERE.get(budget.scope, budget.scope)}"
