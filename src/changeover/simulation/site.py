"""A whole site in memory, made from the same description as a real one."""

from changeover.model.site import Site
from changeover.ports import Clock, World
from changeover.simulation.application import SimulatedApplication, SimulatedNode
from changeover.simulation.balancer import SimulatedBalancer
from changeover.simulation.clock import SimulatedClock
from changeover.simulation.database import SimulatedDatabase
from changeover.simulation.host import SimulatedHost


class SimulatedSite:
    """Every part of the site, running `version` and well; `world` is what actions see of it."""

    def __init__(self, site: Site, version: str, clock: Clock | None = None) -> None:
        self.clock = clock or SimulatedClock()
        self.nodes = {
            node.name: SimulatedNode(release=version, installed={version}, running=version)
            for node in site.application.nodes
        }
        self.application = SimulatedApplication(self.nodes, self.clock)
        self.hosts = {host.name: SimulatedHost(host.name, self.clock) for host in site.hosts}
        self.balancers = {
            balancer.name: SimulatedBalancer(
                balancer.name,
                {
                    n.servers[balancer.name]: n.name
                    for n in site.application.nodes
                    if balancer.name in n.servers
                },
                self.application,
            )
            for balancer in site.balancers
        }
        self.databases = {
            database.name: SimulatedDatabase(database.name, self.clock) for database in site.databases
        }
        self.world = World(self.hosts, self.balancers, self.databases, self.application, self.clock)
