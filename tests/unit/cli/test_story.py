"""A whole upgrade from the terminal, over the real engine and a site in memory."""

from pathlib import Path

import msgspec
import pytest

from changeover.cli.plans import read_plan
from changeover.model.release import Batch, Duty, Gate, Window
from changeover.ports import Applied
from changeover.simulation.site import differences
from changeover.spec import starter
from tests.terminalkit import Terminal, a_terminal


def states(changeover: Terminal) -> dict[str, str]:
    """Where each step of the latest run stands."""
    return {name: step["state"] for name, step in changeover("status", "--json").json["steps"].items()}


def test_check_prints_verdicts_with_evidence(changeover: Terminal) -> None:
    """A site that is well ends with 0 and shows what was seen."""
    ended = changeover("check")
    assert ended.code == 0
    assert ended.out.startswith("identity: all good\n")
    assert "good  app1 version    it runs v1\n" in ended.out


def test_a_check_that_is_not_good_is_refused(changeover: Terminal) -> None:
    """One node that is ill ends it with 4, and JSON says which."""
    changeover.site.nodes["app2"].broken.add("health")
    ended = changeover("check", "--json")
    assert ended.code == 4
    assert not ended.json["good"]
    assert "app2 health" in [v["subject"] for v in ended.json["verdicts"] if v["outcome"] == "bad"]


def test_a_saved_plan_is_what_runs(changeover: Terminal) -> None:
    """Plan, save, run up to the finalize gate, finalize: each ends with 0."""
    assert changeover("plan", "-o", "plan.json", "--brief").code == 0
    saved = read_plan(Path("plan.json"))
    ran = changeover("run", "plan.json", "--reason", "CHG-1", "--json")
    assert (ran.code, ran.lines[-1]["state"], ran.lines[-1]["finalize_left"]) == (0, "waiting", True)
    assert {node.running for node in changeover.site.nodes.values()} == {"v2"}
    report = changeover("report", "--json").json
    assert (report["plan"], report["reason"], report["actor"]) == (saved.digest(), "CHG-1", "ann")
    finalized = changeover("finalize", "--reason", "content")
    assert finalized.code == 0
    assert "identity: done" in finalized.out
    assert set(states(changeover).values()) == {"done"}


def test_events_are_lines_when_nobody_watches(changeover: Terminal) -> None:
    """In a pipe: a line for each event, no control sequence, no blank at a line's end."""
    out = changeover("run", "--yes").out
    assert "app1/drain                done" in out
    assert "\x1b" not in out
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


def test_a_fresh_plan_is_not_run_unasked(changeover: Terminal) -> None:
    """Without a terminal to ask at and without --yes it is bad input, and nothing has begun."""
    ended = changeover("run")
    assert ended.code == 2
    assert "hint: save it with `changeover plan -o plan.json`" in ended.err
    assert changeover("runs", "--json").json == []


def test_a_stale_plan_is_refused_with_what_differs(changeover: Terminal) -> None:
    """A site that has changed since is left alone, and the error says where."""
    changeover("plan", "-o", "plan.json")
    changeover.site.nodes["app3"].running = "v0"
    ended = changeover("run", "plan.json", "--json")
    assert ended.code == 4
    error = msgspec.json.decode(ended.err)
    assert (error["error"], error["exit"]) == ("StaleError", 4)
    assert "app3 runs v0, the plan says v1" in error["message"]
    assert changeover("runs", "--json").json == []


@pytest.mark.parametrize("command", [("run", "plan.json"), ("plan", "--diff", "plan.json")])
def test_a_plan_edited_by_hand_is_refused(changeover: Terminal, command: tuple[str, ...]) -> None:
    """One step's target, changed in the file to another valid one: it is bad input, and nothing has begun."""
    changeover("plan", "-o", "plan.json")
    Path("plan.json").write_text(Path("plan.json").read_text().replace('"disk_free": ', '"disk_free": 1'))
    ended = changeover(*command)
    assert ended.code == 2
    assert "plan.json: it was changed after it was saved: the plan in it is " in ended.err
    assert "then make it again with `changeover plan -o`" in ended.err
    assert changeover("runs", "--json").json == []


