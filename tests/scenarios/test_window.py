"""Campus in a maintenance window, on real Tomcat, MariaDB and nftables: there, and back from wherever it must.

One lab serves all. Every test but the last one ends with the site as it was, byte for byte; the tests stand in that order.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from changeover.engine.events import Event, FallbackBegun, RunChanged, StepChanged, Verb
from changeover.engine.fold import RunStatus
from changeover.engine.journal import Journal
from changeover.fallback import Reached
from changeover.fallback.timing import lasts_back
from changeover.lab.layout import DatabaseKind, Layout
from changeover.model.plan import BACK, Plan
from changeover.model.release import Cause, Fallback, Late, Window
from changeover.model.states import RunState, StepState
from tests.labkit import LabUnderTest, booted, inside
from tests.scenarios.operator import Operator

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
OLD, NEW = "2.4.0", "2.4.1"
HEAD, SECOND = "app1", "app2"
TESTERS = ("kim", "lee")
SIGN_OFFS = [f"sign-off-{name}/approve" for name in TESTERS]
MARGIN = 20.0
AT_ONCE = Fallback(when=frozenset({Cause.FAILURE}))

REFUSED, OTHER = 0, 1
CLOSED = {
    "anybody": (503, 503, REFUSED),
    "tester": (503, 200, REFUSED),
    "watcher": (503, 503, OTHER),
}
CLOSED_AND_STOPPED = {
    "anybody": (503, 503, REFUSED),
    "tester": (503, REFUSED, REFUSED),
    "watcher": (503, 503, REFUSED),
}
OPEN = dict.fromkeys(CLOSED, (200, 200, OTHER))
"""Who → what a request to the public's, the testers' and the JVM's port is answered with, which is no web server."""

VISIT = """
import http.client, json, sys
visitors, nodes, ports = json.loads(sys.argv[1])
def status(source, node, port):
    connection = http.client.HTTPConnection(node, port, timeout=10, source_address=(source, 0))
    try:
        connection.connect()
    except ConnectionRefusedError:
        return 0
    try:
        connection.request("GET", "/version")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()
print(json.dumps({who: [[status(source, node, port) for port in ports] for node in nodes] for who, source in visitors.items()}))
"""

ALL_OF_A_NODE = """
cd /
find opt/campus etc/campus -printf '%p %y %m %u %g %l\\n' | sort
find opt/campus etc/campus -type f -exec sha256sum {} + | sort
nft list ruleset
systemctl is-active tomcat10.service
find var/backups/campus var/lib/changeover -mindepth 2 2>/dev/null || :
"""
"""Its releases and its configuration with modes and owners; what lets requests in, and what is left of a run."""


@pytest.fixture(scope="module")
def campus_session() -> Iterator[LabUnderTest]:
    """Campus 2.4.0 on two nodes."""
    layout = Layout(f"campus-{os.getpid()}", 2, OLD, DatabaseKind.MARIADB, app="campus")
    with booted(layout) as lab:
        yield lab


@pytest.fixture
def campus(campus_session: LabUnderTest) -> Iterator[LabUnderTest]:
    """The same, with the test inside of its network."""
    with inside(campus_session) as lab:
        yield lab


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of all runs: what the steps of one took is what the next reckons with."""
    return tmp_path_factory.mktemp("campus") / "journal.db"


async def test_a_bad_head_node_leaves_the_second_one_alone(campus: LabUnderTest, journal: Path) -> None:
    """Given errors in the head node's log, then all is back as it was, and the second node has never seen the new version."""
    before = _state(campus)
    _set_fault(campus, "log-errors")
    operator = Operator(campus, journal, fallback=AT_ONCE)
    status = await operator.run()
    _set_fault(campus, "log-errors", on=False)
    [begun] = [event for event in operator.events if isinstance(event, FallbackBegun)]
    assert (begun.actor, f"{HEAD}/first-log" in begun.reason) == ("policy", True), begun.reason
    [failure] = [it.evidence for it in _changes(operator.events, f"{HEAD}/first-log", StepState.FAILED)]
    assert "The course catalogue is damaged" in failure
    assert operator.started(f"{SECOND}/switch") == 0
    assert NEW not in campus.run_on(SECOND, "cat /var/log/tomcat10/catalina.out")
    await _signed_off_on_the_way_back(operator, status)
    assert _state(campus) == before


async def test_a_script_that_fails_half_done_is_restored(campus: LabUnderTest, journal: Path) -> None:
    """Given data that the second script does not expect, then the database is what it was, and verified, as is all else."""
    for _ in range(2):
        _write(campus, "logic", "No lecture", "There will be none.")
    before = _state(campus)
    operator = Operator(campus, journal, attempts=1, fallback=AT_ONCE)
    status = await operator.run()
    [failure] = [it.evidence for it in _changes(operator.events, "main/expand/CAM-878", StepState.FAILED)]
    assert "Duplicate entry" in failure
    assert _changes(operator.events, "main/expand/CAM-869", StepState.DONE)
    assert operator.started(f"{HEAD}/switch") == 0
    await _signed_off_on_the_way_back(operator, status)
    [restored] = [it.evidence for it in _changes(operator.events, f"{BACK}main/restore", StepState.DONE)]
    assert "restored from before-2.4.1" in restored
    assert _state(campus) == before
    campus.run_on(
        "db1", "mariadb campus --execute \"DELETE FROM announcement WHERE body = 'There will be none.'\""
    )


