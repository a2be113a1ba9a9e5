"""Sites and releases that tests are made from."""

import msgspec

from changeover.model.release import Batch, Expectation, Flush, Kept, Migrations, Release, SqlMigration
from changeover.model.site import Application, BalancerConfig, DatabaseConfig, HostConfig, Node, Site, Unit
from changeover.simulation import SimulatedSite

CAPABILITIES = (
    "start",
    "stop",
    "running",
    "health",
    "version",
    "release",
    "switch",
    "install",
    "installed",
    "remove",
)

MESSENGER = (
    *("deployments", "flush_on", "flush_off", "flushing", "outstanding", "stalled", "ignore", "unflushed"),
    *("watchdog_running", "watchdog_stop", "watchdog_start", "clean", "clean_done", "qa_diagnostic"),
)
DEPLOYED = {"mail": "active", "sms": "active", "archive": "inactive"}

EXPAND = SqlMigration("001_kind", "ALTER TABLE t ADD kind text", "c1", down="ALTER TABLE t DROP kind")
CONTRACT = SqlMigration("002_legacy", "ALTER TABLE t DROP legacy", "c2")


def a_site(nodes: int = 4) -> Site:
    """A site with so many nodes, one balancer and one database."""
    names = [f"app{number}" for number in range(1, nodes + 1)]
    return Site(
        name="identity",
        hosts=tuple(HostConfig(name, "127.0.0.1") for name in ["lb1", "db1", *names]),
        application=Application(
            "notes",
            tuple(Node(name, name, {"public": name}) for name in names),
            {capability: Unit("app.service") for capability in CAPABILITIES},
        ),
        balancers=(BalancerConfig("public", "haproxy", "app", "lb1"),),
        databases=(DatabaseConfig("main", "postgresql", "app", "app", "db1"),),
    )


def a_release(**changes: object) -> Release:
    """From v1 to v2, one node at a time, with an expand and a contract migration."""
    release = Release(
        "v1",
        "v2",
        batches=(Batch(count=1),),
        keep_serving=2,
        migrations=(Migrations("main", (EXPAND,), (CONTRACT,), retry_wait=0.5),),
    )
    return msgspec.structs.replace(release, **changes)


def a_messenger(nodes: int = 3) -> Site:
    """The same site with an application that is flushed and watched, whose storage is cleaned, and that is asked."""
    site = a_site(nodes)
    bound = {**site.application.capabilities, **dict.fromkeys(MESSENGER, Unit("app.service"))}
    return msgspec.structs.replace(
        site, application=msgspec.structs.replace(site.application, capabilities=bound)
    )


def a_full_stop(**changes: object) -> Release:
    """From v1 to v2 in a full stop; one answer is expected, and one file is kept."""
    stops: dict[str, object] = {
        "strategy": "full-stop",
        "keep_serving": 1,
        "expectations": (Expectation("qa_diagnostic", "OFF"),),
        "flush": Flush(stall=30.0, poll=2.0),
        "kept": (Kept(("/etc/app.properties",), "/srv/kept"),),
    }
    return a_release(**{**stops, **changes})


def a_simulated_site(nodes: int = 4) -> SimulatedSite:
    """The same site in memory, all of it well and of version v1."""
    return SimulatedSite(a_site(nodes), "v1", release=a_release())
