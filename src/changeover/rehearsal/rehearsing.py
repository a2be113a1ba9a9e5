"""A whole rehearsal: every fault of every step, pairs of them, and the shortest case of everything that is wrong."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from random import Random

import msgspec

from changeover.actions import ACTIONS
from changeover.actions.base import Action
from changeover.model.plan import Plan
from changeover.rehearsal import starting, symmetry
from changeover.rehearsal.cases import Case, Kind, Strike, parse
from changeover.rehearsal.exploring import Explorer, Outcome, Seen
from changeover.rehearsal.results import (
    Cell,
    End,
    Ending,
    Finding,
    Line,
    Question,
    Rehearsal,
    Replay,
    Worst,
)
from changeover.rehearsal.watching import Violation
from changeover.simulation import SimulatedSite

PORTION = 8
"""How many steps, or pairs, are explored together: what was played for one of them is known to the others."""

TRACED = 20
"""Of so many findings at the most the trace is told."""

Strikes = Sequence[tuple[Strike, ...]]

Progress = Callable[[int, int, int, int], None]
"""Is told of portions done, portions in all, cases so far, and findings so far."""


@dataclass(slots=True)
class Tally:
    """What a portion has come to; tallies add up."""

    endings: list[Ending] = field(default_factory=list)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    questions: dict[tuple[object, ...], Question] = field(default_factory=dict)
    worst: dict[tuple[str, str], Worst] = field(default_factory=dict)
    plays: int = 0

    def add(self, other: "Tally") -> None:
        """Take in what comes after this one."""
        self.endings += other.endings
        self.plays += other.plays
        for key, finding in other.findings.items():
            self.find(key, finding)
        for group, question in other.questions.items():
            self.ask(group, question)
        for (what, name), worst in other.worst.items():
            self.worsen(what, name, worst)

    def find(self, key: tuple[str, str], found: Finding) -> None:
        """Of those that break the same rule in the same way the shortest is kept."""
        known = self.findings.get(key)
        if known is None:
            self.findings[key] = found
            return
        shorter = min(known, found, key=lambda it: _length(it.case))
        self.findings[key] = msgspec.structs.replace(shorter, cases=known.cases + found.cases)

    def ask(self, key: tuple[object, ...], asked: Question) -> None:
        """The earliest is kept."""
        known = self.questions.get(key)
        if known is None:
            self.questions[key] = asked
            return
        earlier = min(known, asked, key=lambda it: it.first)
        self.questions[key] = msgspec.structs.replace(earlier, cases=known.cases + asked.cases)

    def worsen(self, what: str, name: str, found: Worst) -> None:
        """The worst is kept: of the capacity the lowest, of everything else the highest."""
        known = self.worst.get((what, name))
        better = known is None or (
            found.value < known.value if what == "capacity" else found.value > known.value
        )
        if better:
            self.worst[what, name] = found


def rehearse(
    plan: Plan,
    *,
    pairs: int = 0,
    seed: int = 0,
    actions: Mapping[str, Action] = ACTIONS,
    site_kind: type[SimulatedSite] = SimulatedSite,
    workers: int = 0,
    large: int = symmetry.LARGE,
    progress: Progress = lambda *_: None,
) -> Rehearsal:
    """Strike every step of the plan with every fault, give every answer, and say what came of it.

    `workers` processes share the work, one for each processor if it is 0; with 1 everything happens here. `actions` and
    `site_kind` are what the plan is rehearsed with; both must be picklable unless it happens here. More than `large` nodes
    are reduced to one of each class. To be called where no event loop runs.
    """
    steps, alike = symmetry.reduced(plan, large)
    begins = Explorer(plan, actions, site_kind=site_kind, wanted=steps)
    nothing = begins.nothing()
    singles = _portions([(strike,) for strike in begins.strikes(steps)], lambda it: it[0].step)
    singles += _portions(list(begins.for_ever()), lambda it: it[1].step)
    sampled = _portions(list(begins.pairs(pairs, seed, steps)), str)
    work = [*((it, False) for it in singles), *((it, True) for it in sampled)]
    rehearser = Rehearser(plan, dict(actions), site_kind, steps, seed)
    tallies: dict[int, Tally] = {-1: tallied(begins, [nothing])}
    cases = 0
    findings: set[tuple[str, str]] = set(tallies[-1].findings)
    for place, tally in _explored(rehearser, work, workers or len(os.sched_getaffinity(0))):
        tallies[place] = tally
        cases += len(tally.endings)
        findings |= tally.findings.keys()
        progress(len(tallies) - 1, len(work), cases, len(findings))
    whole = Tally()
    for place in sorted(tallies):
        whole.add(tallies[place])
    began = begins.began
    took = (begins.ended or began) - began
    return Rehearsal(
        plan=plan.digest(),
        site=plan.site.name,
        from_version=plan.release.from_version,
        to_version=plan.release.to_version,
        nodes=len(plan.site.application.nodes),
        steps=sum(1 for _ in plan.steps()),
        rehearsed_steps=len(steps),
        seed=seed,
        pairs=pairs,
        cases=len(whole.endings),
        plays=whole.plays,
        took=round(took, 1),
        clients=starting.described(plan),
        table=tuple(_table(plan, whole.endings)),
        findings=tuple(_told(whole, rehearser)),
        questions=tuple(sorted(whole.questions.values(), key=lambda it: it.first)),
        capacity=_of(whole, "capacity"),
        outages=tuple(sorted(_of(whole, "outage"), key=lambda it: -it.value)),
        way_back=next(iter(_of(whole, "way back")), None),
        alike=alike,
    )


def replay(
    plan: Plan,
    case: str | Case,
    *,
    actions: Mapping[str, Action] = ACTIONS,
    site_kind: type[SimulatedSite] = SimulatedSite,
) -> Replay:
    """Exactly that case again, with its trace; `RefusedError` for one that there is not."""
    case = parse(case) if isinstance(case, str) else case
    explorer = Explorer(plan, actions, site_kind=site_kind)
    explorer.nothing()
    return _replayed(explorer, case)


def _replayed(explorer: Explorer, case: Case) -> Replay:
    outcome = explorer.again(case)
    trace = [_line(explorer, at, text) for seen in outcome.plays for at, text in seen.played.trace]
    broken = list(_broken(outcome))
    trace += [_line(explorer, it.at, f"FINDING {it.rule}: {it.what}") for _, it in broken]
    rest = outcome.plays[-1].played.rest
    return Replay(
        str(outcome.case),
        outcome.end,
        tuple(_finding(explorer, at, it) for at, it in broken),
        tuple(sorted(trace, key=lambda line: line.at)),
        rest.asked.text if rest and rest.asked else "",
        rest.asked.replies if rest and rest.asked else (),
    )


@dataclass(slots=True)
class Rehearser:
    """What every portion is explored with."""

    plan: Plan
    actions: dict[str, Action]
    site_kind: type[SimulatedSite]
    steps: list[str]
    seed: int
    explorer: Explorer | None = None

    def ready(self) -> Explorer:
        """An explorer to which nothing is known but the run in which nothing goes wrong."""
        if self.explorer is None:
            self.explorer = Explorer(self.plan, self.actions, site_kind=self.site_kind, wanted=self.steps)
            self.explorer.nothing()
        self.explorer.forget()
        return self.explorer

    def portion(self, strikes: Strikes, place: int, *, wander: bool) -> Tally:
        """Explore these."""
        explorer = self.ready()
        outcomes: list[Outcome] = []
        for number, these in enumerate(strikes):
            if wander:
                outcomes.append(explorer.wander(these, Random(f"{self.seed}/{place}/{number}")))  # noqa: S311
            else:
                outcomes += explorer.explore(these)
        return tallied(explorer, outcomes)


def leaves_with_its_parent() -> None:
    """End this worker process as soon as the one that began it has gone, however that went."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_leave_after, args=(parent.sentinel,), daemon=True).start()


