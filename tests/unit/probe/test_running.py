import asyncio
import json
import os
from pathlib import Path

import pytest

from changeover.errors import ApplicationError, LedgerError
from changeover.probe.exchange import Site
from changeover.probe.ledger import Writer, read
from changeover.probe.profile import Profile
from changeover.probe.records import Change, Kind
from changeover.probe.running import Probe
from changeover.probe.schedule import Load
from tests.unit.probe.scripted import BEGIN, NOTES, Asked, Cut, JumpClock, Measure, ScriptedSite, Told, header

# One visitor, ten requests a second: login 0, use 1 to 4, logout 5, login 6, ...
ONE = Load(rate=10, sessions=1, session_length=6, seconds=1.2)
# The same visitor in one long session; every third request is a write: 2, 5, 8, 11.
WRITING = Load(rate=9, write_rate=3, sessions=1, session_length=100, seconds=12 / 9)


async def reset(_: Asked) -> Told:
    """The connection ends without an answer."""
    raise Cut


async def unavailable(_: Asked) -> Told:
    """What a balancer says that has no server left."""
    return Told(503)


async def test_a_healthy_site_loses_nothing(measure: Measure, scripted: ScriptedSite) -> None:
    """Every request is sent, answered and counted once, and nothing is lost."""
    summary = (await measure(ONE)).summary()
    assert (summary.requests.sent, summary.requests.ok) == (12, 12)
    assert (summary.sessions.opened, summary.sessions.ended, summary.sessions.cut) == (2, 2, 0)
    assert summary.losses == []
    assert [asked.path for asked in scripted.seen[:6]] == ["/login", *["/session"] * 4, "/logout"]


async def test_failures_are_counted_by_reason(measure: Measure, scripted: ScriptedSite) -> None:
    """A server error, a reset and an unexpected status are three failures for three reasons; no session is cut."""

    async def teapot(_: Asked) -> Told:
        return Told(418)

    scripted.faults = {1: unavailable, 2: reset, 3: teapot}
    summary = (await measure(ONE)).summary()
    assert summary.requests.failures == {"reset": 1, "5xx": 1, "status": 1}
    assert (summary.requests.ok, summary.requests.failed) == (9, 3)
    assert summary.sessions.cut == 0
    assert summary.longest_gap == pytest.approx(0.3)


async def test_a_reset_get_is_not_repeated(measure: Measure, scripted: ScriptedSite) -> None:
    """A GET whose kept-alive connection is reset reaches the site once: nothing is repeated silently."""
    scripted.faults = {2: reset}
    await measure(ONE)
    assert len(scripted.seen) == 12


async def test_a_refused_connection_is_its_own_reason(measure: Measure, scripted: ScriptedSite) -> None:
    """Requests to a port where nobody listens fail to connect, writes among them: they were never sent."""
    scripted.url = "http://127.0.0.1:1"
    summary = (await measure(WRITING)).summary()
    assert summary.requests.failures == {"connect": 12}
    assert (summary.writes.failed, summary.writes.unknown) == (4, 0)
    assert summary.without_write == pytest.approx(10 / 9)


async def test_a_request_without_an_answer_times_out(measure: Measure, scripted: ScriptedSite) -> None:
    """A request that the site never answers fails for its time limit."""
    never = asyncio.Event()

    async def hang(_: Asked) -> Told:
        await never.wait()
        return Told()

    scripted.faults = {1: hang}
    summary = (
        await measure(Load(rate=10, sessions=1, session_length=6, seconds=1.2, timeout=0.05))
    ).summary()
    never.set()
    assert summary.requests.failures == {"timeout": 1}


async def test_a_forgotten_session_is_cut_once(measure: Measure, scripted: ScriptedSite) -> None:
    """A 401 in a session is one cut session and one failed request; the visitor then logs in again."""

    async def forget(asked: Asked) -> Told:
        scripted.sessions.clear()
        return await scripted.proper(asked)

    scripted.faults = {2: forget}
    ledger = await measure(ONE)
    summary = ledger.summary()
    assert (summary.sessions.opened, summary.sessions.ended, summary.sessions.cut) == (3, 1, 1)
    assert summary.requests.failures == {"status": 1}
    assert [change.how for change in ledger.changes if change.change is Change.CUT] == ["status 401"]
    assert [exchange.sent.kind for exchange in ledger.exchanges][2:4] == [Kind.USE, Kind.LOGIN]


async def test_a_replaced_cookie_is_a_cut(measure: Measure, scripted: ScriptedSite) -> None:
    """Another value for the session's cookie is a cut session, though the request succeeds."""

    async def replace(asked: Asked) -> Told:
        return Told(200, b'{"id": "%s"}' % asked.cookie.encode(), {"Set-Cookie": "sid=other; Path=/"})

    scripted.faults = {3: replace}
    ledger = await measure(ONE)
    assert ledger.summary().losses == ["1 session cut"]
    assert [change.how for change in ledger.changes if change.change is Change.CUT] == ["cookie sid replaced"]