def test_a_saved_plan_may_be_laid_out_anew(changeover: Terminal) -> None:
    """The digest names the plan, not the bytes of the file."""
    changeover("plan", "-o", "plan.json")
    saved = Path("plan.json").read_bytes()
    Path("plan.json").write_bytes(msgspec.json.format(saved, indent=4))
    assert changeover("run", "plan.json").code == 0


def test_a_failure_stops_the_run_and_a_retry_goes_on(changeover: Terminal) -> None:
    """It ends with 3 and says what to type; a retry without a conductor is stored for resume."""
    changeover.site.nodes["app1"].broken.add("start")
    stopped = changeover("run", "--yes")
    assert stopped.code == 3
    assert "next: mend it, then `changeover retry app1/start`" in stopped.out
    changeover.site.nodes["app1"].broken.clear()
    stored = changeover("retry", "app1/start")
    assert (stored.code, stored.out) == (
        0,
        "stored: no conductor has the run now; `changeover resume` will carry it out\n",
    )
    assert "stored for the next one: retry app1/start" in changeover("status").out
    assert changeover("resume").code == 0


def test_the_way_back_is_shown_with_the_plan(changeover: Terminal) -> None:
    """From each stage, step by step, and as JSON."""
    shown = changeover("plan", "--fallback")
    assert shown.code == 0
    assert "the way back, v2 → v1" in shown.out
    assert "back/app4/switch" in shown.out
    assert changeover("plan", "--fallback", "--json").json["point_of_no_return"] == "finalize"


def test_the_strategies_that_fit_are_named_and_why_others_do_not(changeover: Terminal) -> None:
    """With what each comes to; the one in the file is marked."""
    shown = changeover("plan", "--strategies")
    assert shown.code == 0
    assert "rolling (chosen)" in shown.out
    assert "the strategy window needs `upgrade.window`" in " ".join(shown.out.split())
    by_name = {it["strategy"]: it for it in changeover("plan", "--strategies", "--json").json["strategies"]}
    assert by_name["rolling"]["fits"]
    assert by_name["rolling"]["in_rotation"] == 3
    assert "in_rotation" not in by_name["full-stop"]
    assert by_name["full-stop"]["stages"][-2:] == ["resume", "finalize"]
    assert not by_name["window"]["fits"]
    assert changeover("plan", "--strategies", "--fallback").code == 2


def test_every_stored_command_is_taken_at_the_finalize_gate(changeover: Terminal) -> None:
    """Each of them comes before the approval, which is obeyed nevertheless: finalize ends with 0."""
    changeover("run", "--yes")
    for command in ("pause", "continue", "pause", "continue"):
        assert changeover(command).out.startswith("stored")
    assert changeover("finalize").code == 0
    assert set(states(changeover).values()) == {"done"}


def test_an_abort_that_was_stored_behind_others_ends_the_run(changeover: Terminal) -> None:
    """Resume carries out all three, and ends with 5: the run went back."""
    changeover("run", "--yes")
    changeover("pause")
    changeover("continue")
    changeover("abort", "--reason", "enough")
    ended = changeover("resume")
    assert ended.code == 5
    assert "abort (stored by ann): it goes back as soon as what is in flight has finished" in ended.err
    assert "identity: fell back to where it began\n" in ended.out
    assert changeover("watch").code == 5


def test_resume_says_what_came_of_each_stored_command(changeover: Terminal) -> None:
    """Taken, or refused with the reason, as is one that came behind the end of the run; JSON says the same."""
    changeover("run", "--yes")
    changeover("retry", "app1/start")
    changeover("pause")
    ended = changeover("resume")
    assert (
        "retry app1/start (stored by ann): refused: app1/start is done; "
        "only what failed or was skipped can be retried\n"
    ) in ended.err
    assert "pause (stored by ann): paused\n" in ended.err
    changeover("abort", "--reason", "enough")
    changeover("pause")
    told = changeover("resume", "--json").lines[-1]["stored"]
    assert [(it["command"], it["outcome"]) for it in told] == [("abort", "taken"), ("pause", "refused")]


