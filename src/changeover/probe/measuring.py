"""One measurement from what the operator asked for: a profile, a load, a ledger, a run in the foreground."""

import resource
import secrets as randomness
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from changeover.errors import SpecError
from changeover.probe.foreground import foreground
from changeover.probe.ledger import Writer
from changeover.probe.loading import load as load_profile
from changeover.probe.loading import shipped
from changeover.probe.profile import Profile
from changeover.probe.records import Header
from changeover.probe.running import Probe
from changeover.probe.schedule import Load, SteadyClock
from changeover.probe.site import site
from changeover.probe.variables import secrets

_WRITE_SHARE = 0.1


async def measure(url: str, load: Load, writes: float | None, profile: str, ledger: Path | None) -> Path:
    """Measure the site and return the ledger's path; `SpecError` for what makes no sense, before anything is sent.

    `writes` is writes a second, None a tenth of the load's rate; `profile` is a file, a shipped name, or empty.
    """
    script = load_profile(profile) if profile else Profile()
    load = _with_writes(load, writes, script)
    if problems := load.problems():
        raise SpecError("\n".join(problems))
    _allow_connections(load.descriptors)
    target, values = site(url, script, load.timeout), secrets(script)
    clock, name = SteadyClock(), randomness.token_hex(4)
    path = ledger or Path(f"probe-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}.jsonl")
    with Writer(path, _header(name, url, clock.now(), load, script)) as writer:
        print(f"ledger {path}", file=sys.stderr, flush=True)  # noqa: T201 -- said at once, for whoever watches the file
        probe = Probe(target, script, load, secrets=values, writer=writer, clock=clock, run=name)
        await foreground(probe, clock)
    return path


def _with_writes(load: Load, writes: float | None, script: Profile) -> Load:
    if writes and not script.write:
        raise SpecError(
            "--writes: only a profile can say what a write is", hint=f"shipped: {', '.join(shipped())}"
        )
    share = load.rate * _WRITE_SHARE if script.write else 0.0
    return msgspec.structs.replace(load, write_rate=share if writes is None else writes)


def _header(name: str, url: str, begin: float, load: Load, script: Profile) -> Header:
    return Header(
        run=name,
        url=url,
        begin=begin,
        rate=load.rate,
        write_rate=load.write_rate,
        sessions=load.sessions,
        timeout=load.timeout,
        profile=script.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    )


def _allow_connections(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise SpecError(
            f"--rate, --timeout and --sessions could need {wanted} connections; this process may have {hard}",
            hint="lower one of them, or raise the limit (ulimit -n)",
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
