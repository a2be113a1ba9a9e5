"""The whole upgrade for people, to be carried out by hand: when, who, what is typed where, and the way back."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from changeover import fallback
from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Stage, Step
from changeover.model.release import Window
from changeover.model.values import Value
from changeover.report.document import Code, Column, Document, Figure, Section, Table, Text, Tone, cells
from changeover.report.estimate import estimate
from changeover.report.typed import typed
from changeover.report.words import seconds

ByHand = Callable[[Step], Iterable[Instruction]]
Body = Text | Table | Code


class Task(Value, frozen=True):
    """A step for a person. `planned` is in seconds since the epoch, 0 where no time is set; `about` in seconds."""

    step: str
    summary: str
    owner: str
    planned: float
    about: float
    who: tuple[str, ...]
    instructions: tuple[Instruction, ...]


class Chapter(Value, frozen=True):
    """A stage for people: its tasks in an order in which they can be done one after another."""

    stage: str
    title: str
    tasks: tuple[Task, ...]


class Runbook(Value, frozen=True):
    """Everything that people need. `way_back` is the one from the last moment there is one."""

    plan: str
    forward: tuple[Chapter, ...]
    way_back: tuple[Chapter, ...]
    point_of_no_return: str
    afterwards: tuple[str, ...]

    @property
    def lasts_back(self) -> float:
        """Seconds of the way back at worst, one step after another."""
        return sum(task.about for chapter in self.way_back for task in chapter.tasks)


def runbook(plan: Plan, by_hand: ByHand) -> Runbook:
    """Made from the plan alone; `by_hand` says how a person does a step."""
    reachable = fallback.reachable(plan)
    back = fallback.from_the_end_of(reachable[-1], plan).stages if reachable else ()
    last = fallback.point_of_no_return(plan)
    return Runbook(
        plan=plan.digest(),
        forward=tuple(_chapter(stage, plan, by_hand) for stage in plan.stages),
        way_back=tuple(_chapter(stage, plan, by_hand) for stage in back),
        point_of_no_return=last.name if last else "",
        afterwards=plan.release.afterwards,
    )


def runbook_document(plan: Plan, known: Runbook) -> Document:
    """The runbook of that plan, to be read and ticked off."""
    release, window = plan.release, plan.release.window
    time = _clock(window)
    figures = [
        Figure("steps", Text(str(sum(len(it.tasks) for it in known.forward))), "one after another"),
        Figure(
            "point of no return",
            Text(known.point_of_no_return or "none", Tone.STRONG),
            "a person's explicit go",
        ),
        Figure("way back", Text(seconds(known.lasts_back)), "at worst, from its longest, step by step"),
    ]
    if window:
        zone = "" if time(window.opens).endswith(window.zone) else window.zone
        figures.insert(0, Figure("opens", Text(time(window.opens)), zone))
        figures.insert(1, Figure("closes", Text(time(window.closes)), zone))
    return Document(
        title=f"{plan.site.name}: {release.from_version} → {release.to_version} by hand",
        subtitle=f"plan {known.plan[:12]}, strategy {release.strategy}",
        figures=tuple(figures),
        sections=(
            *_people(plan),
            *_timetable(known, time),
            *(_section(f"{number} ", chapter, time) for number, chapter in enumerate(known.forward, start=1)),
            Section("The way back", tuple(_turning(plan, known, time))),
            *(
                _section(f"Back {number} ", chapter, time)
                for number, chapter in enumerate(known.way_back, start=1)
            ),
            *_afterwards(known),
        ),
    )


def _chapter(stage: Stage, plan: Plan, by_hand: ByHand) -> Chapter:
    times = estimate(msgspec.structs.replace(plan, stages=(stage,)), at_worst=True)
    tasks = tuple(
        Task(
            step.id,
            step.summary,
            step.owner,
            step.planned,
            times.steps[step.id].lasts,
            step.who,
            tuple(by_hand(step)),
        )
        for step in in_order(stage.steps)
    )
    return Chapter(stage.name, stage.title, tasks)


def in_order(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps, each after those that it needs, otherwise as they stand."""
    left = {step.id: step for step in steps}
    while left:
        ready = next(it for it in left.values() if not any(need in left for need in it.needs))
        yield left.pop(ready.id)


def _people(plan: Plan) -> Iterator[Section]:
    release = plan.release
    body: list[Body] = []
    if release.channel:
        body.append(Text(f"Everybody talks on {release.channel}."))
    if release.people:
        columns = (Column("who", whole=True), Column("reached at"))
        body.append(Table(columns, tuple(cells(it.name, it.contact) for it in release.people)))
    if body:
        yield Section("Who takes part", tuple(body))


def _timetable(known: Runbook, time: Callable[[float], str]) -> Iterator[Section]:
    """What has a time or an owner, at one look."""
    columns = (
        Column("planned", whole=True),
        Column("who", whole=True),
        Column("step", whole=True),
        Column("what"),
    )
    rows = tuple(
        cells(time(it.planned) if it.planned else "", it.owner, it.step, it.summary)
        for chapter in known.forward
        for it in chapter.tasks
        if it.planned or it.owner
    )
    if rows:
        yield Section("Timetable", (Table(columns, rows),))


def _section(number: str, chapter: Chapter, time: Callable[[float], str]) -> Section:
    body: list[Body] = []
    for task in chapter.tasks:
        body += _told(task, time)
    return Section(f"{number}{chapter.stage}: {chapter.title}", tuple(body))


def _told(task: Task, time: Callable[[float], str]) -> Iterator[Body]:
    said = [time(task.planned)] if task.planned else []
    said += [task.owner] if task.owner else []
    who = f" ({', '.join(said)})" if said else ""
    yield Text(f"☐ {task.step}{who}: {task.summary}", Tone.STRONG)
    yield from typed(task.instructions)


def _turning(plan: Plan, known: Runbook, time: Callable[[float], str]) -> Iterator[Text]:
    window = plan.release.window
    yield Text(
        "Whoever turns back leaves out what was not begun, and begins with what was begun last."
        + (
            f" Once {known.point_of_no_return} has begun there is no way back."
            if known.point_of_no_return
            else ""
        )
    )
    if window:
        latest = time(window.closes - window.margin - known.lasts_back)
        yield Text(
            f"Turn back at {latest} at the latest: by hand, one step after another, it takes {seconds(known.lasts_back)} at worst."
        )


def _afterwards(known: Runbook) -> Iterator[Section]:
    if known.afterwards:
        yield Section("Afterwards", tuple(Text(f"☐ {it}") for it in known.afterwards))


def _clock(window: Window | None) -> Callable[[float], str]:
    """How moments are told: in the window's own time zone, else in this machine's."""
    zone = ZoneInfo(window.zone) if window else None
    return lambda at: f"{datetime.fromtimestamp(at).astimezone(zone):%Y-%m-%d %H:%M %Z}"
