"""Secrets: where they are found, and that they are not shown."""

import asyncio
from pathlib import Path

import pytest

from changeover.drivers.secrets import Secrets
from changeover.errors import HostError, PortError
from changeover.model.values import Secret


async def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is."""
    monkeypatch.setenv("A_SECRET", " spaces kept ")
    assert await Secrets().resolve(Secret(env="A_SECRET"), "x") == " spaces kept "


async def test_from_a_file(tmp_path: Path) -> None:
    """Without the white space around it."""
    (tmp_path / "secret").write_text("\n open sesame \n")
    assert await Secrets().resolve(Secret(file=str(tmp_path / "secret")), "x") == "open sesame"


async def test_from_a_command() -> None:
    """What it prints, without the white space around it."""
    assert await Secrets().resolve(Secret(command="echo open; echo sesame"), "x") == "open\nsesame"


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (Secret(env="NO_SUCH_VARIABLE_HERE"), "environment variable NO_SUCH_VARIABLE_HERE is not set"),
        (Secret(file="/nowhere/secret"), "cannot read /nowhere/secret: No such file or directory"),
        (Secret(file="/dev/null"), "file /dev/null is empty"),
        (Secret(command="exit 3"), "`exit 3` ended with exit status 3"),
        (Secret(command="true"), "output of `true` is empty"),
    ],
)
async def test_nothing_there(secret: Secret, words: str) -> None:
    """The error says what it was for, and what is wrong with which reference."""
    with pytest.raises(HostError) as caught:
        await Secrets().resolve(secret, "the password of app1", HostError)
    assert caught.value.message == f"the password of app1: {words}"
    assert caught.value.hint == f"the reference is {secret}"


async def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """An error, not a traceback; its bytes are not in it."""
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    with pytest.raises(PortError, match="is not UTF-8 text"):
        await Secrets().resolve(Secret(file=str(tmp_path / "secret")), "x")


async def test_it_is_looked_up_once(tmp_path: Path) -> None:
    """Also when many ask at the same time."""
    counter = tmp_path / "counter"
    secrets, secret = Secrets(), Secret(command=f"echo x >> {counter}; echo sesame")
    assert set(await asyncio.gather(*(secrets.resolve(secret, "x") for _ in range(10)))) == {"sesame"}
    assert counter.read_text() == "x\n"


async def test_what_was_resolved_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every spelling it may turn up in, longer ones first, and not what is too short to be told from words."""
    monkeypatch.setenv("LONG", 'it\'s a "secret"&more')
    monkeypatch.setenv("PART", 'a "secret"')
    monkeypatch.setenv("SHORT", "the")
    secrets = Secrets()
    assert secrets.redact('it\'s a "secret"&more') == 'it\'s a "secret"&more'
    for name in ("LONG", "PART", "SHORT"):
        await secrets.resolve(Secret(env=name), "x")
    assert secrets.redact('the <it\'s a "secret"&more>') == "the <***>"
    assert secrets.redact("url=it%27s%20a%20%22secret%22%26more") == "url=***"
    assert secrets.redact('{"x": "it\'s a \\"secret\\"&more"}') == '{"x": "***"}'
    assert secrets.redact("export X='it'\"'\"'s a \"secret\"&more'") == "export X='***'"
    assert "secret" not in repr(secrets)
