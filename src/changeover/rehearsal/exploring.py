"""Plays cases: a fault, and every answer to every question that comes of it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from changeover import fallback
from changeover.actions.base import Action
from changeover.errors import RefusedError
from changeover.model.plan import BACK, Plan
from changeover.model.states import RunState
from changeover.rehearsal.cases import (
    OF_A_FLUSH,
    OF_A_GATE,
    OF_A_LOG,
    OF_A_LOOK,
    OF_A_MIGRATION,
    OF_A_START,
    OF_AN_EFFECT,
    OF_THE_CLOCK,
    OF_THE_CONDUCTOR,
    OF_WHAT_IS_THERE,
    WITH,
    Answer,
    Case,
    Kind,
    Reply,
    Strike,
)
from changeover.rehearsal.moments import Base, Known, Played, Rest
from changeover.rehearsal.playing import CALM, GRAIN, MENDED, THINKS, Play
from changeover.rehearsal.results import End
from changeover.rehearsal.starting import WARM_UP, begins
from changeover.rehearsal.striking import Armed
from changeover.rehearsal.watching import Violation
from changeover.simulation import SimulatedSite, run

PATIENCE = 6
"""Answers after which a person who is asked again has had enough."""

_CHANGES = {
    "node.start": OF_A_START,
    "database.migrate": OF_A_MIGRATION,
    "database.command": OF_A_MIGRATION,
    "application.flushed": OF_A_FLUSH,
    "log.check": OF_A_LOG,
}

REPEATED = frozenset(
    {
        Kind.DIES_STARTED,
        Kind.DIES_UNRECORDED,
        Kind.DIES_RECORDED,
        Kind.SLOW,
        *OF_WHAT_IS_THERE,
        Kind.MOMENT,
        Kind.AWAY,
    }
)
"""Faults of a whole step: they are not aimed at one of its calls."""


@dataclass(slots=True)
class Seen:
    """A play on the way of a case, and the case as far as it had come by then."""

    case: Case
    played: Played


@dataclass(slots=True)
class Outcome:
    """A case from its fault to its end. `plays` are those that it went through, one after another."""

    case: Case
    end: End
    plays: list[Seen]
    extra: list[Violation] = field(default_factory=list)

    @property
    def back(self) -> float:
        """How many seconds the way back took."""
        return sum(seen.played.back for seen in self.plays)


class Explorer:
    """Rehearses one plan with these actions on sites of that kind. `plays` counts what was really played.

    `wanted` are the steps that are to be struck.
    """

    def __init__(
        self,
        plan: Plan,
        actions: Mapping[str, Action],
        *,
        site_kind: type[SimulatedSite] = SimulatedSite,
        wanted: Iterable[str] | None = None,
        traced: bool = False,
    ) -> None:
        self.plan = plan
        self.base = Base()
        self.plays = 0
        self._actions = actions
        self._site_kind = site_kind
        self._traced = traced
        self._known = Known()
        self._base_known = Known()
        self.began = self.ended = 0.0
        self._nodes = {node.name for node in plan.site.application.nodes}
        self._wanted = set(wanted) if wanted is not None else {step.id for step in plan.steps()}
        self._gates: dict[str, Rest] = {}
        self._stage = {step.id: stage for stage in plan.stages for step in stage.steps}
        self._place = {step.id: place for place, step in enumerate(plan.steps())}

    def nothing(self) -> Outcome:
        """The run in which nothing goes wrong and every gate is approved. To be explored first."""
        case = Case(())
        plays = [Seen(case, self._begin())]
        while (rest := plays[-1].played.rest) and rest.asked and Reply.APPROVE in rest.asked.replies:
            for gate in rest.asked.steps:
                self._gates[gate] = rest
            plays.append(Seen(case, self._answer(rest, Reply.APPROVE, base=True)))
        self.began = begins(self.plan) + WARM_UP
        self.ended = rest.moment.at - CALM if rest and not rest.asked else 0.0
        undone: list[Violation] = []
        if (rest is None or rest.state is not RunState.DONE) and not any(
            it.played.violations for it in plays
        ):
            why = rest.asked.text if rest and rest.asked else "the engine has failed"
            undone.append(
                Violation("without a fault it is done", why, rest.moment.at if rest else self.began)
            )
        self._base_known = Known(dict(self._known.on_the_way), dict(self._known.at_rest))
        return self._outcome(case, plays, *undone)

    def forget(self) -> None:
        """Everything but the run in which nothing goes wrong."""
        self._known = Known(dict(self._base_known.on_the_way), dict(self._base_known.at_rest))
        for rest in self._known.at_rest.values():
            rest.answers.clear()
        self._traced = False
        self.plays = 0

    def again(self, case: Case) -> Outcome:
        """That case with its trace, and nothing of it taken as known."""
        self._known, self._traced = Known(), True
        try:
            return self.follow(case)
        finally:
            self.forget()

    def stage_of(self, step: str) -> str:
        """The stage that the step is in; of a step of the way back it is called after the one that is taken back."""
        return self._stage[step].name if step in self._stage else "the way back"

    def kind_of(self, violation: Violation) -> tuple[str, str]:
        """What it has in common with others: the rule and how it was broken, whatever the node, the number or the time."""
        words = (
            "*" if word.strip(".,:;'[]()") in self._nodes else re.sub(r"[0-9]+", "0", word)
            for word in re.split(r"([ ./])", violation.what)
        )
        return violation.rule, "".join(words)

    def strikes(self, steps: Iterable[str]) -> Iterator[Strike]:
        """Every fault of these steps."""
        for name in steps:
            if name in self._gates:
                yield from (Strike(name, kind) for kind in OF_A_GATE)
                if self._bound(name):
                    yield Strike(name, Kind.LATE)
            elif name in self.base.moments:
                yield from self._strikes(name)

    def explore(self, strikes: Sequence[Strike]) -> Iterator[Outcome]:
        """These faults, with every answer to every question."""
        case = Case(tuple(strikes))
        plays = [Seen(case, self._root(case))]
        rest = plays[0].played.rest
        if any(it.kind is Kind.FOR_EVER for it in strikes) and rest and rest.asked:
            case = replace(case, replies=(Reply.ABORT,))
            plays.append(Seen(case, self._answer(rest, Reply.ABORT)))
        yield from self._explore(case, plays, ())

    def for_ever(self) -> Iterator[tuple[Strike, Strike]]:
        """Every step of the way back from where most is to be taken back, failing for ever."""
        last = fallback.point_of_no_return(self.plan)
        stages = [*fallback.reachable(self.plan), *([last] if last else [])]
        gates = [it.id for stage in stages for it in stage.steps if it.id in self._gates]
        if gates:
            first = Strike(gates[-1], Kind.REFUSED)
            yield from ((first, Strike(name, Kind.FOR_EVER)) for name in self._way_back(gates[-1]))

    def follow(self, case: Case) -> Outcome:
        """Exactly that case; where it does not say what is answered, up to the question."""
        started = Case(case.strikes)
        plays = [Seen(started, self._root(started) if case.strikes else self._begin())]
        replies = list(case.replies)
        path: list[Rest] = []
        while (rest := plays[-1].played.rest) and rest.asked and len(plays) < 4 * PATIENCE:
            if path.count(rest) > rest.asked.gate:
                return self._outcome(started, plays, *_again(started, path, rest))
            path.append(rest)
            approving = Reply.APPROVE in rest.asked.replies
            if replies and replies[0] in (*self._replies(rest), *rest.asked.replies):
                reply = replies.pop(0)
                if reply != Reply.APPROVE:
                    started = replace(started, replies=(*started.replies, reply))
            elif approving:
                reply = Reply.APPROVE
            else:
                break
            plays.append(Seen(started, self._answer(rest, reply)))
        return self._outcome(started, plays)

    def wander(self, strikes: Sequence[Strike], random: Random) -> Outcome:
        """These faults, with answers as they come."""
        case = Case(tuple(strikes))
        plays = [Seen(case, self._root(case))]
        back = any(strike.step.startswith(BACK) for strike in strikes)
        path: list[Rest] = []
        while (rest := plays[-1].played.rest) and rest.asked and rest.asked.replies and len(plays) < PATIENCE:
            if path.count(rest) > rest.asked.gate:
                return self._outcome(case, plays, *_again(case, path, rest))
            path.append(rest)
            replies = self._replies(rest, case.replies)
            if back and not rest.asked.back and not rest.asked.gate:
                replies = [it for it in replies if it in (Reply.ABORT, Reply.ABORT_UNMENDED)] or replies
            forward_gate = rest.asked.gate and not rest.asked.back
            reply = replies[0] if forward_gate else random.choice(replies)
            if reply != Reply.APPROVE:
                case = replace(case, replies=(*case.replies, reply))
            plays.append(Seen(case, self._answer(rest, reply)))
        return self._outcome(case, plays)

    def pairs(self, count: int, seed: int, steps: Sequence[str]) -> Iterator[tuple[Strike, Strike]]:
        """So many pairs of faults: one on the way there, and another there or on the way back from it."""
        random = Random(seed)  # noqa: S311 -- so that the same seed gives the same pairs
        candidates = [name for name in steps if name in self.base.moments]
        for _ in range(count if candidates else 0):
            first = random.choice(candidates)
            one = random.choice(list(self._strikes(first)))
            later = [name for name in candidates if self._place[name] >= self._place[first]]
            back = self._way_back(first)
            if back and random.random() < 0.5:  # noqa: PLR2004
                name = random.choice(back)
                yield one, Strike(name, random.choice(OF_AN_EFFECT))
            else:
                yield one, random.choice(list(self._strikes(random.choice(later))))

    # Within a case

    def _explore(self, case: Case, plays: list[Seen], path: tuple[Rest, ...]) -> Iterator[Outcome]:
        rest = plays[-1].played.rest
        if rest is None or rest.asked is None or not rest.asked.replies:
            yield self._outcome(case, plays)
            return
        if (
            path.count(rest) > rest.asked.gate
            or sum(not it.asked.gate for it in path if it.asked) >= PATIENCE
        ):
            yield self._outcome(case, plays, *_again(case, path, rest))
            return
        for reply in self._replies(rest, case.replies):
            if reply == Reply.REFUSE and (Reply.REFUSE in case.replies or not rest.asked.back):
                continue
            further = case if reply == Reply.APPROVE else replace(case, replies=(*case.replies, reply))
            if reply not in rest.answers:
                rest.answers[reply] = self._answer(rest, reply)
            seen = Seen(further, rest.answers[reply])
            yield from self._explore(further, [*plays, seen], (*path, rest))

    def _replies(self, rest: Rest, given: Iterable[Answer] = ()) -> list[Answer]:
        """Those that differ: to go back unmended is another thing only where something is broken.

        Nobody tries again what fails for ever, or skips once more; a gate is skipped in a case of its own.
        """
        if rest.asked is None:
            return []
        replies = list(rest.asked.replies)
        if rest.asked.gate or Reply.SKIP in given:
            replies = [it for it in replies if it != Reply.SKIP]
        if _for_ever(rest):
            replies = [it for it in replies if it != Reply.RETRY] or replies
        if Reply.ABORT in replies and _anything_broken(rest):
            replies.insert(replies.index(Reply.ABORT) + 1, Reply.ABORT_UNMENDED)
        return replies

    def _outcome(self, case: Case, plays: list[Seen], *extra: Violation) -> Outcome:
        last = plays[-1].played.rest
        extra = (*extra, *self._late(case, plays, last))
        broken = extra or last is None or any(seen.played.violations for seen in plays)
        return Outcome(case, End.FINDING if broken else _end(last), plays, list(extra))

    def _late(self, case: Case, plays: Sequence[Seen], last: Rest | None) -> Iterator[Violation]:
        """A run that had to go back at the latest safe moment, and did, is back before the window closes."""
        window = self.plan.release.window
        clock = [it for it in case.strikes if it.kind in OF_THE_CLOCK]
        if window is None or len(clock) != len(case.strikes) or last is None or not clock:
            return
        since = next((it.played.back_since for it in plays if it.played.back_since >= 0), -1.0)
        if last.state is not RunState.FELL_BACK or any(it != Reply.ABORT for it in case.replies):
            return
        asked = (THINKS + MENDED) * len(case.replies)
        ended = since - asked + sum(it.played.back for it in plays)
        if ended > window.closes:
            text = f"it is back {ended - window.closes:.0f} s after the window has closed"
            yield Violation("back before the window closes", text, ended)

    def _begin(self) -> Played:
        self.plays += 1
        return run(self._play(()).begin, start=begins(self.plan), grain=GRAIN)

    def _root(self, case: Case) -> Played:
        first = min(case.strikes, key=lambda strike: self._place.get(strike.step, len(self._place)))
        if first.kind in OF_A_GATE:
            if first.step not in self._gates:
                raise _no_such(first, self._gates)
            armed = [Armed(it) for it in case.strikes if it.kind not in OF_A_GATE]
            return self._answer(self._gates[first.step], OF_A_GATE[first.kind], armed=armed)
        if first.kind is Kind.LATE:
            if first.step not in self._gates:
                raise _no_such(first, self._gates)
            return self._answer(self._gates[first.step], None, armed=[Armed(it) for it in case.strikes])
        if first.step not in self.base.moments:
            raise _no_such(first, self.base.moments)
        moment = self.base.moments[first.step]
        play = self._play([Armed(strike) for strike in case.strikes])
        self.plays += 1
        return run(lambda clock: play.resume(clock, moment, None, None), start=moment.at, grain=GRAIN)

    def _answer(
        self, rest: Rest, reply: Answer | None, *, base: bool = False, armed: Sequence[Armed] = ()
    ) -> Played:
        moment = rest.moment
        play = self._play([*moment.armed, *armed], base=base)
        self.plays += 1
        return run(lambda clock: play.resume(clock, moment, reply, rest.asked), start=moment.at, grain=GRAIN)

    def _play(self, armed: Sequence[Armed], *, base: bool | None = None) -> Play:
        listens = (not armed and base is not False and not self.base.moments) or base is True
        return Play(
            self.plan,
            self._actions,
            self.base,
            self._known,
            site_kind=self._site_kind,
            armed=armed,
            traced=self._traced,
            wanted=self._wanted.__contains__ if listens else None,
        )

    def _strikes(self, name: str) -> Iterator[Strike]:
        effects = self.base.effects(name)
        step = next(step for step in self._stage[name].steps if step.id == name)
        attempts = step.attempts
        changes = _CHANGES.get(step.do.action, OF_AN_EFFECT)
        clock = (Kind.MOMENT, Kind.AWAY) if self._bound(name) else ()
        looks = changes if changes in (OF_A_FLUSH, OF_A_LOG) else OF_A_LOOK
        for kind in (*(changes if effects else looks), *clock):
            if kind is Kind.FAILS_ONCE and attempts == 1:
                continue
            for call in range(
                1 if kind in REPEATED or (kind in OF_THE_CONDUCTOR and not effects) else max(1, effects)
            ):
                yield Strike(name, kind, call)

    def _bound(self, name: str) -> bool:
        """Whether the window binds the run there: a stage without service is not finished yet."""
        stages = self.plan.stages
        without = [place for place, stage in enumerate(stages) if stage.outage]
        if not self.plan.release.window or not without:
            return False
        return stages.index(self._stage[name]) <= without[-1] and self._stage[name].outage

    def _way_back(self, first: str) -> list[str]:
        """The steps of the way back once everything up to that step was begun."""
        reached = {
            name: fallback.Reached() for name, place in self._place.items() if place <= self._place[first]
        }
        try:
            back = fallback.way_back(self.plan, reached)
        except RefusedError:
            return []
        return [step.id for step in back.steps() if not step.person]


def _again(case: Case, path: Sequence[Rest], rest: Rest) -> Iterator[Violation]:
    """The same question once more, though it was answered. A gate that was refused may stand there a second time.

    To try again what fails for ever leads nowhere, nor what lacks a step that was skipped or what is broken still, with
    whatever answer: the others do.
    """
    lacking = {Reply.SKIP, Reply.ACCEPT} & set(case.replies)
    if lacking or any(it.kind is Kind.FOR_EVER for it in case.strikes):
        return
    if case.replies and case.replies[-1].startswith(WITH) and _anything_broken(rest):
        return
    text = rest.asked.text if rest.asked else ""
    again = f"after {len(path)} answers a person is asked again: {text}"
    yield Violation("an answer leads somewhere", again, rest.moment.at)


def _anything_broken(rest: Rest) -> bool:
    hosts = rest.moment.site.hosts.values()
    stores, now = rest.moment.site.stores.values(), rest.moment.at
    return (
        any(not host.reached or host.full for host in hosts)
        or any(it.sticks and it.hit for it in rest.moment.armed)
        or any(store.locked_until > now for store in stores)
        or any(it.stale for it in rest.moment.site.deployments.values())
    )


def _for_ever(rest: Rest) -> bool:
    """Whether what is asked about fails for ever. What stands in a log goes on standing there."""
    lasts = (Kind.FOR_EVER, Kind.LOGGED)
    hit = {it.strike.step for it in rest.moment.armed if it.hit and it.strike.kind in lasts}
    return rest.asked is not None and not hit.isdisjoint(rest.asked.steps)


def _end(rest: Rest | None) -> End:
    if rest is None:
        return End.FINDING
    if rest.state is RunState.DONE:
        return End.DONE
    if rest.state is RunState.FELL_BACK or rest.back_where_it_began:
        return End.FELL_BACK
    return End.STOPPED


def _no_such(strike: Strike, known: Iterable[str]) -> RefusedError:
    names = list(known)
    return RefusedError(
        f"{strike.step}: no step of the plan that {strike.kind} could strike",
        hint=f"for instance {names[0]}" if names else "",
    )
