"""Blocks that close the access gates of a site, and open them."""

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import Release
from changeover.model.site import AccessConfig
from changeover.model.words import count
from changeover.strategies.blocks.steps import back, estimate, look, timeout


def check_access(gate: AccessConfig, state: str) -> Step:
    """See that the gate is open or closed."""
    return look(
        f"{gate.name}/access-check",
        Operation("access.check", gate.name, {"state": state}),
        f"see {gate.name} {state} on {count(len(gate.hosts), 'host')}" + _from_outside(gate),
    )


def close_access(gate: AccessConfig, release: Release) -> Step:
    """Close the gate to the public. Taken back, it is open again."""
    return msgspec.structs.replace(_close(gate, release), undo=back(_open(gate, release)))


def open_access(gate: AccessConfig, release: Release) -> Step:
    """Open the gate to the public. Taken back, it is closed."""
    return msgspec.structs.replace(_open(gate, release), undo=back(_close(gate, release)))


def _close(gate: AccessConfig, release: Release) -> Step:
    return Step(
        id=f"{gate.name}/close",
        do=Operation("access.close", gate.name),
        summary=f"close {gate.name} on {count(len(gate.hosts), 'host')}" + _seen(gate, "closed"),
        timeout=timeout(release, "access", 120),
        attempts=2,
        retry_wait=2,
        **estimate(release, "access", 2),
    )


def _open(gate: AccessConfig, release: Release) -> Step:
    return Step(
        id=f"{gate.name}/open",
        do=Operation("access.open", gate.name),
        summary=f"open {gate.name} on {count(len(gate.hosts), 'host')}" + _seen(gate, "open"),
        timeout=timeout(release, "access", 120),
        attempts=2,
        retry_wait=2,
        **estimate(release, "access", 2),
    )


def _from_outside(gate: AccessConfig) -> str:
    return f", and from {', '.join(gate.outside)}" if gate.outside else ""


def _seen(gate: AccessConfig, state: str) -> str:
    return f", and see it {state} from {', '.join(gate.outside)}" if gate.outside else ""