def test_a_second_run_is_told_who_holds_the_site(changeover: Terminal) -> None:
    """Who, why and since when, with 4."""
    changeover("run", "--yes", "--reason", "CHG-1")
    ended = changeover("run", "--yes")
    assert ended.code == 4
    assert "site identity is held by run" in ended.err
    assert "of ann" in ended.err
    assert "CHG-1" in ended.err


def test_a_held_site_is_not_looked_at_for_another_plan(changeover: Terminal) -> None:
    """What the run under way has made of it is not told as a mistake of the operator's."""
    changeover("run", "--yes")
    changeover.site.nodes["app1"].running = "v7"
    ended = changeover("run", "--yes")
    assert ended.code == 4
    assert "site identity is held by run" in ended.err
    assert "v7" not in ended.err


def test_an_aborted_run_goes_back_and_frees_the_site(changeover: Terminal) -> None:
    """A node cannot be started, in no version: the others go back, it is left; once it can, all is as it was."""
    before = changeover.site.state()
    changeover.site.nodes["app2"].broken.add("start")
    assert changeover("run", "--yes").code == 3
    assert changeover("abort", "--reason", "window closes").code == 0
    assert changeover("resume").code == 3
    report = changeover("report", "--format", "markdown").out
    assert "back-expand waits for app2, which could not go back" in report
    assert "Left of the way back, to be done by hand in this order" in report
    assert "back/app2/start" in report
    changeover.site.nodes["app2"].broken.clear()
    assert changeover("retry", "back/app2/start").code == 0
    assert changeover("resume").code == 5
    [kept] = differences(before, changeover.site.state())
    assert kept.startswith("databases.main.snapshots.before-v2.")  # the only copy of what was changed
    assert changeover("pause").code == 4
    assert changeover("runs", "--json").json[0]["state"] == "fell back"


def test_a_run_that_is_ended_where_it_is_frees_the_site(changeover: Terminal) -> None:
    """Carried out by the next resume, which ends with 6; the report says what going back would have taken."""
    changeover.site.nodes["app1"].broken.add("start")
    changeover("run", "--yes")
    assert changeover("abort", "--stay", "--reason", "window closes").code == 0
    assert changeover("resume").code == 6
    assert "back/app1/switch" in changeover("report", "--format", "markdown").out
    assert changeover("pause").code == 4
    assert changeover("runs", "--json").json[0]["state"] == "aborted"


def test_a_mistyped_step_is_answered_with_the_nearest(changeover: Terminal) -> None:
    """It is refused at once, whether a conductor is there or not, and nothing is stored."""
    changeover.site.nodes["app1"].broken.add("start")
    changeover("run", "--yes")
    refused = changeover("retry", "app1/strat")
    assert refused.code == 4
    assert "did you mean 'app1/start'?" in refused.err


def test_an_answer_that_a_step_does_not_offer_is_refused_at_once(changeover: Terminal) -> None:
    """With those that it offers; nothing is stored."""
    changeover.site.nodes["app1"].broken.add("start")
    changeover("run", "--yes")
    refused = changeover("retry", "app1/start", "--with", "ignore", "--reason", "stale")
    assert refused.code == 4
    assert "app1/start has no answer 'ignore': it offers none" in refused.err
    assert "stored" not in changeover("status").out


def test_an_empty_reason_is_refused_at_once(changeover: Terminal) -> None:
    """Who ends a run or leaves a step out says why."""
    changeover.site.nodes["app1"].broken.add("start")
    changeover("run", "--yes")
    assert changeover("abort", "--reason", " ").code == 4
    assert changeover("skip", "app1/start", "--reason", "").code == 4


def test_a_torn_migration_is_struck_from_the_ledger(changeover: Terminal) -> None:
    """By its name alone and with a reason; a finished one stays. Without a run nobody needs to be told."""
    ledger = changeover.site.stores["main"].ledger
    ledger["010"] = Applied("010", "c", 1.0, 0)
    ledger["009"] = Applied("009", "c", 1.0, 2.0)
    for arguments, why in [
        (("mian", "010"), "there is no database 'mian'; there are: main"),
        (("main", "009"), "the ledger of main has no unfinished '009'; unfinished there: 010"),
    ]:
        refused = changeover("forget", *arguments, "--reason", "x")
        assert (refused.code, why in refused.err) == (4, True)
    assert changeover("forget", "main", "010").code == 2
    assert changeover("forget", "main", "010", "--reason", " ").code == 4
    assert list(ledger) == ["010", "009"]
    struck = changeover("forget", "main", "010", "--reason", "dropped by hand")
    assert (struck.code, struck.out) == (
        0,
        "struck 010 from the ledger of main; no run holds the site, so no journal has it\n",
    )
    assert list(ledger) == ["009"]


