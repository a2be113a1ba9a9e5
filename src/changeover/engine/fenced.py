"""The world as a conductor may change it: only for as long as its lease lasts.

The journal refuses who has lost the lease; a site cannot. A conductor that was frozen in the middle of an action
and wakes after another took over is stopped here, before its next effect.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

from changeover.ports import World

P = TypeVar("P")

EFFECTS: Mapping[str, frozenset[str]] = {
    "Host": frozenset({"run", "write", "copy", "remove", "connect_unix", "connect_tcp"}),
    "Balancer": frozenset({"set_state", "cut"}),
    "Database": frozenset(
        {"snapshot", "verify_snapshot", "drop_snapshot", "restore", "migrate", "revert", "forget"}
    ),
    "Application": frozenset({"do", "do_then_ask"}),
    "Access": frozenset({"shut", "reopen"}),
}
"""The methods of each port by which the site can be changed. The others only look."""


class _Fenced:
    """A port that asks `check` before each call that has an effect."""

    def __init__(self, port: object, effects: frozenset[str], check: Callable[[], None]) -> None:
        self._port = port
        self._effects = effects
        self._check = check

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name not in self._effects:
            return method

        @wraps(method)
        async def checked(*args: Any, **kwargs: Any) -> Any:
            self._check()
            return await method(*args, **kwargs)

        return checked


def fenced(world: World, check: Callable[[], None]) -> World:
    """The same world, in which every call with an effect first raises what `check` raises.

    What was begun before is not called back: one call of a port, once sent, runs to its end.
    """

    def fence(port: str, it: P) -> P:
        return cast("P", _Fenced(it, EFFECTS[port], check))

    return replace(
        world,
        hosts={name: fence("Host", it) for name, it in world.hosts.items()},
        balancers={name: fence("Balancer", it) for name, it in world.balancers.items()},
        databases={name: fence("Database", it) for name, it in world.databases.items()},
        application=fence("Application", world.application),
        access={name: fence("Access", it) for name, it in world.access.items()},
    )
