"""The application in memory: nodes that take time to start and hold sessions until these end."""

from dataclasses import dataclass, field

from changeover.errors import ApplicationError
from changeover.ports import Answer, Clock


@dataclass
class SimulatedNode:
    """One node. `session_ends` are the times at which its sessions end by themselves."""

    release: str
    installed: set[str]
    running: str = ""
    started_at: float = 0.0
    session_ends: list[float] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Names of capabilities that fail on this node: how a test makes it misbehave."""


class SimulatedApplication:
    """The `Application` port over simulated nodes. `start_seconds` pass between `start` and being well."""

    CAPABILITIES = frozenset(
        {"install", "installed", "remove", "switch", "release", "start", "stop", "running"}
        | {"health", "version", "sessions", "expand", "expanded", "unexpand"}
    )

    def __init__(self, nodes: dict[str, SimulatedNode], clock: Clock, start_seconds: float = 2.0) -> None:
        self.nodes = nodes
        self.expanded = False
        self._clock = clock
        self._start_seconds = start_seconds

    def can(self, capability: str) -> bool:
        """Whether that capability exists here."""
        return capability in self.CAPABILITIES

    def well(self, name: str) -> bool:
        """Whether the node runs, has had the time to start, and was not told to be ill."""
        node = self.nodes[name]
        return bool(node.running) and "health" not in node.broken and self._age(node) >= self._start_seconds

    def sessions(self, name: str) -> int:
        """How many sessions the node holds now."""
        now = self._clock.now()
        node = self.nodes[name]
        node.session_ends = [end for end in node.session_ends if end > now]
        return len(node.session_ends)

    async def do(self, capability: str, node: str, *, timeout: float = 0.0, **values: str) -> str:
        """Change the node as the capability says."""
        it = self.nodes[node]
        if capability in it.broken:
            raise ApplicationError(f"{capability} failed on {node}, as it was told to")
        match capability:
            case "install":
                it.installed.add(values["release"])
            case "remove":
                it.installed.discard(values["release"])
            case "switch":
                if values["release"] not in it.installed:
                    raise ApplicationError(f"{values['release']} is not installed on {node}")
                it.release = values["release"]
            case "start" if not it.running:
                it.running, it.started_at = it.release, self._clock.now()
            case "stop":
                it.running, it.session_ends = "", []
            case "expand" | "unexpand":
                self.expanded = capability == "expand"
        return f"{capability} on {node}"

    async def ask(self, capability: str, node: str, **values: str) -> Answer:
        """Answer from the state as it is."""
        it = self.nodes[node]
        answers = {
            "installed": Answer(
                values.get("release") in it.installed, "", f"installed: {', '.join(sorted(it.installed))}"
            ),
            "release": _says(it.release),
            "running": Answer(bool(it.running), "", "running" if it.running else "not running"),
            "health": Answer(self.well(node), "", "200" if self.well(node) else "503"),
            "version": Answer(
                bool(it.running), version := "?" if "version" in it.broken else it.running, version
            ),
            "sessions": _says(str(self.sessions(node))),
            "expanded": _says("yes" if self.expanded else "no"),
        }
        if capability not in answers:
            raise ApplicationError(f"no capability {capability!r}")
        return answers[capability]

    async def close(self) -> None:
        """Nothing is held open."""

    def _age(self, node: SimulatedNode) -> float:
        return self._clock.now() - node.started_at


def _says(value: str) -> Answer:
    return Answer(True, value, value)