def test_what_was_forgotten_is_noted_by_the_next_conductor(changeover: Terminal) -> None:
    """The run has none at the moment: the note is kept, and in the log with who, what and why."""
    changeover.site.nodes["app1"].broken.add("start")
    changeover("run", "--yes")
    changeover.site.nodes["app1"].broken.clear()
    changeover.site.stores["main"].ledger["010"] = Applied("010", "c", 1.0, 0)
    struck = changeover("forget", "main", "010", "--reason", "dropped by hand", "--json")
    assert struck.json == {"database": "main", "migration": "010", "outcome": "stored"}
    changeover("retry", "app1/start")
    assert changeover("resume").code == 0
    assert "forget main/010, by ann: dropped by hand" in " ".join(changeover("log").out.split())


def test_finalize_with_skipped_steps_needs_a_word(changeover: Terminal) -> None:
    """A skipped step keeps the gate shut until it is accepted, with a reason."""
    changeover.site.nodes["app1"].broken.add("start")
    changeover("run", "--yes")
    changeover.site.nodes["app1"].broken.clear()
    changeover.site.nodes["app1"].running = "v2"
    changeover("skip", "app1/start", "--reason", "started by hand")
    assert changeover("resume").code == 0
    changeover("finalize")
    assert states(changeover)["finalize/approve"] == "waiting"
    accepted = changeover("finalize", "--accept-skipped", "--reason", "it runs")
    assert accepted.code == 0
    skipped = changeover("report", "--json").json["skipped"]
    assert [(skip["step"], skip["actor"], skip["reason"]) for skip in skipped] == [
        ("app1/start", "ann", "started by hand")
    ]


def test_a_gate_waits_and_is_approved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """At a gate the run returns with 3 and names the command; approved, it goes on to the end."""
    gates = (Gate("canary", approve=True),)
    changeover = a_terminal(
        monkeypatch, capsys, tmp_path, gates=gates, batches=(Batch(count=1), Batch(count=2))
    )
    waiting = changeover("run", "--yes")
    assert waiting.code == 3
    assert "`changeover approve after-canary/approve`" in waiting.out
    changeover("approve", "after-canary/approve", "--reason", "looks fine")
    assert changeover("resume").code == 0
    assert "approve after-canary/approve, by ann: looks fine" in changeover("log").out
    watched = changeover("watch")
    assert watched.code == 0
    assert "identity: upgraded; finalize waits for approval\n" in watched.out
    changeover("finalize")
    assert "identity: done\n" in changeover("watch").out


def test_a_gate_is_answered_by_those_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Another login is told who may; who sends their answer for them is on record beside them."""
    gates = (Gate("canary", approve=True, who=("lee", "kim")),)
    changeover = a_terminal(
        monkeypatch, capsys, tmp_path, gates=gates, batches=(Batch(count=1), Batch(count=2))
    )
    assert (
        "or `changeover refuse after-canary/approve --reason …`, as lee or kim"
        in changeover("run", "--yes").out
    )
    refused = changeover("approve", "after-canary/approve")
    assert refused.code == 4
    assert "after-canary/approve is for lee or kim to answer, not for ann" in refused.err
    assert changeover("approve", "after-canary/approve", "--as", "kim", "--reason", "on the phone").code == 0
    assert changeover("resume").code == 0
    assert "approve after-canary/approve, by kim (sent by ann): on the phone" in changeover("log").out
    decisions = changeover("report", "--json").json["decisions"]
    assert [it["actor"] for it in decisions] == ["kim (sent by ann)"]


def test_a_window_that_has_closed_is_refused_before_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """When it is planned, and when a plan that was made in time is run too late; nothing is begun."""
    closed = a_terminal(monkeypatch, capsys, tmp_path, window=Window(0.0, 7200.0, "Europe/Berlin"))
    for command in (("plan",), ("run", "--yes")):
        ended = closed(*command)
        assert ended.code == 4
        assert "the window has closed: that was 1970-01-01 03:00 CET" in ended.err
    assert "there is no run yet" in closed("status").err


def test_a_stage_that_is_none_is_told_when_it_is_planned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With the nearest name."""
    changeover = a_terminal(monkeypatch, capsys, tmp_path, duties={"expnd": Duty("kim")})
    ended = changeover("plan")
    assert ended.code == 2
    assert "upgrade.schedule.expnd: the plan has no such stage or step" in ended.err
    assert "did you mean 'expand'?" in ended.err


