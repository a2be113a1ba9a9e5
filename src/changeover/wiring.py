"""Makes the world of a site: resolves drivers by name and opens nothing before it is used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from time import time
from typing import Any

from changeover.drivers.secrets import Secrets
from changeover.errors import SpecError
from changeover.model.release import Release
from changeover.model.site import Site
from changeover.ports import Access, Balancer, Database, Host, World
from changeover.spec.drivers import GROUP, registered


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time()

    async def sleep(self, seconds: float) -> None:
        """Return after so long."""
        await asyncio.sleep(seconds)


@cache
def driver(port: str, name: str) -> Any:
    """The factory registered as `port.name` in the entry point group; `SpecError` names those there are."""
    for entry in entry_points(group=GROUP, name=f"{port}.{name}"):
        return entry.load()
    names = registered(port)
    nearest = get_close_matches(name, names, n=1)
    raise SpecError(
        f"no {port} driver is called {name!r}; there are {', '.join(names)}",
        hint=f"did you mean {nearest[0]!r}?" if nearest else "install the package that brings it",
    )


def make_world(site: Site, release: Release, secrets: Secrets) -> World:
    """Every port of the site. Nothing is opened before it is used."""
    hosts: dict[str, Host] = {}
    databases: dict[str, Database] = {}
    balancers: dict[str, Balancer] = {}
    access: dict[str, Access] = {}
    for host in site.hosts:
        hosts[host.name] = driver("host", host.driver)(host, secrets=secrets, hosts=hosts)
    for balancer in site.balancers:
        balancers[balancer.name] = driver("balancer", balancer.driver)(balancer, secrets=secrets, hosts=hosts)
    for database in site.databases:
        databases[database.name] = driver("database", database.driver)(database, secrets=secrets, hosts=hosts)
    for gate in site.access:
        access[gate.name] = driver("access", gate.driver)(gate, site=site, secrets=secrets, hosts=hosts)
    application = driver("application", "bindings")(
        site, release, secrets=secrets, hosts=hosts, databases=databases
    )
    notifiers = {
        notice.name: driver("notifier", "apprise")(notice, secrets=secrets) for notice in release.notices
    }
    return World(hosts, balancers, databases, application, SystemClock(), access, notifiers)


@asynccontextmanager
async def open_world(site: Site, release: Release, secrets: Secrets) -> AsyncIterator[World]:
    """Every port of the site, until the end of the block; all connections are let go of then."""
    world = make_world(site, release, secrets)
    try:
        yield world
    finally:
        await world.application.close()
        for balancer in world.balancers.values():
            await balancer.close()
        for database in world.databases.values():
            await database.close()
        for gate in world.access.values():
            await gate.close()
        await asyncio.gather(*(host.close() for host in world.hosts.values()))
