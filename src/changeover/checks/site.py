"""Everything an upgrade relies on, checked at once on the live site."""

import asyncio
from collections.abc import Awaitable

from changeover.checks import access, databases, deployments, files, machines, nodes, people, traffic
from changeover.model.plan import Facts
from changeover.model.release import Release
from changeover.model.site import Site
from changeover.model.values import Verdict
from changeover.ports import Gating, World


def servers_of(site: Site, balancer: str) -> dict[str, str]:
    """Node name → server name in that balancer, for the nodes that are in it."""
    return {node.name: node.servers[balancer] for node in site.application.nodes if balancer in node.servers}


async def check(site: Site, release: Release, world: World, *, notify: bool = False) -> list[Verdict]:
    """A verdict on every host, node with its files, pool, database and access gate, in that order; told to `notify`, on notices too.

    Those are sent a message then: nothing else tells whether they arrive.
    """
    needs_rights = {host.name for host in site.hosts if host.become}
    limits = release.limits
    asked: list[Awaitable[Verdict]] = []
    for host in site.hosts:
        asked.append(machines.clock(world.hosts[host.name], world.clock, limits.clock_skew))
        asked.append(machines.disk(world.hosts[host.name], "/", limits.disk_free))
        if host.name in needs_rights:
            asked.append(machines.escalation(world.hosts[host.name]))
    for node in site.application.nodes:
        asked.append(nodes.health(world.application, node.name))
        asked.append(nodes.version(world.application, node.name, release.from_version))
        its_host, become = world.hosts[node.host], node.host in needs_rights
        asked += [
            files.there(its_host, node.name, path, key, become=become)
            for path, key in files.wanted(node, site, release).items()
        ]
    asked.extend(
        traffic.pool_verdict(world.balancers[balancer.name], servers_of(site, balancer.name).values())
        for balancer in site.balancers
    )
    for config in site.databases:
        database, its_host = world.databases[config.name], world.hosts[config.host]
        asked.append(databases.database(database))
        asked.append(databases.unfinished_migrations(database))
        asked.append(databases.room(database, its_host, config.snapshot_dir, limits.disk_free))
    for gate in site.access:
        its = world.access[gate.name]
        asked += [access.usable(its), access.state(its, Gating.OPEN)]
        asked += [access.seen(its, gate, outside, Gating.OPEN) for outside in gate.outside]
    if notify:
        asked += [people.told(notifier, site.name) for notifier in world.notifiers.values()]
    return list(await asyncio.gather(*asked))


async def facts(site: Site, world: World) -> Facts:
    """What a plan is made from, as the live site shows it now; a `PortError` where it cannot be seen.

    The version of a node that does not run is empty. `ApplicationError` where what it says of its deployments is not
    understood.
    """
    names = [node.name for node in site.application.nodes]
    answers = await asyncio.gather(*(world.application.ask("version", name) for name in names))
    pools = await asyncio.gather(*(world.balancers[b.name].servers() for b in site.balancers))
    ledgers = await asyncio.gather(*(world.databases[d.name].ledger() for d in site.databases))
    servers = await asyncio.gather(*(world.databases[d.name].facts() for d in site.databases))
    deployed = await deployments.states(world.application, site.head.name)
    return Facts(
        versions={
            name: answer.value if answer.ok else "" for name, answer in zip(names, answers, strict=True)
        },
        pools={
            balancer.name: {
                server: str(pool[server].admin) if server in pool else "absent"
                for server in servers_of(site, balancer.name).values()
            }
            for balancer, pool in zip(site.balancers, pools, strict=True)
        },
        schemas={
            database.name: tuple(entry.name for entry in ledger if entry.finished_at)
            for database, ledger in zip(site.databases, ledgers, strict=True)
        },
        servers={
            database.name: server.version for database, server in zip(site.databases, servers, strict=True)
        },
        deployments=deployed,
    )