async def test_the_same_cookie_again_is_no_cut(measure: Measure, scripted: ScriptedSite) -> None:
    """A site that refreshes a cookie with the value that was sent has cut nothing."""

    async def refresh(asked: Asked) -> Told:
        return Told(200, b"{}", {"Set-Cookie": f"sid={asked.cookie}; Path=/; Max-Age=60"})

    scripted.faults = {3: refresh}
    assert (await measure(ONE)).summary().losses == []


async def test_a_changed_field_is_a_cut(measure: Measure, scripted: ScriptedSite) -> None:
    """A session whose id in the answer becomes another one has been cut."""

    async def another(_: Asked) -> Told:
        return Told(200, b'{"id": "someone-else"}')

    scripted.faults = {4: another}
    ledger = await measure(ONE)
    assert [change.how for change in ledger.changes if change.change is Change.CUT] == ["field id changed"]


async def test_with_a_url_alone_any_cookie_is_the_session(measure: Measure, scripted: ScriptedSite) -> None:
    """Without a profile a session begins with the first cookie and is cut when the site replaces it."""

    async def first(_: Asked) -> Told:
        return Told(200, b"", {"Set-Cookie": "sid=1; Path=/"})

    async def second(_: Asked) -> Told:
        return Told(200, b"", {"Set-Cookie": "sid=2; Path=/"})

    scripted.faults = {0: first, 2: second, 3: first}
    summary = (await measure(ONE, Profile())).summary()
    assert (summary.sessions.opened, summary.sessions.cut, summary.sessions.ended) == (2, 1, 1)
    assert summary.requests.ok == 12


async def test_acknowledged_writes_are_found_again(measure: Measure, scripted: ScriptedSite) -> None:
    """Every write has an id of its own and is asked for after the load."""
    summary = (await measure(WRITING)).summary()
    assert (summary.writes.attempted, summary.writes.acknowledged) == (4, 4)
    assert (summary.writes.missing, summary.writes.unverified, summary.without_write) == (0, 0, 0)
    assert scripted.notes == {"t-00000002", "t-00000005", "t-00000008", "t-00000011"}


async def test_an_acknowledged_write_that_was_dropped_is_missing(
    measure: Measure, scripted: ScriptedSite
) -> None:
    """A write that was acknowledged and is not there afterwards is the loss that matters most."""

    async def drop(_: Asked) -> Told:
        return Told(201)

    scripted.faults = {5: drop}
    summary = (await measure(WRITING)).summary()
    assert (summary.writes.acknowledged, summary.writes.missing, summary.writes.unverified) == (4, 1, 0)
    assert summary.losses == ["1 acknowledged write missing"]


async def test_a_write_cut_after_the_commit_is_unknown(measure: Measure, scripted: ScriptedSite) -> None:
    """A write whose answer never came is unknown, present or not, and never counts as lost."""

    async def commit_and_cut(asked: Asked) -> Told:
        await scripted.proper(asked)
        raise Cut

    scripted.faults = {2: commit_and_cut, 5: reset}
    summary = (await measure(WRITING)).summary()
    assert (summary.writes.acknowledged, summary.writes.failed, summary.writes.unknown) == (2, 0, 2)
    assert (summary.writes.unknown_present, summary.writes.missing) == (1, 0)
    assert summary.without_write == pytest.approx(6 / 9)
    assert len([asked for asked in scripted.seen if asked.path == "/notes"]) == 4


async def test_a_gateways_word_about_a_write_decides_nothing(
    measure: Measure, scripted: ScriptedSite
) -> None:
    """504 to a write is unknown, for the server may have committed it; 503 is a failure."""

    async def gateway(asked: Asked) -> Told:
        await scripted.proper(asked)
        return Told(504)

    scripted.faults = {2: gateway, 5: unavailable}
    summary = (await measure(WRITING)).summary()
    assert (summary.writes.failed, summary.writes.unknown, summary.writes.unknown_present) == (1, 1, 1)


async def test_latency_counts_from_the_schedule(
    measure: Measure, scripted: ScriptedSite, clock: JumpClock
) -> None:
    """The time a request takes is counted on the probe's clock, from the moment it was due."""

    async def slow(asked: Asked) -> Told:
        clock.time += 0.25
        return await scripted.proper(asked)

    scripted.faults = {3: slow}
    ledger = await measure(ONE)
    # The schedule went on meanwhile: 4 and 5 were due 0.15 s and 0.05 s before they could be sent.
    took = [exchange.answer.took for exchange in ledger.exchanges if exchange.answer]
    assert took == pytest.approx([0, 0, 0, 0.25, 0.15, 0.05, *[0] * 6])
    assert ledger.summary().latency.max == pytest.approx(0.25)
    assert ledger.summary().probe_late == pytest.approx(0.15)


