"""The application in memory: nodes that take time to start and hold sessions until these end."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from changeover.errors import ApplicationError
from changeover.ports import Answer
from changeover.simulation import schema, storage
from changeover.simulation.calls import Orphan, Work
from changeover.simulation.state import SimulatedNode

if TYPE_CHECKING:
    from changeover.simulation.site import SimulatedSite

DETACHED = frozenset({"start", "stop", "restart"})
"""Jobs of systemd: they go on, whatever comes of who asked for them."""

ASK_SECONDS = 30.0
DO_SECONDS = 3600.0


class SimulatedApplication:
    """The `Application` port over the nodes of the site. What the site does not bind, it cannot."""

    def __init__(self, site: "SimulatedSite") -> None:
        self._site = site

    def can(self, capability: str) -> bool:
        """Whether that capability has a binding."""
        return capability in self._site.site.application.capabilities

    async def do(self, capability: str, node: str, *, timeout: float = DO_SECONDS, **values: str) -> str:
        """Change the node, or the schema, as the capability says."""
        it = self._node(capability, node, values)
        site, durations = self._site, self._site.durations
        if capability in it.broken:
            await site.calls.look("application", capability, node, it.host, timeout)
            raise ApplicationError(f"{capability} on {node}: exit status 1: broken, as it was told to be")
        begin: Callable[[SimulatedSite], None] | None
        command = site.commands.get(capability)
        if command and command.verb != "ask":
            if values["release"] not in it.installed:
                raise ApplicationError(f"{capability} on {node}: {values['release']} is not installed")
            if await schema.locked(site, command.database, float(values["lock_timeout"])):
                raise ApplicationError(f"{capability} on {node}: exit status 1: lock timeout")
            seconds = durations.migrate
            begin, end = schema.commanding(command.database, command.migration, command.verb == "apply")
        elif capability in _CHANGES:
            change, named = _CHANGES[capability]
            if "deployment" in values and values["deployment"] not in site.deployments:
                raise ApplicationError(f"{capability} on {node}: no deployment {values['deployment']}")
            seconds = getattr(durations, named) if named else 0.0
            at_once = _BEGINS.get(capability)
            begin = partial(at_once, node=node) if at_once else None
            end = partial(change, node=node, **values)
        else:
            raise ApplicationError(f"{capability} on {node}: what it does is not simulated")
        locks = command.database if command else ""
        work = Work(seconds, begin, end, locks=locks, timeout=timeout, detached=capability in DETACHED)
        await site.calls.effect("application", capability, node, it.host, work)
        return f"{capability} on {node}: exit status 0"

    async def do_then_ask(
        self, capability: str, question: str, node: str, *, timeout: float = DO_SECONDS, **values: str
    ) -> tuple[str, Answer | None]:
        """One after the other."""
        said = await self.do(capability, node, timeout=timeout, **values)
        try:
            return said, await self.ask(question, node)
        except ApplicationError:
            return said, None

    async def ask(self, capability: str, node: str, **values: str) -> Answer:
        """Answer from the state as it is. A node that does not answer is not well; else that is an error."""
        it = self._node(capability, node, values)
        site = self._site
        try:
            await site.calls.look("application", capability, node, it.host, ASK_SECONDS)
        except ApplicationError as error:
            if capability != "health":
                raise
            return Answer(False, "", error.message)
        command = site.commands.get(capability)
        if command and command.verb == "ask":
            said = schema.said(site.stores[command.database], command.migration)
            return Answer(said == "yes", said, f"{command.migration}: {said}")
        if capability in ("health", "version", "unflushed") and not it.running:
            return Answer(False, "", "connection refused")
        return self._said(capability, node, values)

    def recent(self, question: str, node: str, seconds: float) -> Answer | None:
        """None: nothing is remembered."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _said(self, capability: str, node: str, values: Mapping[str, str]) -> Answer:
        site = self._site
        if capability in site.answers:
            return _says(site.answers[capability])
        if "deployment" in values and values["deployment"] not in site.deployments:
            return Answer(False, "", f"no deployment {values['deployment']}")
        if capability in storage.ANSWERS:
            site.count()
            return storage.ANSWERS[capability](site, node, **values)
        if capability not in _ANSWERS:
            raise ApplicationError(f"{capability} on {node}: what it says is not simulated")
        return _ANSWERS[capability](site, node, **values)

    def _node(self, capability: str, name: str, values: dict[str, str]) -> SimulatedNode:
        if not self.can(capability):
            raise ApplicationError(
                f"{capability} is not bound", hint=f"bind {capability} under `application` to a shell line"
            )
        for given, value in values.items():
            if not value or {".", ".."} & set(value.split("/")):
                raise ApplicationError(f"{capability} on {name}: {given} cannot be {value!r}")
        self._site.site.node(name)
        return self._site.nodes[name]


def _install(site: "SimulatedSite", node: str, release: str) -> None:
    it = site.nodes[node]
    if release in it.installed:
        return
    if site.hosts[it.host].full:
        raise ApplicationError(f"install on {node}: exit status 2: No space left on device", hint="make room")
    it.installed.add(release)


