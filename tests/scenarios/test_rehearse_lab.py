"""`changeover rehearse --lab`: cases on real hosts, and what is wrong with a conductor is found there too."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from changeover.lab import down
from changeover.lab.cgroup import wait_until
from changeover.lab.cluster import Cluster
from changeover.labrehearsal import playing
from changeover.labrehearsal.rehearsing import PLACE, on_hosts
from tests.labkit import LabUnderTest, traces

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
REHEARSE = ("rehearse", "--lab")

FORGETFUL = """
from changeover.actions.node import Uninstall
from changeover.cli import main
from changeover.model.values import Observation, Presence

async def nothing(self, operation, context):
    return Observation(Presence.DONE, "removed")

Uninstall.perform = nothing
main()
"""
"""A conductor that says it has removed what it has not even looked at."""


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a lab that is not up, and is not up afterwards either."""
    if os.geteuid():
        pytest.skip("the lab of hosts needs root")
    name = f"rehearse-{os.getpid()}"
    yield name
    down(name)


def case_under_way(cluster: Cluster) -> bool:
    """The first case has a journal: its conductor and its probe are at work."""
    return (cluster.directory.path / PLACE / "001" / "journal.db").exists()


def booting(cluster: Cluster) -> bool:
    """The first host has power."""
    return cluster.world.host_pid("lb1") is not None


@pytest.mark.parametrize("moment", [booting, case_under_way])
def test_interrupted_it_leaves_nothing(name: str, moment: Any) -> None:
    """Given no lab, when it is interrupted again and again, then the lab, the conductor and the probe are gone."""
    line = ["env", "--default-signal=INT", CHANGEOVER, *REHEARSE, "--cases", "app1/check:conductor-dies-*"]
    with subprocess.Popen(
        line,
        env=os.environ | {"CHANGEOVER_LAB": name},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: moment(Cluster(name)), 180, "the moment")
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert f"no lab '{name}' is up: one is brought up, and taken down at the end" in said
    assert traces(name) == []


def test_cases_are_played_on_a_lab_that_is_up(lab_session: LabUnderTest) -> None:
    """Given a lab, when two cases are played, then both end as they may, and the lab is as new afterwards."""
    cases = ("app2/start:fails-before:abort", "main/verify-snapshot:conductor-dies-before-effect")
    done = _rehearse(lab_session, *(argument for case in cases for argument in ("--cases", case)), "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    by_name = {it["case"]: it for it in made["cases"]}
    assert {case: by_name[case]["end"] for case in cases} == {cases[0]: "fell back", cases[1]: "done"}
    assert made.get("findings", []) == []
    for case in cases:
        assert by_name[case]["writes_acknowledged"] > 0
        assert by_name[case]["in_rotation"] >= 3
        assert by_name[case]["befell"]
    assert sum(len(it["cases"]) for it in made["left_out"]) > 50
    for node in lab_session.nodes:
        assert lab_session.run_on(node, "ls /opt/app/releases; ls /etc/app/faults").split() == ["v1"]


def test_a_host_that_is_dead_when_the_run_goes_back_comes_back_once_it_is_mended(
    lab_session: LabUnderTest,
) -> None:
    """Given app1 without power, when the run is aborted, then it says what is left, and a retry ends where it began."""
    case = "app1/stop:host-dies:abort-unmended:retry"
    done = _rehearse(lab_session, "--replay", case, "--json")
    assert done.returncode == 0, done.stderr
    [played] = json.loads(done.stdout)["cases"]
    assert (played["end"], played["asked"]) == ("fell back", 2)


def test_what_the_lab_cannot_bring_about_is_refused(lab_session: LabUnderTest) -> None:
    """Given a fault of the simulated site alone, then nothing is played, and it is told which there are."""
    done = _rehearse(lab_session, "--replay", "app1/start:says-failed:retry")
    assert done.returncode == 4
    assert "the lab cannot bring about says-failed" in done.stderr


def test_a_conductor_that_forgets_to_undo_is_found(
    lab_session: LabUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a conductor whose uninstall does nothing and says that it did, then the case did not end where it began."""
    monkeypatch.setattr(playing, "PROGRAM", (sys.executable, "-P", "-c", FORGETFUL))
    monkeypatch.setenv("CHANGEOVER_LAB", lab_session.layout.name)
    said: list[object] = []
    made = asyncio.run(on_hosts(["app2/start:fails-before:abort"], said.append))
    [finding] = made.findings
    assert finding.rule == "fell back to where it began"
    assert "app1 has: ['v1'], now ['v1', 'v2']" in finding.what


def _rehearse(lab: LabUnderTest, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CHANGEOVER_LAB": lab.layout.name}
    return subprocess.run(
        [CHANGEOVER, *REHEARSE, *arguments], env=environment, capture_output=True, text=True, check=False
    )