def test_plans_are_compared_with_the_last_run(changeover: Terminal) -> None:
    """After the upgrade a fresh plan differs from the one that ran, in what was seen of the site."""
    assert changeover("plan", "--diff", "last").code == 2
    changeover("run", "--yes")
    found = changeover("plan", "--diff", "last", "--json").json["differences"]
    assert {
        "subject": "facts",
        "kind": "changed",
        "field": "versions.app1",
        "before": "v1",
        "after": "v2",
    } in found
    changeover("plan", "-o", "now.json")
    assert changeover("plan", "--diff", "now.json").out.startswith("no difference between plan ")


def test_what_happened_to_one_node_is_told_alone(changeover: Terminal) -> None:
    """`log --step` keeps to a node, or to one of its steps."""
    changeover("run", "--yes")
    of_node = changeover("log", "--step", "app2", "--json").lines
    assert {event["step"].partition("/")[0] for event in of_node} == {"app2"}
    of_step = changeover("log", "--step", "app2/stop", "--json").lines
    assert [event["state"] for event in of_step] == ["running", "done"]


def test_a_step_that_there_is_not_is_no_empty_log(changeover: Terminal) -> None:
    """The nearest name is told, as for a command."""
    changeover("run", "--yes")
    refused = changeover("log", "--step", "app1/strat")
    assert (refused.code, "did you mean 'app1/start'?" in refused.err) == (4, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", ""),
        ("abort", "--run", "", "--reason", "x"),
        ("plan", "--diff", ""),
        ("resume", ""),
        ("rehearse", "--replay", ""),
    ],
)
def test_an_empty_name_is_not_a_name_left_out(changeover: Terminal, arguments: tuple[str, ...]) -> None:
    """A script's variable that was never set must not steer whatever run is under way."""
    changeover("run", "--yes")
    refused = changeover(*arguments)
    assert (refused.code, "is empty" in refused.err) == (2, True)
    assert changeover("status", "--json").json["stored"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--fallback", "--diff", "last"),
        ("rehearse", "--lab", "--all", "--cases", "x"),
        ("rehearse", "--replay", "app1/start:hangs", "--cases", "x"),
    ],
)
def test_what_would_be_passed_over_is_refused(changeover: Terminal, arguments: tuple[str, ...]) -> None:
    """Of two options that exclude one another neither is ignored."""
    refused = changeover(*arguments)
    assert (refused.code, "exclude one another" in refused.err) == (2, True)


def test_a_report_in_json_names_its_format(changeover: Terminal) -> None:
    """Whoever reads it can tell one of another time from this."""
    changeover("run", "--yes")
    assert changeover("report", "--json").json["format"] == 1


@pytest.mark.parametrize(
    ("form", "begins"), [("markdown", "# identity: v1 → v2"), ("html", "<!doctype html>")]
)
def test_reports_are_saved(changeover: Terminal, form: str, begins: str) -> None:
    """Each form is written to the file that was named."""
    changeover("run", "--yes")
    assert changeover("report", "--format", form, "-o", "report").code == 0
    assert Path("report").read_text().startswith(begins)


