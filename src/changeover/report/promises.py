"""What each stage promises at the most: in an outage that was agreed to, nothing of requests and sessions."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from changeover.model.plan import Promise, Stage
from changeover.report.receipt import Cost

LETS_IN = frozenset({"access.open", "traffic.enter", "application.unflush"})
STARTS = frozenset({"node.start"})
"""What ends an outage where nothing but the stopped nodes has kept people out."""


def promised(stages: Sequence[Stage]) -> list[Promise]:
    """For each stage in turn. An outage lasts until the end of the stage in which people are let in again."""
    actions = {step.do.action for stage in stages for step in stage.steps}
    ends = LETS_IN if actions & LETS_IN else STARTS
    return list(_promised(stages, ends))


def together(promises: Iterable[Promise], costs: Iterable[Cost | None]) -> Promise:
    """The promise of the whole: where nothing was promised, what it has cost is what was agreed to."""
    whole = Promise()
    for promise, cost in zip(promises, costs, strict=True):
        requests, sessions = promise.requests_failed, promise.sessions_cut
        if requests is None:
            requests = (cost.requests.seen if cost else 0) or 0
        if sessions is None:
            sessions = (cost.sessions.seen if cost else 0) or 0
        whole = Promise(
            (whole.requests_failed or 0) + requests,
            (whole.sessions_cut or 0) + sessions,
            whole.writes_lost + promise.writes_lost,
        )
    return whole


def _promised(stages: Iterable[Stage], ends: frozenset[str]) -> Iterator[Promise]:
    agreed = False
    for stage in stages:
        agreed = agreed or stage.outage
        if agreed:
            yield msgspec.structs.replace(stage.promise, requests_failed=None, sessions_cut=None)
        else:
            yield stage.promise
        if any(step.do.action in ends for step in stage.steps):
            agreed = False