def _leave_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


_rehearser: Rehearser | None = None


def _prepare(
    plan: bytes, actions: dict[str, Action], kind: type[SimulatedSite], steps: list[str], seed: int
) -> None:
    leaves_with_its_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the rehearsal means its first process
    global _rehearser  # noqa: PLW0603 -- a worker process has but this one
    _rehearser = Rehearser(Plan.from_json(plan), actions, kind, steps, seed)


def _work(strikes: Strikes, place: int, wander: bool) -> Tally:
    if _rehearser is None:
        raise RuntimeError("a worker that was not prepared")
    return _rehearser.portion(strikes, place, wander=wander)


def _explored(
    rehearser: Rehearser, work: Sequence[tuple[Strikes, bool]], workers: int
) -> Iterator[tuple[int, Tally]]:
    """Each portion with its place, as they are done."""
    workers = min(workers, len(work))
    if workers <= 1:
        for place, (strikes, wander) in enumerate(work):
            yield place, rehearser.portion(strikes, place, wander=wander)
        return
    it = rehearser
    prepared = (it.plan.to_json(), it.actions, it.site_kind, it.steps, it.seed)
    with ProcessPoolExecutor(workers, get_context("spawn"), _prepare, prepared) as pool:
        futures = {
            pool.submit(_work, strikes, place, wander): place for place, (strikes, wander) in enumerate(work)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _portions(
    strikes: Sequence[tuple[Strike, ...]], of: Callable[[tuple[Strike, ...]], str]
) -> list[Strikes]:
    """Those of the same kind together, so many kinds in each portion."""
    kinds: dict[str, list[tuple[Strike, ...]]] = {}
    for it in strikes:
        kinds.setdefault(of(it), []).append(it)
    groups = list(kinds.values())
    return [
        [it for group in groups[place : place + PORTION] for it in group]
        for place in range(0, len(groups), PORTION)
    ]


def tallied(explorer: Explorer, outcomes: Iterable[Outcome]) -> Tally:
    """What these cases have come to."""
    tally = Tally(plays=explorer.plays)
    counted: set[tuple[str, str, str]] = set()
    for outcome in outcomes:
        name = str(outcome.case)
        if outcome.case.strikes:
            first = outcome.case.strikes[0]
            kind = next((it.kind for it in outcome.case.strikes if it.kind is Kind.FOR_EVER), first.kind)
            tally.endings.append(Ending(name, explorer.stage_of(first.step), kind, outcome.end))
        for case, violation in _broken(outcome):
            said = (str(case), violation.rule, violation.what)
            if said not in counted:
                counted.add(said)
                tally.find(explorer.kind_of(violation), _finding(explorer, case, violation))
        for seen in outcome.plays:
            _costs(tally, seen)
            _asked(tally, explorer, seen, counted)
        if outcome.end is End.FELL_BACK:
            tally.worsen("way back", "", Worst("the way back", round(outcome.back, 1), name))
    return tally


def _costs(tally: Tally, seen: Seen) -> None:
    case = str(seen.case)
    for balancer, servers in seen.played.costs.capacity.items():
        tally.worsen("capacity", balancer, Worst(balancer, servers, case))
    for what, seconds in seen.played.costs.outage.items():
        tally.worsen("outage", what, Worst(what, round(seconds, 1), case))


def _asked(tally: Tally, explorer: Explorer, seen: Seen, counted: set[tuple[str, str, str]]) -> None:
    rest = seen.played.rest
    if rest is None or rest.asked is None:
        return
    it, case = rest.asked, str(seen.case)
    if (case, "", it.text) in counted:
        return
    counted.add((case, "", it.text))
    first = round(rest.moment.at - explorer.began, 1)
    asked = Question(
        it.stage, it.text, it.hint, it.back, it.gate, tuple(map(str, it.replies)), 1, first, case
    )
    tally.ask((it.stage, it.steps, it.back, it.gate), asked)


def _broken(outcome: Outcome) -> Iterator[tuple[Case, Violation]]:
    for seen in outcome.plays:
        for violation in seen.played.violations:
            yield seen.case, violation
    for violation in outcome.extra:
        yield outcome.case, violation


def _finding(explorer: Explorer, case: Case, violation: Violation) -> Finding:
    return Finding(str(case), violation.rule, violation.what, round(violation.at - explorer.began, 2))


def _line(explorer: Explorer, at: float, text: str) -> Line:
    return Line(round(at - explorer.began, 2), text)


def _table(plan: Plan, endings: Iterable[Ending]) -> Iterator[Cell]:
    """In the order of the plan and of the faults."""
    counts: dict[tuple[str, Kind], dict[End, int]] = {}
    for it in endings:
        cell = counts.setdefault((it.stage, it.kind), dict.fromkeys(End, 0))
        cell[it.end] += 1
    for stage in plan.stages:
        for kind in Kind:
            if (stage.name, kind) in counts:
                cell = counts[stage.name, kind]
                yield Cell(
                    stage.name,
                    kind,
                    cell[End.DONE],
                    cell[End.FELL_BACK],
                    cell[End.STOPPED],
                    cell[End.FINDING],
                )


def _told(whole: Tally, rehearser: Rehearser) -> Iterator[Finding]:
    """The shortest first, the first ones with their traces."""
    for number, it in enumerate(sorted(whole.findings.values(), key=lambda it: _length(it.case))):
        if number < TRACED:
            yield msgspec.structs.replace(it, trace=_replayed(rehearser.ready(), parse(it.case)).trace)
        else:
            yield it


def _of(whole: Tally, what: str) -> tuple[Worst, ...]:
    return tuple(worst for (kind, _), worst in sorted(whole.worst.items()) if kind == what)


def _length(case: str) -> tuple[int, int]:
    it = parse(case)
    return len(it.strikes), len(it.replies)
