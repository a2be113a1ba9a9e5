import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from changeover.probe.ledger import read
from changeover.probe.summary import Summary
from tests.unit.probe.scripted import NOTES, Asked, ScriptedSite, Told

CANARY = "canary-3f1c9a77"

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start the probe as a process of its own, in the test's directory; what still runs at the end is killed."""
    started: list[Process] = []
    profile = NOTES.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    (tmp_path / "notes.yaml").write_bytes(msgspec.json.encode(profile))

    async def run(*arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "changeover.probe", *arguments),
            stdout=PIPE,
            stderr=PIPE,
            cwd=tmp_path,
            env={**os.environ, "CANARY": CANARY},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def files(folder: Path) -> list[Path]:
    """What is in a folder."""
    return list(folder.iterdir())


LOADED = ("--profile", "notes.yaml", "--ledger", "l.jsonl", "--rate", "100", "--sessions", "5", "--json")


async def test_sigterm_ends_it_in_good_order(start: Start, scripted: ScriptedSite, tmp_path: Path) -> None:
    """Told to end, it waits for answers, finds every acknowledged write, prints the summary, exits 0."""
    process = await start(scripted.url, *LOADED, "--check")
    await scripted.reached(60)
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    summary = msgspec.json.decode(out, type=Summary)
    assert process.returncode == 0, err
    assert (summary.requests.unanswered, summary.losses) == (0, [])
    assert summary.writes.acknowledged == len(scripted.notes) > 0
    assert read(tmp_path / "l.jsonl").ended is not None


async def test_sigkill_leaves_a_ledger_that_can_be_verified(
    start: Start, scripted: ScriptedSite, tmp_path: Path
) -> None:
    """Killed, it leaves what it had flushed; what the site acknowledged can be looked for afterwards."""
    process = await start(scripted.url, *LOADED)
    await scripted.reached(100)
    process.kill()
    await process.communicate()
    ledger = read(tmp_path / "l.jsonl")
    assert ledger.ended is None
    assert 0 < len(ledger.exchanges) <= len(scripted.seen)
    assert (unverified := ledger.summary().writes.unverified) > 0
    scripted.notes.discard(lost := ledger.to_verify[0])
    process = await start("verify", "l.jsonl", "--json", "--check")
    out, err = await process.communicate()
    summary = msgspec.json.decode(out, type=Summary)
    assert (process.returncode, summary.writes.missing, summary.writes.unverified) == (1, 1, 0), err
    assert summary.writes.acknowledged == unverified
    assert read(tmp_path / "l.jsonl").checks[lost].found == "missing"


async def test_a_second_signal_ends_it_at_once(start: Start, scripted: ScriptedSite, tmp_path: Path) -> None:
    """While it waits for answers, another signal ends it without them, and the ledger is whole."""
    never = asyncio.Event()

    async def hang(_: Asked) -> Told:
        await never.wait()
        return Told()

    scripted.faults = dict.fromkeys(range(20, 100_000), hang)
    process = await start(scripted.url, *LOADED, "--timeout", "100s")
    await scripted.reached(40)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert (await process.stderr.readuntil(b"at once\n")).splitlines()[-1].startswith(b"stopping")
    process.send_signal(signal.SIGINT)
    await process.communicate()
    never.set()
    assert process.returncode == 130
    assert read(tmp_path / "l.jsonl").summary().requests.unanswered >= 20
    assert read(tmp_path / "l.jsonl").torn == 0


async def test_losses_are_exit_code_1_with_check_only(start: Start, scripted: ScriptedSite) -> None:
    """A failed request is the exit code's business only where --check asks for it."""

    async def broken(_: Asked) -> Told:
        return Told(500)

    short = ("--rate", "50", "--for", "0.2s", "--sessions", "2")
    scripted.faults = {1: broken, 11: broken}
    codes = []
    for extra in ([], ["--check"]):
        process = await start(scripted.url, *short, *extra)
        out, err = await process.communicate()
        assert b"1 failed (5xx 1)" in out, err
        codes.append(process.returncode)
    assert codes == [0, 1]


async def test_no_secret_is_left_behind(start: Start, scripted: ScriptedSite, tmp_path: Path) -> None:
    """A canary reaches the site in a header and a body, and is in no file, no output and no command line."""
    (tmp_path / "secret.yaml").write_text(
        "secrets: {canary: {env: CANARY}}\n"
        'headers: {Authorization: "Bearer {canary}"}\n'
        "setup: {method: POST, path: /login, json: {p: '{canary}'}, capture: {token: {header: X-Token}}}\n"
        "write:\n"
        "  request: {method: POST, path: /notes, json: {id: '{id}', by: '{canary}', t: '{token}'}, expect: 201}\n"
        "  verify: {path: '/notes/{id}'}\n"
    )
    process = await start(
        scripted.url, "--profile", "secret.yaml", "--ledger", "l.jsonl", "--rate", "50", "--sessions", "2"
    )
    await scripted.reached(40)
    command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    assert all(asked.headers["authorization"] == f"Bearer {CANARY}" for asked in scripted.seen)
    assert any(CANARY.encode() in asked.body for asked in scripted.seen if asked.path == "/notes")
    left = [path.read_bytes() for path in files(tmp_path)]
    for secret in (CANARY.encode(), b"token-s"):
        assert not [text for text in (command_line, out, err, *left) if secret in text]