def _remove(site: "SimulatedSite", node: str, release: str) -> None:
    site.nodes[node].installed.discard(release)


def _switch(site: "SimulatedSite", node: str, release: str) -> None:
    it = site.nodes[node]
    if it.release != release:
        for path in it.settings:
            site.hosts[it.host].files[path] = f"# as {release} brings it\n".encode()
            site.hosts[it.host].owned.pop(path, None)
    it.release = release


def _build(site: "SimulatedSite", node: str, release: str) -> None:
    if site.hosts[site.nodes[node].host].full:
        raise ApplicationError(f"build on {node}: exit status 1: No space left on device", hint="make room")
    site.nodes[node].built.add(release)


def _built(site: "SimulatedSite", node: str, *, release: str) -> Answer:
    built = site.nodes[node].built
    return Answer(release in built, "", f"built: {', '.join(sorted(built)) or 'nothing'}")


def _test(site: "SimulatedSite", node: str, release: str) -> None:
    if not site.well(node) or site.nodes[node].running != release:
        raise ApplicationError(f"test on {node}: exit status 1: {release} does not answer well")


def _start(site: "SimulatedSite", node: str, **_: str) -> None:
    """After a job that stops it, as systemd has it."""
    stopping = [orphan for orphan in site.orphans if _stops(orphan, node)]
    if stopping:
        last = max(orphan.at for orphan in stopping)
        site.orphan(Orphan(last, site.nodes[node].host, partial(_start, node=node)))
    else:
        site.start(node)


def starting(site: "SimulatedSite", node: str) -> bool:
    """Whether a job is at work that starts it."""
    return any(_starts(orphan, node) for orphan in site.orphans)


def _starts(orphan: Orphan, node: str) -> bool:
    end = orphan.end
    return isinstance(end, partial) and end.func in (_start, _restart) and end.keywords.get("node") == node


def _stops(orphan: Orphan, node: str) -> bool:
    end = orphan.end
    return isinstance(end, partial) and end.func is _stop and end.keywords.get("node") == node


def _stop(site: "SimulatedSite", node: str, **_: str) -> None:
    site.nodes[node].running = ""


def _no_start(site: "SimulatedSite", node: str) -> None:
    """A job that starts it comes to nothing, as systemd has it, when it is told to stop."""
    site.orphans = [orphan for orphan in site.orphans if not _starts(orphan, node)]


def _restart(site: "SimulatedSite", node: str, **_: str) -> None:
    _stop(site, node)
    site.start(node)


def _reload(site: "SimulatedSite", node: str, **_: str) -> None:
    """It reads its configuration anew, and is as before."""


def _installed(site: "SimulatedSite", node: str, *, release: str) -> Answer:
    installed = site.nodes[node].installed
    return Answer(release in installed, "", f"installed: {', '.join(sorted(installed))}")


def _running(site: "SimulatedSite", node: str, **_: str) -> Answer:
    if starting(site, node):
        return Answer(True, "", "activating")
    if any(_stops(orphan, node) for orphan in site.orphans):
        return Answer(True, "", "deactivating")
    running = bool(site.nodes[node].running)
    return Answer(running, "", "active" if running else "inactive")


def _health(site: "SimulatedSite", node: str, **_: str) -> Answer:
    well = site.well(node)
    return Answer(well, "", "200" if well else "503")


def _release(site: "SimulatedSite", node: str, **_: str) -> Answer:
    return _says(site.nodes[node].release)


def _version(site: "SimulatedSite", node: str, **_: str) -> Answer:
    it = site.nodes[node]
    return _says("?" if "version" in it.broken else it.running)


def _sessions(site: "SimulatedSite", node: str, **_: str) -> Answer:
    return _says(str(site.sessions(node)))


def _unflushed(site: "SimulatedSite", node: str, **_: str) -> Answer:
    it = site.nodes[node]
    site.count()
    left = it.unflushed + storage.unflushed(site, node)
    return _says(str(left)) if "unflushed" not in it.broken else Answer(False, "", "exit status 1")


def _says(value: str) -> Answer:
    return Answer(True, value, value)


_ANSWERS: Mapping[str, Callable[..., Answer]] = {
    "installed": _installed,
    "built": _built,
    "running": _running,
    "health": _health,
    "release": _release,
    "version": _version,
    "sessions": _sessions,
    "unflushed": _unflushed,
}

_BEGINS: Mapping[str, Callable[..., None]] = {"stop": _no_start}
"""What comes of it as soon as it is begun."""

_CHANGES: Mapping[str, tuple[Callable[..., None], str]] = {
    "build": (_build, "install"),
    "test": (_test, "switch"),
    "install": (_install, "install"),
    "remove": (_remove, "remove"),
    "switch": (_switch, "switch"),
    "start": (_start, "start"),
    "stop": (_stop, "stop"),
    "restart": (_restart, "stop"),
    "reload": (_reload, ""),
    **storage.CHANGES,
}
"""What each does at its end, and the duration that it takes."""
