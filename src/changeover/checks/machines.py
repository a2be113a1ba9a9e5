"""What a host has room for, and what time it thinks it is."""

import shlex
from dataclasses import dataclass

from changeover.errors import HostError
from changeover.model.values import Outcome, Verdict
from changeover.ports import Clock, Command, Host

MEBIBYTE = 1024 * 1024


def disk_command(path: str) -> str:
    """Print the free KiB where `path` is, or where the nearest directory above it is that exists."""
    return f'p={shlex.quote(path)}; while [ ! -e "$p" ]; do p=$(dirname "$p"); done; df -Pk "$p" | tail -n 1'


@dataclass(frozen=True, slots=True)
class Space:
    """How many bytes are free for whom asked, and on which file system (its mount point)."""

    free: int
    mount: str


async def space(host: Host, path: str) -> Space:
    """What is free at `path`, which need not exist yet; `HostError` if that cannot be seen."""
    result = await host.run(Command(disk_command(path), timeout=15))
    fields = result.stdout.split()
    if result.status != 0 or len(fields) < 6 or not fields[3].isdigit():  # noqa: PLR2004 - the columns of df -P
        raise HostError((result.stderr or result.stdout).strip())
    return Space(int(fields[3]) * 1024, fields[5])


async def disk(host: Host, path: str, needed: int) -> Verdict:
    """Whether at least `needed` bytes are free at `path`, which need not exist yet."""
    subject = f"{host.name} disk"
    try:
        found = await space(host, path)
    except HostError as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    evidence = f"{found.free // MEBIBYTE} MiB free on {found.mount}"
    if found.free < needed:
        return Verdict(
            subject,
            Outcome.BAD,
            f"{evidence}, {needed // MEBIBYTE} MiB needed",
            "make room, or lower limits.disk_free",
        )
    return Verdict(subject, Outcome.GOOD, evidence)


async def clock(host: Host, ours: Clock, allowed: float) -> Verdict:
    """Whether the host's clock is within `allowed` seconds of the conductor's."""
    subject = f"{host.name} clock"
    before = ours.now()
    try:
        result = await host.run(Command("date +%s.%N", timeout=15))
    except HostError as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    after = ours.now()
    try:
        theirs = float(result.stdout)
    except ValueError:
        return Verdict(subject, Outcome.UNKNOWN, (result.stderr or result.stdout).strip())
    skew = max(theirs - after, before - theirs, 0.0)
    evidence = f"within {skew:.1f} s of the conductor's"
    if skew > allowed:
        return Verdict(
            subject,
            Outcome.BAD,
            f"{skew:.1f} s from the conductor's, {allowed:g} s allowed",
            "let both follow the same time server",
        )
    return Verdict(subject, Outcome.GOOD, evidence)


async def escalation(host: Host) -> Verdict:
    """Whether we can gain the rights that the spec says we have there."""
    subject = f"{host.name} rights"
    try:
        result = await host.run(Command("id -un", become=True, timeout=15))
    except HostError as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    if result.status != 0:
        return Verdict(
            subject, Outcome.BAD, result.stderr.strip(), "let the SSH user run commands as the `become` user"
        )
    return Verdict(subject, Outcome.GOOD, f"commands run as {result.stdout.strip()}")
