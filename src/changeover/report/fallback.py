"""The way back of a plan as a document: from each of its stages, how far and how long; and its steps."""

from collections.abc import Iterator

from changeover import fallback
from changeover.model.plan import Direction, Plan, Stage, Step
from changeover.model.release import Cause
from changeover.model.values import Value
from changeover.report.document import Column, Document, Figure, Section, Table, Text, Tone, cells
from changeover.report.estimate import estimate
from changeover.report.words import seconds

_CAUSES = {
    Cause.FAILURE: "a step has failed",
    Cause.BUDGET: "a failure budget is used up",
    Cause.GATE: "a gate has failed or was refused",
    Cause.DEADLINE: "the deadline has passed",
}


class From(Value, frozen=True):
    """The way back from one stage. Times are seconds; `in_rotation` is how many nodes serve at the least.

    `asks` are the gates on it, each with what a person agrees to there.
    """

    stage: str
    direction: Direction
    steps: int
    about: float
    at_worst: float
    in_rotation: int
    asks: tuple[str, ...]


class Fallback(Value, frozen=True):
    """Every way back of a plan. `way_back` is the one from the last moment there is one."""

    point_of_no_return: str
    ways: tuple[From, ...]
    way_back: Plan


def outline(plan: Plan) -> Fallback:
    """Derived from the plan alone: from the end of each stage, and from the last of them in full."""
    stages = fallback.reachable(plan)
    last = fallback.point_of_no_return(plan)
    return Fallback(
        point_of_no_return=last.name if last else "",
        ways=tuple(_from(stage, plan) for stage in stages),
        way_back=fallback.from_the_end_of(stages[-1], plan) if stages else plan,
    )


def fallback_document(plan: Plan) -> Document:
    """The ways back to be read: the way out of every stage, then each step of the longest."""
    known = outline(plan)
    release = plan.release
    longest = max((way.at_worst for way in known.ways), default=0.0)
    return Document(
        title=f"{plan.site.name}: the way back, {release.to_version} → {release.from_version}",
        subtitle=f"plan {plan.digest()[:12]}",
        figures=(
            Figure(
                "at worst",
                Text(seconds(longest)),
                "on the longest way back, by the estimates; no step is held to them",
            ),
            Figure(
                "point of no return",
                Text(known.point_of_no_return or "none", Tone.STRONG),
                "it needs a person's explicit go" if known.point_of_no_return else "",
            ),
        ),
        sections=(
            Section("From the end of each stage", (_ways(known), *_begins(plan))),
            *(
                Section(f"{number} {stage.name}: {stage.title}", (_steps(stage),))
                for number, stage in enumerate(known.way_back.stages, start=1)
            ),
        ),
    )


def _from(stage: Stage, plan: Plan) -> From:
    back = fallback.from_the_end_of(stage, plan)
    steps = list(back.steps())
    return From(
        stage=stage.name,
        direction=fallback.direction(stage, plan),
        steps=len(steps),
        about=estimate(back).lasts,
        at_worst=estimate(back, at_worst=True).lasts,
        in_rotation=min((it.in_rotation for it in back.stages if it.in_rotation or it.outage), default=0),
        asks=tuple(step.summary for step in steps if step.person),
    )


def _ways(known: Fallback) -> Table:
    columns = (
        Column("from", whole=True),
        Column("direction", whole=True),
        Column("steps", right=True, whole=True),
        Column("about", right=True, whole=True),
        Column("at worst", right=True, whole=True),
        Column("a person is asked"),
    )
    return Table(columns, tuple(_way(way) for way in known.ways))


def _way(way: From) -> tuple[Text, ...]:
    nothing = Text("nothing to take back", Tone.QUIET)
    return cells(
        Text(way.stage, Tone.STRONG),
        way.direction,
        str(way.steps),
        seconds(way.about),
        seconds(way.at_worst),
        "; ".join(way.asks) or (Text("nothing", Tone.QUIET) if way.steps else nothing),
    )


def _begins(plan: Plan) -> Iterator[Text]:
    policy = plan.release.fallback
    causes = [words for cause, words in _CAUSES.items() if cause in policy.when]
    if causes:
        yield Text(f"It begins by itself when {', or '.join(causes)}; and with `changeover abort`.")
    else:
        yield Text("It begins with `changeover abort`; a failure stops the run for a person.")
    if policy.deadline:
        yield Text(f"The run must have been verified {seconds(policy.deadline)} after it began.")
    last = fallback.point_of_no_return(plan)
    if last:
        yield Text(f"Once {last.name} has begun there is no way back.")


def _steps(stage: Stage) -> Table:
    columns = (
        Column("step", whole=True),
        Column("what is done"),
        Column("about", right=True, whole=True),
        Column("at worst", right=True, whole=True),
        Column("known from"),
    )
    return Table(columns, tuple(_step(step) for step in stage.steps))


def _step(step: Step) -> tuple[Text, ...]:
    if step.person:
        return cells(step.id, Text(step.summary, Tone.STRONG), "", "", "")
    return cells(
        step.id,
        step.summary,
        seconds(step.estimate),
        seconds(max(step.estimate, step.at_worst)),
        Text(step.basis or "a default", Tone.QUIET),
    )
