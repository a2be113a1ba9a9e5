"""Blocks that see that the site is fit for the work, before anything is changed."""

from collections.abc import Iterable

import msgspec

from changeover.model.plan import Operation, Step
from changeover.model.release import Release
from changeover.model.site import Node
from changeover.model.words import count
from changeover.strategies.blocks.steps import look, timeout


def check_host(host: str, release: Release) -> Step:
    """See that the host has room and the right time."""
    limits = release.limits
    params = {"path": "/", "disk_free": limits.disk_free, "clock_skew": limits.clock_skew}
    return look(
        f"{host}/host-check",
        Operation("host.check", host, params),
        f"see that {host} has room on its disk and the right time",
    )


def check_node(node: Node, version: str) -> Step:
    """See that the node is well and of that version."""
    return look(
        f"{node.name}/check",
        Operation("node.check", node.name, {"version": version}),
        f"see that {node.name} is well and runs {version}",
    )


def check_pool(balancer: str, servers: Iterable[str], release: Release) -> Step:
    """See that the servers are all in rotation, once the balancer has noticed those that just came up."""
    names = list(servers)
    wait = timeout(release, "pool_check", 30)
    seen = look(
        f"{balancer}/pool-check",
        Operation("traffic.check", balancer, {"servers": names, "wait": wait}),
        f"see all {count(len(names), 'server')} of {balancer} in rotation",
    )
    return msgspec.structs.replace(seen, timeout=seen.timeout + wait)


def check_database(database: str) -> Step:
    """See that the database can be worked with."""
    return look(
        f"{database}/database-check",
        Operation("database.check", database),
        f"see that {database} grants what is needed and holds no half-done migration",
    )