async def test_a_stalled_site_slows_no_schedule(
    scripted: ScriptedSite, clock: JumpClock, tmp_path: Path
) -> None:
    """All requests of the schedule are sent at their moments while not one is answered: the loop is open."""
    released = asyncio.Event()

    async def stall(asked: Asked) -> Told:
        await released.wait()
        return await scripted.proper(asked)

    scripted.faults = dict.fromkeys(range(50), stall)
    load = Load(rate=10, sessions=5, session_length=6, seconds=5)
    with Writer(tmp_path / "ledger", header(scripted.url, load)) as writer:
        probe = Probe(Site(scripted.url, 60), NOTES, load, secrets={}, writer=writer, clock=clock, run="t")
        running = asyncio.create_task(probe.run(asyncio.Event()))
        await scripted.reached(50)
        assert probe.in_flight == 50
        released.set()
        await running
    ledger = read(tmp_path / "ledger")
    assert [exchange.sent.due for exchange in ledger.exchanges] == pytest.approx(
        [BEGIN + n / 10 for n in range(50)]
    )
    assert ledger.summary().requests.sent == 50
    assert ledger.summary().latency.max == pytest.approx(4.9)


async def test_stop_waits_for_what_is_in_flight(
    scripted: ScriptedSite, clock: JumpClock, tmp_path: Path
) -> None:
    """Told to stop, the probe sends no more, and still counts the answers it waits for."""
    stop, released = asyncio.Event(), asyncio.Event()

    async def stall(asked: Asked) -> Told:
        await released.wait()
        return await scripted.proper(asked)

    scripted.faults = {10: stall}
    load = Load(rate=10, sessions=1, session_length=100)
    with Writer(tmp_path / "ledger", header(scripted.url, load)) as writer:
        probe = Probe(Site(scripted.url, 60), NOTES, load, secrets={}, writer=writer, clock=clock, run="t")
        clock.idle = lambda: not probe.in_flight
        running = asyncio.create_task(probe.run(stop))
        await scripted.reached(11)
        stop.set()
        await asyncio.sleep(0)
        released.set()
        await running
    ledger = read(tmp_path / "ledger")
    assert (ledger.summary().requests.sent, ledger.summary().requests.ok) == (11, 11)
    assert ledger.ended is not None
    assert ledger.ended.why == "stopped"
    assert ledger.ended.at == pytest.approx(BEGIN + 1.1)


async def test_setup_gives_variables_and_a_refusal_renews_them(
    measure: Measure, scripted: ScriptedSite
) -> None:
    """The token of the setup request is in the writes; when one is refused, a new token is fetched for the next."""
    profile = Profile.model_validate(
        {
            "secrets": {"password": {"env": "UNUSED"}},
            "headers": {"X-Everywhere": "{token}"},
            "setup": {
                "method": "POST",
                "path": "/login",
                "json": {"password": "{password}"},
                "capture": {"token": {"header": "X-Token"}},
            },
            "write": {
                "request": {
                    "method": "POST",
                    "path": "/notes",
                    "headers": {"X-Auth": "{token}"},
                    "json": {"id": "{id}"},
                    "expect": 201,
                },
                "verify": {"path": "/notes/{id}", "expect": 200},
            },
        }
    )

    async def refuse(_: Asked) -> Told:
        return Told(401)

    scripted.faults = {3: refuse}
    summary = (await measure(WRITING, profile, {"password": "p"})).summary()
    logins = [asked for asked in scripted.seen if asked.path == "/login"]
    tokens = [asked.headers["x-auth"] for asked in scripted.seen if asked.path == "/notes"]
    assert json.loads(logins[0].body) == {"password": "p"}
    assert "x-everywhere" not in logins[0].headers
    assert all("x-everywhere" in asked.headers for asked in scripted.seen if asked.path == "/notes")
    assert len(logins) == 2
    assert (tokens[0], tokens[-1]) == ("token-s0", f"token-s{logins[1].number}")
    assert (summary.writes.acknowledged, summary.writes.failed) == (3, 1)


async def test_a_refused_setup_ends_the_probe(measure: Measure, scripted: ScriptedSite) -> None:
    """Without what the setup gives nothing is sent, and the error names the request and its status."""
    profile = Profile.model_validate({"setup": {"path": "/nowhere", "capture": {"token": {"field": "id"}}}})
    with pytest.raises(ApplicationError, match="setup: GET /nowhere was answered with status 404"):
        await measure(ONE, profile)
    assert len(scripted.seen) == 1


async def test_a_full_disk_ends_the_probe(scripted: ScriptedSite, clock: JumpClock, tmp_path: Path) -> None:
    """A ledger that takes no more is an error, not a silent gap (/dev/full refuses every write)."""
    load = Load(rate=10, sessions=1)
    writer = Writer(tmp_path / "ledger", header(scripted.url, load))
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230 -- opening it waits for nothing
        os.dup2(full.fileno(), writer._file.fileno())
    probe = Probe(Site(scripted.url, 5), NOTES, load, secrets={}, writer=writer, clock=clock, run="t")
    clock.idle = lambda: not probe.in_flight
    with pytest.raises(LedgerError, match="ledger: cannot be written: No space left on device"):
        await probe.run(asyncio.Event())
    writer._file.close()
