"""How long things take in a simulated site."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds. `well` pass between the start of a node and its being well, `boot` between the power and the start.

    `check` is the interval of a balancer's health checks: after `rise` good ones in a row a server is up, after
    `fall` bad ones down. `silence` is how long a call waits for a host that does not answer, `revive`
    how long a watchdog takes to find that its node does not run. `flush_rate` is in records a second on each node.
    """

    install: float = 5.0
    remove: float = 1.0
    switch: float = 0.05
    start: float = 0.2
    well: float = 2.0
    stop: float = 1.0
    snapshot: float = 3.0
    verify: float = 5.0
    drop: float = 0.2
    restore: float = 5.0
    migrate: float = 1.0
    copy: float = 0.5
    told: float = 0.01
    boot: float = 30.0
    silence: float = 10.0
    revive: float = 3.0
    check: float = 2.0
    rise: int = 2
    fall: int = 3
    flush_rate: float = 20.0
