"""The names that have a meaning of their own: capabilities, and what each strategy needs."""

from collections.abc import Mapping

CAPABILITIES = (
    "install",
    "installed",
    "switch",
    "release",
    "start",
    "stop",
    "running",
    "health",
    "version",
    "sessions",
    "remove",
    "reload",
    "flush",
    "unflushed",
    "deployments",
    "flush_on",
    "flush_off",
    "flushing",
    "outstanding",
    "stalled",
    "ignore",
    "clean",
    "clean_done",
    "watchdog_stop",
    "watchdog_start",
    "watchdog_running",
    "build",
    "built",
    "test",
    "read_only",
    "expand",
    "expanded",
    "migrate",
    "migrated",
    "contract",
    "contracted",
    "register",
    "point_at",
)
"""Those that strategies know. Others are allowed, and may be named by a migration."""

_NODES = ("install", "installed", "switch", "release", "start", "stop", "running", "health", "version")

NEEDED: Mapping[str, tuple[str, ...]] = {
    "rolling": _NODES,
    "full-stop": _NODES,
    "window": _NODES,
}
"""What each strategy asks of the application."""

EXAMPLES: Mapping[str, str] = {
    "start": "{systemd: app.service}",
    "stop": "{systemd: app.service}",
    "running": "{systemd: app.service}",
    "health": '{http: "http://{address}:8000/health"}',
    "version": '{http: "http://{address}:8000/version", json: version}',
}
"""How a capability is typically bound, for messages; a shell line is the rule."""

PLACEHOLDERS = frozenset({"node", "host", "address", "release", "lock_timeout"})
"""What a template knows besides the variables; `lock_timeout` (seconds) only those that a migration names."""

GIVEN: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        ("flush_on", "flush_off", "flushing", "outstanding", "stalled"), frozenset({"deployment"})
    ),
    "ignore": frozenset({"deployment", "rows"}),
}
"""What a template knows in some capabilities only: the deployment that is asked about, the rows to be ignored."""


def near_miss(name: str, known: str) -> bool:
    """Whether the two differ by one letter: left out, added, exchanged, or swapped with its neighbour."""
    if name == known or abs(len(name) - len(known)) > 1:
        return False
    short, long = sorted((name, known), key=len)
    start = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    swapped = short[start : start + 2][::-1] == long[start : start + 2]
    return short[start + 1 :] == long[start + 1 :] or (swapped and short[start + 2 :] == long[start + 2 :])
