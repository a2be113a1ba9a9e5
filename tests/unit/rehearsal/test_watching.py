"""What is seen of a site that is changed by hand: which rule is broken, and what a fault excuses."""

from collections.abc import Callable

import pytest

from changeover.model.plan import Facts, Step
from changeover.ports import AdminState
from changeover.rehearsal.watching import Watcher
from changeover.simulation import LoopClock, SimulatedSite, Traffic, run
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_site
from tests.windowkit import a_window

PLAN = STRATEGIES["rolling"](a_site(), a_release(keep_serving=3), Facts())
STEPS = {step.id: step for step in PLAN.steps()}

Change = Callable[[SimulatedSite], None]


def seen(
    *changes: Change, active: tuple[str, ...] = (), before: Callable[[Watcher], None] = lambda _: None
) -> set[str]:
    """The rules that are broken when a site under traffic is changed like this, one change a minute."""

    async def work(clock: LoopClock) -> set[str]:
        site = SimulatedSite(
            PLAN.site, "v1", clock, release=PLAN.release, traffic=Traffic(requests=10, sessions=1, writes=1)
        )
        await clock.sleep(30)
        site.settle()
        steps: list[Step] = [STEPS[name] for name in active]
        watcher = Watcher(PLAN, "run", site, active=lambda: steps, stage=lambda: None)
        site.watcher = watcher
        before(watcher)
        for change in changes:
            site.change(change)
            await clock.sleep(60)
            site.settle()
        watcher.conclude()
        return {violation.rule for violation in watcher.violations}

    return run(work)


def told(server: str, state: AdminState) -> Change:
    """The balancer is told that of the server."""

    def change(site: SimulatedSite) -> None:
        site.pools["public"].servers[server].admin = state

    return change


def stopped(site: SimulatedSite) -> None:
    """A node stops."""
    site.nodes["app1"].running = ""


def contracted(site: SimulatedSite) -> None:
    """The schema is one that the old version cannot live on."""
    site.stores["main"].applied += ["001_kind", "002_legacy"]


def test_a_site_that_is_left_alone_breaks_nothing() -> None:
    """Under traffic, for a minute."""
    assert seen(lambda _: None) == set()


def test_a_node_that_leaves_by_its_step_and_without_haste_breaks_nothing() -> None:
    """Its sessions end by themselves while it is drained."""
    assert seen(told("app1", AdminState.DRAIN), stopped, active=("app1/drain",)) == set()


@pytest.mark.parametrize(
    ("changes", "active", "rules"),
    [
        ([told("app1", AdminState.DRAIN)], (), {"only the named servers"}),
        (
            [told("app1", AdminState.DRAIN), told("app2", AdminState.DRAIN)],
            ("app1/drain", "app2/drain"),
            {"capacity floor"},
        ),
        ([stopped], (), {"in rotation is running, well and of an allowed version", "nothing is lost"}),
        (
            [contracted],
            (),
            {"no forbidden pair", "verified backup", "nothing is lost", "capacity floor"},
        ),
    ],
    ids=["another server", "floor", "stopped while it serves", "schema"],
)  # fmt: skip
def test_each_rule_is_seen_to_be_broken(
    changes: list[Change], active: tuple[str, ...], rules: set[str]
) -> None:
    """By a change that breaks it, and by no other."""
    assert seen(*changes, active=active) == rules


def test_what_a_dead_host_costs_is_excused_and_nothing_else() -> None:
    """The sessions on it are cut by necessity; another node may not be taken out below the floor then."""

    def dies(site: SimulatedSite) -> None:
        site.kill("app1")

    assert seen(dies, before=lambda watcher: watcher.struck("app1")) == set()
    assert seen(dies) > set()
    further = told("app2", AdminState.DRAIN)
    assert seen(dies, further, active=("app2/drain",), before=lambda watcher: watcher.struck("app1")) == {
        "capacity floor"
    }


def test_without_its_database_nobody_can_be_served_and_that_is_excused() -> None:
    """Everything is lost until it is mended, and a while longer."""

    def dies(site: SimulatedSite) -> None:
        site.kill("db1")

    assert seen(dies, SimulatedSite.mend, before=lambda watcher: watcher.struck("db1")) == set()
    assert "nothing is lost" in seen(dies, SimulatedSite.mend)


def closed_seen(stage: str, live: bool) -> set[str]:
    """The rules that are broken in that stage of a window, while its gate is closed on one host, and on the other so or not."""

    async def work(clock: LoopClock) -> set[str]:
        plan = a_window()
        site = SimulatedSite(plan.site, "v1", clock, release=plan.release)
        now = next(it for it in plan.stages if it.name == stage)
        site.gates["public"].entrances["app1"].live = True
        site.gates["public"].entrances["app2"].live = live
        site.settle()
        watcher = Watcher(plan, "run", site, active=lambda: now.steps[:1], stage=lambda: now)
        return {violation.rule for violation in watcher.violations}

    return run(work)


def test_whoever_could_come_in_while_nobody_is_to_be_served_is_seen() -> None:
    """In every stage but those that close the gate and open it, whatever is kept for the next boot."""
    assert closed_seen("backup", live=False) == {"the site is closed"}
    assert closed_seen("backup", live=True) == set()
    assert closed_seen("open", live=False) == set()
