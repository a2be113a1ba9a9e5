"""Which step may be launched next: in-degree counts, and a ready queue for each combination of limits."""

from collections import deque
from collections.abc import Callable, Container
from heapq import heappop, heappush

from changeover.engine.graph import Graph
from changeover.model.plan import Step
from changeover.model.states import SATISFIED, StepState

Places = tuple[str, ...]


class Scheduler:
    """Made from where the steps stand; then told what was launched and what ended. No call scans the plan.

    A stage begins when everything in the stages before is satisfied. A step is ready when all it needs is;
    it is handed out by `next` when each of its limits has room, in the order of the plan within the same
    limits. Steps in `flying` were launched before, by another scheduler: they have their places, and it is
    told here what becomes of them. Those in `held` wait for `again`.
    """

    def __init__(
        self,
        graph: Graph,
        state_of: Callable[[str], StepState],
        flying: Container[str] = (),
        held: Container[str] = (),
    ) -> None:
        self._graph = graph
        self._room = dict(graph.plan.limits)
        self._ready: dict[Places, list[int]] = {}
        self._open: deque[Places] = deque()  # with steps to hand out, as far as is known
        self._blocked: dict[str, deque[Places]] = {name: deque() for name in self._room}
        self._left = [len(stage.steps) for stage in graph.plan.stages]
        self._needs = list(graph.needs)
        self._pending = bytearray(len(graph.steps))  # to be handed out, and in no queue yet
        pending = StepState.PENDING
        for place, step in enumerate(graph.steps):
            state = state_of(step.id)
            if step.id in flying:
                self._take(step.limits)
            elif state in SATISFIED:
                self._left[graph.stage[place]] -= 1
                for dependent in graph.dependents.get(place, ()):
                    self._needs[dependent] -= 1
            elif state is pending and step.id not in held:
                self._pending[place] = True
        self._stage = -1
        self._advance()

    def next(self) -> Step | None:
        """The next step to launch, its places taken; None if none may be launched now."""
        while self._open:
            limits = self._open.popleft()
            full = next((name for name in limits if self._room[name] < 1), None)
            if full is not None:
                self._blocked[full].append(limits)
                self._wake(limits)
                continue
            waiting = self._ready[limits]
            step = self._graph.steps[heappop(waiting)]
            self._take(limits)
            if waiting:
                self._open.append(limits)
            else:
                del self._ready[limits]
                self._wake(limits)
            return step
        return None

    def release(self, step: Step) -> None:
        """It is no longer in flight: others may have its places."""
        for name in step.limits:
            self._room[name] += 1
        self._wake(step.limits)

    def again(self, step: Step) -> None:
        """It is to be launched again."""
        place = self._graph.place[step.id]
        self._pending[place] = True
        self._offer(place)

    def satisfy(self, step: Step) -> None:
        """It is done or skipped: let those that need it go on."""
        place = self._graph.place[step.id]
        for dependent in self._graph.dependents.get(place, ()):
            self._needs[dependent] -= 1
            self._offer(dependent)
        self._left[self._graph.stage[place]] -= 1
        if not self._left[self._stage]:
            self._advance()

    def _advance(self) -> None:
        """Begin the next stage that has anything left to do."""
        stages = self._graph.plan.stages
        while self._stage + 1 < len(stages):
            self._stage += 1
            if self._left[self._stage]:
                break
        begins = sum(len(stage.steps) for stage in stages[: self._stage])
        for place in range(begins, begins + len(stages[self._stage].steps) if stages else 0):
            self._offer(place)

    def _offer(self, place: int) -> None:
        """Queue the step if nothing but its limits is in its way."""
        if not self._pending[place] or self._needs[place] or self._graph.stage[place] != self._stage:
            return
        self._pending[place] = False
        limits = self._graph.steps[place].limits
        waiting = self._ready.get(limits)
        if waiting is None:
            waiting = self._ready[limits] = []
            self._open.append(limits)
        heappush(waiting, place)

    def _take(self, limits: Places) -> None:
        for name in limits:
            self._room[name] -= 1

    def _wake(self, limits: Places) -> None:
        """Look again at one queue for each limit that has room: it passes the turn on when it cannot use it."""
        for name in limits:
            if self._room[name] > 0 and self._blocked[name]:
                self._open.append(self._blocked[name].popleft())
