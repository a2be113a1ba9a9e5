"""A window on the simulated site, by the real engine: there, and back from every step of it."""

from collections.abc import Iterator

import msgspec
import pytest

from changeover.engine.events import Verb
from changeover.model.plan import BACK, Plan, Stage
from changeover.model.site import Site
from changeover.model.states import RunState, StepState
from changeover.simulation import SimulatedSite, differences, run
from changeover.strategies import blocks
from tests.windowkit import DDL, LOG, Played, a_gated_site, a_window, play, ways_back

SITES = {"gates": a_gated_site(), "gates-and-pools": a_gated_site(pools=True)}
BALANCED = msgspec.structs.replace(a_gated_site(pools=True), access=())
SITES["pools"] = BALANCED

NO_END = "none/approve"


def _played(plan: Plan, **how: object) -> Played:
    return run(lambda clock: play(clock, plan, **how), grain=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("site", SITES.values(), ids=SITES.keys())
def test_a_window_ends_with_the_new_version_and_the_site_open(site: Site) -> None:
    """Everybody was asked, in their order; what was kept and remembered is gone, the files are as they were."""
    played = _played(a_window(site), until=NO_END)
    assert played.status.state is RunState.DONE
    assert played.asked == [
        *("sign-off-lisa/approve", "sign-off-kirk/approve"),
        *("go/approve", "finalize/approve"),
    ]
    now = played.site.state()
    assert {it["running"] for it in now["nodes"].values()} == {"v2"}
    assert {tuple(it["installed"]) for it in now["nodes"].values()} == {("v2",)}
    assert now["databases"]["main"]["applied"] == ("window-to-v2", "001_kind", "002_legacy")
    for name in ("app1", "app2"):
        was, files = played.before["hosts"][name]["files"], now["hosts"][name]["files"]
        assert files == {**was, DDL: was[DDL].replace(b"as it was", b"false")}
        assert now["hosts"][name]["owned"] == played.before["hosts"][name]["owned"]
    changed = differences(played.before, now)
    assert not [it for it in changed if it.startswith(("pools.", "access."))]


def test_a_window_waits_until_it_opens() -> None:
    """Nobody is kept out before."""
    plan = a_window()
    opens = plan.release.window.opens if plan.release.window else 0
    closed: list[float] = []

    def stops(site: SimulatedSite) -> None:
        if not all(node.running for node in site.nodes.values()):
            closed.append(site.moment)

    def watch(site: SimulatedSite) -> None:
        site.watcher = stops

    _played(plan, mess=watch)
    assert closed
    assert min(closed) >= opens


def halted(plan: Plan, step: str) -> Plan:
    """The plan with a gate `halt` behind that step, and behind all that may be done beside it."""
    stages: list[Stage] = []
    for stage in plan.stages:
        place = next((place for place, it in enumerate(stage.steps, start=1) if it.id == step), 0)
        if not place:
            stages.append(stage)
            continue
        halt = Stage("halt", "", (blocks.approve("halt", ""),), outage=stage.outage)
        rest = tuple(
            msgspec.structs.replace(it, needs=tuple(n for n in it.needs if n not in _names(stage, place)))
            for it in stage.steps[place:]
        )
        stages += [msgspec.structs.replace(stage, steps=stage.steps[:place]), halt]
        if rest:
            stages.append(msgspec.structs.replace(stage, name=f"{stage.name}-rest", steps=rest))
    return msgspec.structs.replace(plan, stages=tuple(stages))


def _names(stage: Stage, until: int) -> set[str]:
    return {it.id for it in stage.steps[:until]}


def _stages(plan: Plan) -> Iterator[str]:
    for stage in plan.stages:
        if not stage.finalize and not all(step.person for step in stage.steps):
            yield stage.name


@pytest.mark.parametrize("stage", list(_stages(a_window(SITES["gates-and-pools"]))))
def test_the_way_back_from_each_step_brings_everything_back(stage: str) -> None:
    """The old version, the old data, the old files with their modes; field by field, after each step of the stage.

    Only the snapshot of a database that was changed is kept. Those who sign off are asked if nodes were stopped; that
    something is lost nobody has to agree to, unless the site was open.
    """
    plan = a_window(SITES["gates-and-pools"])
    begun = [it.name for it in plan.stages]
    steps = next(it.steps for it in plan.stages if it.name == stage)
    for step in steps:
        played = _played(halted(plan, step.id), until="halt/approve")
        untouched = stage == "check" or step.id == "app2/build"
        ended = RunState.ABORTED if untouched else RunState.FELL_BACK
        assert played.status.state is ended, (step.id, played.status.reason)
        changed = differences(played.before, played.site.state())
        migrated = begun.index(stage) >= begun.index("migrate") and not step.id.endswith("/at-rest")
        kept = [it for it in changed if it.startswith("databases.main.snapshots.")]
        assert changed == kept, (step.id, changed)
        assert len(kept) == migrated, step.id
        asked = ways_back(played.asked)
        assert (f"{BACK}main/restore/approve" in asked) is (stage == "open"), (step.id, asked)
        if stage != "open":
            lost = played.site.clients.missing(played.site.stores["main"])
            assert lost == 0, step.id
        if begun.index(stage) >= begun.index("stop"):
            assert [f"{BACK}sign-off-lisa/approve", f"{BACK}sign-off-kirk/approve"] == asked[-2:], step.id


def test_a_head_that_complains_stops_the_run_before_another_node_is_touched() -> None:
    """An error that nobody knows is shown in its context, without what is secret; back, all is as it was."""

    def complain(site: SimulatedSite) -> None:
        site.nodes["app2"].mutters["v2"] = ("WARN x", "SEVERE no datasource, password=hunter2", "\tat y.Z")

    played = _played(a_window(), mess=complain)
    failed = played.status.steps["app2/first-log"]
    assert failed.state is StepState.FAILED
    assert "> SEVERE no datasource, password=***\n  > \tat y.Z" in failed.evidence
    assert "from before" not in failed.evidence
    assert "hunter2" not in failed.evidence
    assert played.status.state is RunState.FELL_BACK
    assert b"v2" not in played.site.hosts["app1"].logs[LOG].text
    (left,) = differences(played.before, played.site.state())
    assert left.startswith("databases.main.snapshots.")


def test_a_known_issue_counts_in_its_step_only() -> None:
    """It is known of the first start; of the second nobody knows it, and what a person accepts there stands."""

    def complain(site: SimulatedSite) -> None:
        site.nodes["app2"].mutters["v2"] = ("ERROR hibernate: table exists",)

    accepted = [(Verb.RETRY, "app2/start-log", "accept"), (Verb.ABORT, "", "")]
    played = _played(a_window(), mess=complain, then=accepted)
    first, second = (played.status.steps[name] for name in ("app2/first-log", "app2/start-log"))
    assert "known: 'hibernate' 1 time, at most 1" in first.evidence
    assert second.state is StepState.DONE
    assert second.evidence.startswith("accepted: ")
    assert "finalize" not in str(played.status.reason)
    assert played.site.hosts["app1"].logs[LOG].text.count(b"v2 started") == 1


def test_what_is_too_long_to_be_recorded_whole_can_be_accepted() -> None:
    """The journal keeps the beginning of what was found; who accepts that is not asked for ever."""

    def complain(site: SimulatedSite) -> None:
        site.nodes["app1"].mutters["v2"] = tuple(f"ERROR {number} {'x' * 390}" for number in range(20))

    accepted = [(Verb.RETRY, "app1/start-log", "accept"), (Verb.ABORT, "", "")]
    read = _played(a_window(), mess=complain, then=accepted).status.steps["app1/start-log"]
    assert "characters more" in read.evidence
    assert (read.state, read.attempt) == (StepState.DONE, 2)


def test_a_tester_who_refuses_leads_to_the_way_back() -> None:
    """The site was never open; both are asked again before the old version is let out."""
    refuses = [(Verb.REFUSE, "sign-off-kirk/approve", ""), (Verb.ABORT, "", "")]
    played = _played(a_window(), until="sign-off-kirk/approve", then=refuses)
    assert played.status.state is RunState.FELL_BACK
    assert ways_back(played.asked) == [f"{BACK}sign-off-lisa/approve", f"{BACK}sign-off-kirk/approve"]
    (left,) = differences(played.before, played.site.state())
    assert left.startswith("databases.main.snapshots.")


def test_a_file_that_is_not_there_is_told_before_anything_is_lost() -> None:
    """The backup fails, with the name of the file; taken back, the site is as it was."""

    def lose(site: SimulatedSite) -> None:
        del site.hosts["app1"].files["/etc/app1.key"]

    played = _played(a_window(), mess=lose)
    assert "there is no /etc/app1.key on app1" in played.status.steps["app1/keep"].evidence
    assert played.status.state is RunState.FELL_BACK
    (lost,) = differences(played.before, played.site.state())
    assert lost.startswith("hosts.app1.files./etc/app1.key: ")
