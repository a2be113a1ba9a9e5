"""What the spec knows of the strategies and drivers, which it may not import, is what they go by."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.model.release import Batch, Gate
from changeover.spec import NEEDED
from changeover.spec.build import release
from changeover.strategies import STRATEGIES
from changeover.strategies.blocks import NEEDS
from changeover.strategies.rolling import batch_name
from changeover.strategies.rolling import batches as batches_of
from changeover.strategies.window import stage_names
from tests.sites import a_release, a_site
from tests.windowkit import a_gated_site, a_window

BATCHES = st.lists(
    st.integers(1, 12).map(lambda n: Batch(count=n)) | st.integers(1, 100).map(lambda n: Batch(percent=n)),
    min_size=1,
    max_size=4,
).map(tuple)
GATES = st.lists(st.sampled_from(["canary", "batch-1", "batch-2", "batch-3", "verify"]), unique=True).map(
    tuple
)


def test_the_spec_asks_for_the_capabilities_that_strategies_need() -> None:
    """No strategy is unknown to the spec, and none misses anything that the spec let pass."""
    assert set(NEEDED) == set(STRATEGIES)
    assert {frozenset(needed) for needed in NEEDED.values()} == {frozenset(NEEDS)}


def test_the_stages_of_a_window_are_those_of_the_plan() -> None:
    """What the file may say of the way back of a stage is checked against these."""
    site = a_gated_site(pools=True)
    named = release.window_stages(site)
    assert named == list(stage_names("app2", ["app1"]))
    assert [stage.name for stage in a_window(site).stages if stage.name in named] == named


@settings(max_examples=60)
@given(st.integers(1, 12), BATCHES, GATES)
def test_batches_and_their_names_are_those_of_the_plan(
    total: int, batches: tuple[Batch, ...], gates: tuple[str, ...]
) -> None:
    """Gates and the floor are checked against the batches that rolling will make."""
    wanted = msgspec.structs.replace(
        a_release(), batches=batches, gates=tuple(Gate(after=name, approve=True) for name in gates)
    )
    planned = batches_of(a_site(total).application.nodes, wanted)
    assert release.sizes(batches, total) == [len(batch) for batch in planned]
    names = [batch_name(number, wanted) for number, _ in enumerate(planned, start=1)]
    assert release.gated_stages(batches, gates, total) == [*names, "verify"]
