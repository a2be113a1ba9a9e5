"""What the balancers say of the nodes."""

from collections.abc import Iterable

from changeover.errors import BalancerError, PortError
from changeover.model.values import Outcome, Verdict
from changeover.model.words import count
from changeover.ports import AdminState, Balancer, ServerState


def describe(server: ServerState) -> str:
    """One server in the balancer's terms: `app1 ready up, 3 sessions, 0 queued`."""
    health = "up" if server.up else f"down ({server.check})" if server.check else "down"
    return (
        f"{server.name} {server.admin} {health}, {count(server.sessions, 'session')}, {server.queued} queued"
    )


async def server_state(balancer: Balancer, server: str) -> ServerState:
    """What the balancer says of one server; `BalancerError` if it is not in the pool."""
    servers = await balancer.servers()
    if server not in servers:
        raise BalancerError(
            f"{balancer.name} has no server {server!r}; it has {', '.join(sorted(servers)) or 'none'}",
            hint="name the node's server in the balancer's `servers`, or add it to the pool",
        )
    return servers[server]


async def coming_up(balancer: Balancer, expected: Iterable[str]) -> bool:
    """Whether time alone may bring them all into rotation: the balancer waits for some of them to come up."""
    servers = await balancer.servers()
    states = [servers.get(name) for name in expected]
    told = all(state is not None and state.admin is AdminState.READY for state in states)
    return told and not all(state is not None and state.up for state in states)


async def pool_verdict(balancer: Balancer, expected: Iterable[str]) -> Verdict:
    """Whether exactly these servers are in the pool, and every one of them in rotation."""
    subject = f"pool {balancer.name}"
    try:
        servers = await balancer.servers()
    except PortError as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    wanted = set(expected)
    missing = sorted(wanted - servers.keys())
    strangers = sorted(servers.keys() - wanted)
    out = [
        describe(servers[name]) for name in sorted(wanted & servers.keys()) if not servers[name].in_rotation
    ]
    if missing:
        return Verdict(
            subject,
            Outcome.BAD,
            f"not in the pool: {', '.join(missing)}",
            "add them, or name the servers in the spec",
        )
    if out:
        return Verdict(
            subject,
            Outcome.BAD,
            f"not in rotation: {'; '.join(out)}",
            "bring them back first, or take them out of the spec",
        )
    evidence = f"{count(len(wanted), 'server')} ready and up"
    if strangers:
        evidence += f"; not ours and left alone: {', '.join(strangers)}"
    return Verdict(subject, Outcome.GOOD, evidence)
