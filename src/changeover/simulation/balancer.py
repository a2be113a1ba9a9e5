"""The balancer in memory: it believes its own health check and what it was told, nothing else."""

from collections.abc import Mapping

from changeover.errors import BalancerError
from changeover.ports import AdminState, ServerState
from changeover.simulation.application import SimulatedApplication


class SimulatedBalancer:
    """The `Balancer` port over simulated nodes: server name → node name."""

    def __init__(self, name: str, servers: Mapping[str, str], application: SimulatedApplication) -> None:
        self.name = name
        self.admin = dict.fromkeys(servers, AdminState.READY)
        self._nodes = dict(servers)
        self._application = application

    async def servers(self) -> Mapping[str, ServerState]:
        """Every server, as its node stands now."""
        return {
            server: ServerState(
                name=server,
                admin=self.admin[server],
                up=self._application.well(node),
                sessions=self._application.sessions(node),
                queued=0,
                idle=-1,
            )
            for server, node in self._nodes.items()
        }

    async def set_state(self, server: str, state: AdminState) -> None:
        """Take it down."""
        self._known(server)
        self.admin[server] = state

    async def cut(self, server: str) -> None:
        """End the sessions of its node."""
        self._known(server)
        self._application.nodes[self._nodes[server]].session_ends.clear()

    async def version(self) -> str:
        """A name for itself."""
        return "simulated"

    async def close(self) -> None:
        """Nothing is held open."""

    def _known(self, server: str) -> None:
        if server not in self._nodes:
            raise BalancerError(f"{self.name} has no server {server!r}")