async def test_killed_while_closed_it_stays_closed_and_goes_on_until_a_tester_refuses(
    campus: LabUnderTest, journal: Path
) -> None:
    """Given SIGKILL while the site is closed, then nobody comes in meanwhile, a resumed run goes on, and a tester's no takes it back."""
    before = _state(campus)
    assert _visit(campus) == OPEN
    began = time.time()
    run = await _killed_at(campus, journal, "main/expand/CAM-869")
    assert _visit(campus) == CLOSED_AND_STOPPED
    operator = Operator(campus, journal)
    status = await operator.resume()
    assert (status.state, status.steps_in(StepState.WAITING)) == (RunState.WAITING, SIGN_OFFS)
    FORWARD.append(time.time() - began)
    assert _visit(campus) == CLOSED
    await operator.conductor.send(Verb.APPROVE, actor="kim", step=SIGN_OFFS[0])
    await operator.conductor.send(
        Verb.REFUSE, actor="lee", step=SIGN_OFFS[1], reason="the marks are not on the door"
    )
    status = await operator.resume()
    [begun] = _all(operator.events, FallbackBegun)
    assert (begun.actor, begun.reason) == ("policy", f"{SIGN_OFFS[1]} was refused")
    [refused] = [(it.actor, it.reason) for it in _changes(operator.events, SIGN_OFFS[1], StepState.FAILED)]
    assert refused == ("lee", "the marks are not on the door")
    await _signed_off_on_the_way_back(operator, status)
    async with Journal.open(journal) as seen:
        events = await seen.events(run)
    assert len(_changes(events, "main/expand/CAM-869", StepState.RUNNING)) == 1
    assert _visit(campus) == OPEN
    assert _state(campus) == before


async def test_a_late_sign_off_begins_the_way_back_in_time(campus: LabUnderTest, journal: Path) -> None:
    """Given a tester who does not answer, then it goes back by itself at the latest safe moment, and is open before the window closes."""
    before = _state(campus)
    forward = max(FORWARD, default=60) * 1.5 + 5
    now = time.time()
    everything = await Operator(campus, journal, window=Window(now, now + 86400)).plan()
    back = lasts_back(everything, _reached(everything))
    assert back
    now = time.time()
    window = Window(now, now + forward + back + MARGIN, margin=MARGIN, warn=5, late=Late.FALL_BACK)
    operator = Operator(campus, journal, window=window)
    conducting = asyncio.create_task(_conduct(operator))
    for name in TESTERS:
        await _seen(operator, f"{BACK}sign-off-{name}/approve", StepState.WAITING, conducting)
        await operator.conductor.send(Verb.APPROVE, actor=name, step=f"{BACK}sign-off-{name}/approve")
    status = await conducting
    ended = time.time()
    assert status.state is RunState.FELL_BACK, status.reason
    [stopped] = [it for it in _all(operator.events, RunChanged) if it.state is RunState.STOPPED]
    [begun] = _all(operator.events, FallbackBegun)
    latest = window.closes - back - MARGIN
    assert (stopped.cause, begun.actor) == (Cause.WINDOW, "policy")
    assert latest <= stopped.at <= begun.at < latest + 10
    assert all(_changes(operator.events, step, StepState.WAITING) for step in SIGN_OFFS)
    assert ended < window.closes
    assert _visit(campus) == OPEN
    assert _state(campus) == before


async def test_a_window_ends_open_with_the_new_version(campus: LabUnderTest, journal: Path) -> None:
    """Given everybody's yes, then the head node was good before the second began, and everybody is served by the new version."""
    operator = Operator(campus, journal)
    operator.when("public/close", StepState.DONE, lambda: _expect(_visit(campus), CLOSED))
    status = await operator.run()
    assert status.steps_in(StepState.WAITING) == SIGN_OFFS
    order = [it.step for it in _all(operator.events, StepChanged) if it.state is StepState.DONE]
    assert order.index(f"{HEAD}/test") < order.index(f"{SECOND}/switch")
    [log] = [it.evidence for it in _changes(operator.events, f"{HEAD}/first-log", StepState.DONE)]
    assert "1 time, at most 1" in log
    assert _visit(campus) == CLOSED
    for name, step in zip(TESTERS, SIGN_OFFS, strict=True):
        await operator.conductor.send(Verb.APPROVE, actor=name, step=step)
    assert (await operator.resume()).steps_in(StepState.WAITING) == ["go/approve"]
    await operator.conductor.send(Verb.APPROVE, actor="tomas", step="go/approve")
    assert (await operator.resume()).steps_in(StepState.WAITING) == ["finalize/approve"]
    assert _visit(campus) == OPEN
    _write(campus, "logic", "Exam", "It will surprise you.")
    assert (await operator.finalize()).state is RunState.DONE
    assert await operator.versions() == {HEAD: NEW, SECOND: NEW}
    assert "auto.ddl=false" in campus.run_on(HEAD, "cat /etc/campus/campus.properties")
    for node in campus.nodes:
        left = campus.run_on(node, ALL_OF_A_NODE)
        assert (OLD in left, "changeover" in left, "backups" in left) == (False, False, False)


