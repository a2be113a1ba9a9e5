"""What an application has not written out: storage on its nodes' disks, worked off while a deployment is flushed.

Every deployment that sends leaves records on each node that runs. A flush keeps it from sending, and what is left is
worked off at a rate of so many records a second on each node; rows that belong to nothing any more stay for ever.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from changeover.ports import Answer

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite

WAITING = 40.0
"""Records that a node of a deployment that sends has not written out, at any time."""

ACTIVE = "active"
BY_DEFAULT = {"mail": ACTIVE, "archive": "inactive"}


@dataclass(slots=True)
class Deployment:
    """A deployment. `left`: node → records that it has not written out; `stale`: id → a row that is never worked off.

    `lost` are the records that were cleaned away before they were written out; `ignored` the rows that were given up.
    """

    active: bool = True
    flush: bool = False
    left: dict[str, float] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    lost: float = 0.0

    def copy(self) -> "Deployment":
        """One that changes by itself."""
        return replace(self, left=dict(self.left), stale=dict(self.stale), ignored=list(self.ignored))

    @property
    def outstanding(self) -> int:
        """How many records and rows there are still."""
        return sum(math.ceil(it) for it in self.left.values()) + len(self.stale)


def deployed(states: Mapping[str, str], nodes: Iterable[str]) -> dict[str, Deployment]:
    """Deployments in these states, those that are active with something to write out on each of the nodes."""
    names = list(nodes)
    return {
        name: Deployment(active, left=dict.fromkeys(names, WAITING) if active else {})
        for name, active in ((name, state == ACTIVE) for name, state in states.items())
    }


def count(site: "SimulatedSite", seconds: float) -> None:
    """Let so much time pass on the nodes that run."""
    for it in site.deployments.values():
        if not it.active:
            continue
        for name, node in site.nodes.items():
            if not node.running or not site.hosts[node.host].up:
                continue
            worked_off = it.left.get(name, 0.0) - seconds * site.durations.flush_rate
            it.left[name] = max(0.0, worked_off) if it.flush else WAITING


def unflushed(site: "SimulatedSite", node: str) -> int:
    """Records on that node that are not written out."""
    return sum(math.ceil(it.left.get(node, 0.0)) for it in site.deployments.values())


def _says(value: str) -> Answer:
    return Answer(True, value, value)


def _deployments(site: "SimulatedSite", _: str) -> Answer:
    states = ((name, ACTIVE if it.active else "inactive") for name, it in site.deployments.items())
    return _says("\n".join(f"{name} {state}" for name, state in states))


def _flushing(site: "SimulatedSite", _: str, *, deployment: str) -> Answer:
    return _says("on" if site.deployments[deployment].flush else "off")


def _outstanding(site: "SimulatedSite", _: str, *, deployment: str) -> Answer:
    return _says(str(site.deployments[deployment].outstanding))


def _stalled(site: "SimulatedSite", _: str, *, deployment: str) -> Answer:
    it = site.deployments[deployment]
    waiting = [f"{deployment}-{node} {math.ceil(left)} records" for node, left in it.left.items() if left]
    return _says("\n".join([*waiting, *(f"{row} {said}" for row, said in it.stale.items())]))


def _clean_done(site: "SimulatedSite", node: str) -> Answer:
    clean = site.nodes[node].clean
    return Answer(clean, "", "empty" if clean else "not empty")


def _watchdog_running(site: "SimulatedSite", node: str) -> Answer:
    runs = site.nodes[node].watchdog
    return Answer(runs, "", "active" if runs else "inactive")


def _flush_on(site: "SimulatedSite", node: str, deployment: str) -> None:  # noqa: ARG001 - whichever is told
    site.deployments[deployment].flush = True


def _flush_off(site: "SimulatedSite", node: str, deployment: str) -> None:  # noqa: ARG001 - whichever is told
    site.deployments[deployment].flush = False


def _ignore(site: "SimulatedSite", node: str, deployment: str, rows: str) -> None:  # noqa: ARG001 - whichever is told
    it = site.deployments[deployment]
    for row in rows.split(","):
        if it.stale.pop(row, ""):
            it.ignored.append(row)


def _clean(site: "SimulatedSite", node: str) -> None:
    for it in site.deployments.values():
        it.lost += it.left.get(node, 0.0)
        it.left[node] = 0.0
    site.nodes[node].clean = True


def _watchdog_stop(site: "SimulatedSite", node: str) -> None:
    site.nodes[node].watchdog = False


def _watchdog_start(site: "SimulatedSite", node: str) -> None:
    site.nodes[node].watchdog = True


ANSWERS: Mapping[str, Callable[..., Answer]] = {
    "deployments": _deployments,
    "flushing": _flushing,
    "outstanding": _outstanding,
    "stalled": _stalled,
    "clean_done": _clean_done,
    "watchdog_running": _watchdog_running,
}

CHANGES: Mapping[str, tuple[Callable[..., None], str]] = {
    "flush_on": (_flush_on, "told"),
    "flush_off": (_flush_off, "told"),
    "ignore": (_ignore, "told"),
    "clean": (_clean, "remove"),
    "watchdog_stop": (_watchdog_stop, "switch"),
    "watchdog_start": (_watchdog_start, "switch"),
}
"""What each does at its end, and the duration that it takes."""
