"""Secrets: found where a reference says, remembered, and blotted out of whatever is shown."""

import asyncio
import json
import os
import shlex
import urllib.parse
from pathlib import Path

from changeover.errors import PortError
from changeover.model.values import Secret

SHORTEST = 4
"""Shorter values are not blotted out: they would tear holes into ordinary words."""

COMMAND_TIMEOUT = 30.0


class Secrets:
    """What the references of one site resolve to. One object serves every driver of a process."""

    def __init__(self) -> None:
        self._known: dict[Secret, str] = {}
        self._finding = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Secrets({len(self._known)} known)"

    async def resolve(self, secret: Secret, what: str, error: type[PortError] = PortError) -> str:
        """Return the value; each reference is looked up once.

        `what` names its use in the error, as in `the password of app1`.

        Raises:
            PortError: (or the given subclass of it) there is nothing where the reference points.
        """
        async with self._finding:
            if secret not in self._known:
                try:
                    self._known[secret] = await _find(secret)
                except _MissingError as missing:
                    raise error(f"{what}: {missing}", hint=f"the reference is {secret}") from None
        return self._known[secret]

    def redact(self, text: str) -> str:
        """Return the text with every resolved secret of 4 characters or more replaced by `***`."""
        forms = {form for value in self._known.values() if len(value) >= SHORTEST for form in _forms(value)}
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, "***")
        return text


class _MissingError(Exception):
    pass


async def _find(secret: Secret) -> str:
    if secret.env:
        value, where = os.environ.get(secret.env, ""), f"environment variable {secret.env}"
    elif secret.file:
        value, where = _content(secret.file), f"file {secret.file}"
    else:
        value, where = await _output(secret.command), f"output of `{secret.command}`"
    if not value:
        raise _MissingError(f"{where} is not set" if secret.env else f"{where} is empty")
    return value


def _content(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _MissingError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _MissingError(f"{path} is not UTF-8 text") from None


async def _output(line: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", line, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT):
            stdout, _ = await process.communicate()
    except TimeoutError:
        raise _MissingError(f"`{line}` did not end within {COMMAND_TIMEOUT:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise _MissingError(f"`{line}` ended with exit status {process.returncode}")
    return stdout.decode(errors="replace").strip()


def _forms(value: str) -> set[str]:
    """The spellings in which a value may turn up: as it is, in a shell line, in a URL, in JSON."""
    return {
        value,
        shlex.quote(value).strip("'"),
        urllib.parse.quote(value, safe=""),
        json.dumps(value)[1:-1],
    }
