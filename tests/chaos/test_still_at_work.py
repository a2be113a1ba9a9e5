"""A conductor is killed while a host carries out its command, which goes on: the next one begins nothing beside it."""

import asyncio
import os
from pathlib import Path

from changeover.actions import ACTIONS
from changeover.drivers.secrets import Secrets
from changeover.engine.journal import Journal
from changeover.engine.owner import Owner
from changeover.model.plan import Operation, Plan, Stage, Step
from changeover.model.release import Release
from changeover.model.site import Application, Binding, HostConfig, Node, Shell, Site
from changeover.model.states import RunState, StepState
from changeover.wiring import make_world
from tests.chaos.harness import Built, Conducting, end, start, wait_for

SITE = f"still-at-work-{os.getpid()}"

CAPABILITIES: dict[str, Binding] = {
    "install": Shell(
        "echo begun >>{base}/log; while [ ! -e {base}/go ]; do sleep 0.01; done; "
        "mkdir {base}/{release}; echo ended >>{base}/log"
    ),
    "installed": Shell("test -d {base}/{release}"),
}


def build(directory: Path) -> Built:
    """One node on this machine, and the one step of installing a release there."""
    application = Application(
        "app", (Node("app1", "app1"),), CAPABILITIES, variables={"base": str(directory)}
    )
    site = Site(directory.name, (HostConfig("app1", "", driver="local"),), application)
    step = Step("app1/install", Operation("node.install", "app1", {"release": "v2"}), "install v2")
    plan = Plan(site, Release("v1", "v2"), (Stage("stage", "", (step,)),))
    return Built(plan, make_world(plan.site, plan.release, Secrets()), ACTIONS)


def waits_for_it(site: str) -> bool:
    """Whether a process of the host waits until a command about that site has ended."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if b"until flock" in words and site.encode() in words:
            return True
    return False


def test_a_command_that_outlives_its_conductor_is_not_begun_beside_itself(tmp_path: Path) -> None:
    """It is waited for, and what it did counts: the step is done, and was done once."""
    directory = tmp_path / SITE
    directory.mkdir()
    where, log = str(directory / "journal.db"), directory / "log"

    async def create() -> str:
        async with Journal.open(where) as journal:
            return await journal.create_run(
                build(directory).plan, actor="chaos", reason="", owner=Owner.current()
            )

    run = asyncio.run(create())
    first = start(Conducting(build, directory, where, run))
    try:
        wait_for("the command", lambda: log.exists() and "begun" in log.read_text())
        first.kill()
        first.join()
        second = start(Conducting(build, directory, where, run))
        wait_for("the second conductor", lambda: waits_for_it(SITE))
    finally:
        (directory / "go").touch()
    assert end(second) == 0
    assert log.read_text().split() == ["begun", "ended"]

    async def status() -> tuple[RunState, StepState, int]:
        async with Journal.open(where) as journal:
            stands = await journal.status(run)
            step = stands.steps["app1/install"]
            return stands.state, step.state, step.attempt

    assert asyncio.run(status()) == (RunState.DONE, StepState.DONE, 2)
