"""A site in memory behind the same ports as a real one, on simulated time.

site = SimulatedSite(description, "v1", release=release, traffic=Traffic(requests=100))
run(lambda clock: conduct(site.fork(clock).world))
"""

from changeover.simulation.clients import Clients, Loss, Traffic
from changeover.simulation.clock import EPOCH, LoopClock, SimulatedClock
from changeover.simulation.compatibility import abilities_of
from changeover.simulation.durations import Durations
from changeover.simulation.faults import Aim, Call, Fault, aimed, aiming
from changeover.simulation.loop import DeadlockError, SimulatedLoop, run
from changeover.simulation.site import SimulatedSite, differences

__all__ = [
    "EPOCH",
    "Aim",
    "Call",
    "Clients",
    "DeadlockError",
    "Durations",
    "Fault",
    "LoopClock",
    "Loss",
    "SimulatedClock",
    "SimulatedLoop",
    "SimulatedSite",
    "Traffic",
    "abilities_of",
    "aimed",
    "aiming",
    "differences",
    "run",
]
