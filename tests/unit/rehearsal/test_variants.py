"""Whatever the operator's file says of the way back, a rehearsal of the plan has no finding."""

import msgspec
import pytest

from changeover.model.plan import Direction, Facts
from changeover.model.release import (
    Ability,
    Batch,
    Budgets,
    Cause,
    Coexistence,
    Fallback,
    Gate,
    Release,
    SqlMigration,
)
from changeover.rehearsal import rehearse
from changeover.strategies.rolling import rolling
from tests.sites import a_release, a_site


def _without_down(*, transactional: bool) -> Release:
    release = a_release()
    [change] = release.migrations
    second = SqlMigration("002_more", "UPDATE t SET more = 1", "c2", transactional=transactional)
    return a_release(migrations=(msgspec.structs.replace(change, expand=(*change.expand, second)),))


VARIANTS = {
    "no down script": _without_down(transactional=True),
    "a migration that can be torn": _without_down(transactional=False),
    "an old version that only runs on": a_release(coexistence=Coexistence(Ability.RUN, Ability.NO)),
    "both versions run on": a_release(coexistence=Coexistence(Ability.RUN, Ability.RUN)),
    "by itself": a_release(fallback=Fallback(when=frozenset({Cause.FAILURE, Cause.BUDGET, Cause.GATE}))),
    "a schema that is kept": a_release(fallback=Fallback(stages={"expand": Direction.KEEP})),
    "a schema that is asked for": a_release(fallback=Fallback(stages={"expand": Direction.ASK})),
    "a gate and a budget": a_release(
        gates=(Gate(after="canary", approve=True, hold=60.0),),
        budgets=Budgets(batch=1, total=1, consecutive=1),
        batches=(Batch(count=1), Batch(count=1)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("release", [pytest.param(it, id=name) for name, it in VARIANTS.items()])
def test_no_variant_of_the_way_back_has_a_finding(release: Release) -> None:
    """Every single fault, and some pairs, on two nodes of which one must serve."""
    release = msgspec.structs.replace(release, keep_serving=1)
    found = rehearse(rolling(a_site(2), release, Facts()), pairs=60, seed=11, workers=1)
    assert [(finding.case, finding.rule, finding.what) for finding in found.findings] == []