T = TypeVar("T")

FORWARD: list[float] = []
"""How many seconds it took to the sign-off."""


def _state(lab: LabUnderTest) -> list[str]:
    """All that must be as it was: version, configuration, data, and who is let in."""
    dump = "mariadb-dump --skip-dump-date --order-by-primary --databases campus"
    looks = dict.fromkeys(lab.nodes, ALL_OF_A_NODE) | {"db1": dump}
    return [f"{host}: {line}" for host, look in looks.items() for line in lab.run_on(host, look).splitlines()]


def _visit(lab: LabUnderTest) -> dict[str, tuple[int, ...]]:
    """What everybody is answered with, by both nodes alike."""
    application = lab.site["application"]
    ports = [application[name] for name in ("port", "testers_port", "jmx_port")]
    nodes = [lab.addresses[node] for node in lab.nodes]
    given = json.dumps([lab.site["visitors"], nodes, ports])
    answers = json.loads(lab.world.run_on("public", ["python3", "-c", VISIT, given]))
    assert all(one == other for one, other in answers.values()), answers
    return {who: tuple(one) for who, (one, _) in answers.items()}


def _expect(seen: object, wanted: object) -> None:
    assert seen == wanted


def _write(lab: LabUnderTest, course: str, title: str, text: str) -> None:
    """Somebody of the public writes an announcement, which is acknowledged."""
    data = " ".join(
        f"--data-urlencode '{key}={value}'"
        for key, value in (("course", course), ("title", title), ("text", text))
    )
    url = f"http://{lab.addresses[HEAD]}:8080/announcements"
    assert lab.run_on("public", f"curl --silent --fail {data} {url}").strip() == "written"


def _set_fault(lab: LabUnderTest, name: str, *, on: bool = True) -> None:
    """Let the new version misbehave on the head node, or not any more."""
    faults = f"{lab.site['application']['faults']}/{NEW}"
    lab.run_on(HEAD, f"mkdir -p {faults} && touch {faults}/{name}" if on else f"rm -r {faults}")


def _all(events: list[Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def _changes(events: list[Event], step: str, state: StepState) -> list[StepChanged]:
    return [it for it in _all(events, StepChanged) if (it.step, it.state) == (step, state)]


def _reached(plan: Plan) -> dict[str, Reached]:
    """As far as the sign-off: all but that is done."""
    steps: dict[str, Reached] = {}
    for stage in plan.stages:
        if stage.name == "sign-off":
            return steps
        steps.update({step.id: Reached(done=True) for step in stage.steps})
    raise AssertionError("nobody signs it off")


async def _signed_off_on_the_way_back(operator: Operator, status: RunStatus) -> None:
    """The site is still closed; both testers say yes to the old version, and then it is open."""
    assert _visit(operator.lab) == CLOSED
    for name, step in zip(TESTERS, SIGN_OFFS, strict=True):
        assert status.steps_in(StepState.WAITING) == [f"{BACK}{step}"], status.reason
        await operator.conductor.send(Verb.APPROVE, actor=name, step=f"{BACK}{step}")
        status = await operator.resume()
    assert (status.state, status.left_behind) == (RunState.FELL_BACK, []), status.reason
    assert _visit(operator.lab) == OPEN


async def _conduct(operator: Operator) -> RunStatus:
    """Run it until it ends, whoever is waited for."""
    return await operator.conductor.run(
        await operator.plan(), actor="test", reason="test", on_stop="wait", observer=operator._see
    )


async def _seen(operator: Operator, step: str, state: StepState, conducting: asyncio.Task[RunStatus]) -> None:
    while not _changes(operator.events, step, state):
        assert not conducting.done(), conducting.result().reason
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _conductor(
    lab: LabUnderTest, journal: Path, *command: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A conductor of its own; it does not outlive the block."""
    file = lab.cluster.directory.path / "changeover.yaml"
    with _said(journal).open("w") as said:
        process = await asyncio.create_subprocess_exec(
            CHANGEOVER, *command, "--on-stop", "return", "--file", str(file), "--journal", str(journal),
            stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _said(journal: Path) -> Path:
    return journal.with_suffix(".log")


async def _killed_at(lab: LabUnderTest, where: Path, step: str) -> str:
    """Run the upgrade by a conductor of its own, and kill that once the step is done; the name of the run."""
    async with Journal.open(where) as journal:
        earlier = {record.run for record in await journal.runs()}
        async with _conductor(lab, where, "run", "--yes") as conductor:
            while conductor.returncode is None:
                for run in {record.run for record in await journal.runs()} - earlier:
                    if _changes(await journal.events(run), step, StepState.DONE):
                        os.kill(conductor.pid, signal.SIGKILL)
                        await conductor.wait()
                        return run
                await asyncio.sleep(0.05)
    raise AssertionError(_said(where).read_text())
