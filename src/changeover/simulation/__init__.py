"""A site in memory behind the same ports as a real one."""

from changeover.simulation.clock import SimulatedClock
from changeover.simulation.host import SimulatedHost
from changeover.simulation.site import SimulatedSite

__all__ = ["SimulatedClock", "SimulatedHost", "SimulatedSite"]
