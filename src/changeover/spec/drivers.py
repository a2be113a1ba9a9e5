"""The drivers that are installed, by name: those of Changeover, and those that other packages register."""

from importlib.metadata import entry_points

GROUP = "changeover.drivers"
"""The entry point group; an entry is called `port.name`."""


def registered(port: str) -> tuple[str, ...]:
    """The names of the drivers for a port: `host`, `balancer`, `database`, `access`, `notifier` or `application`."""
    found = (entry.name.partition(".") for entry in entry_points(group=GROUP))
    return tuple(sorted({name for kind, _, name in found if kind == port}))