def test_a_journal_alone_is_enough_to_look(changeover: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's file that broke keeps nobody from the run."""
    changeover("run", "--yes")
    monkeypatch.undo()
    monkeypatch.chdir(changeover.directory)
    Path("changeover.yaml").write_text("nonsense: [")
    assert "upgraded; finalize waits" in changeover("status", "--journal", ".changeover/journal.db").out
    without = changeover("status")
    assert (without.code, "going by .changeover/journal.db alone" in without.err) == (0, True)
    assert changeover("plan").code == 2


def test_a_file_that_broke_without_a_journal_beside_it_points_to_the_journal(
    changeover: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emptied file says nothing of where the journal is: the hint says how to name it."""
    changeover("run", "--yes", "--journal", "elsewhere.db")
    monkeypatch.undo()
    monkeypatch.chdir(changeover.directory)
    Path("changeover.yaml").write_text("")
    for command in (("status",), ("pause",), ("runs",)):
        ended = changeover(*command)
        assert (ended.code, "with --journal PATH" in ended.err) == (2, True)
    assert changeover("status", "--journal", "elsewhere.db").code == 0


LOOKING = [
    ("status",),
    ("runs",),
    ("log",),
    ("watch",),
    ("report",),
    ("pause", "--run", "x"),
    ("resume", "x"),
]


@pytest.mark.parametrize("command", LOOKING, ids=lambda command: command[0])
def test_a_journal_that_is_not_there_is_not_made(changeover: Terminal, command: tuple[str, ...]) -> None:
    """A mistyped path is bad input, and leaves nothing behind."""
    ended = changeover(*command, "--journal", "deep/mistyped.db")
    assert ended.code == 2
    assert "there is no journal at deep/mistyped.db" in ended.err
    assert not Path("deep").exists()


def test_before_the_first_run_nothing_is_made_by_looking(changeover: Terminal) -> None:
    """Where the journal would be there is none afterwards, and the words say where that is."""
    assert changeover("runs").out == "no run yet\n"
    ended = changeover("status")
    assert ended.code == 4
    assert f"there is no journal at {changeover.directory}/.changeover/journal.db" in ended.err
    assert changeover("plan", "--diff", "last").code == 2
    assert not Path(".changeover").exists()


STEERING = [
    ("pause",),
    ("continue",),
    ("retry", "app1/start"),
    ("skip", "app1/start", "--reason", "x"),
    ("approve", "after-canary/approve"),
    ("refuse", "after-canary/approve", "--reason", "x"),
    ("abort", "--reason", "x"),
    ("resume",),
    ("finalize",),
]


@pytest.mark.parametrize("command", STEERING, ids=lambda command: command[0])
def test_without_the_sites_file_a_run_is_steered_by_its_name_alone(
    changeover: Terminal, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """In a shared journal the one run under way may be another site's: it is named in the refusal, and untouched."""
    changeover("run", "--yes")
    run = changeover("runs", "--json").json[0]["run"]
    monkeypatch.undo()
    monkeypatch.chdir(changeover.directory)
    ended = changeover(*command, "--journal", ".changeover/journal.db")
    assert ended.code == 4
    assert f"under way: {run} of identity" in ended.err
    status = changeover("status", run, "--json", "--journal", ".changeover/journal.db").json
    assert (status["state"], status["stored"]) == ("waiting", [])


def test_a_run_that_is_named_needs_no_file(changeover: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal and the run's name are enough to abort it."""
    changeover("run", "--yes")
    run = changeover("runs", "--json").json[0]["run"]
    monkeypatch.undo()
    monkeypatch.chdir(changeover.directory)
    ended = changeover("abort", "--run", run, "--reason", "x", "--journal", ".changeover/journal.db")
    assert (ended.code, ended.out.partition(":")[0]) == (0, "stored")


def test_the_sites_file_tells_its_runs_in_a_shared_journal(
    changeover: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --journal too, the site is that of the file: another site's run is neither seen nor aborted."""
    changeover("run", "--yes")
    monkeypatch.undo()
    monkeypatch.chdir(changeover.directory)
    Path("changeover.yaml").write_text(starter())
    ended = changeover("abort", "--reason", "x", "--journal", ".changeover/journal.db")
    assert (ended.code, "no run holds example" in ended.err) == (4, True)
    assert changeover("runs", "--json", "--journal", ".changeover/journal.db").json == []
