"""Plans of a full stop and of a window to rehearse: small sites that have all that these strategies speak of."""

import msgspec

from changeover.model.plan import Facts, Plan
from changeover.model.release import (
    Coexistence,
    Expectation,
    Flush,
    Kept,
    Late,
    LogWatch,
    Migrations,
    Property,
    Release,
    Window,
)
from changeover.model.site import AccessConfig, DatabaseConfig, HostConfig, Site, Unit
from changeover.strategies import STRATEGIES
from tests.sites import CONTRACT, EXPAND, a_release, a_site

OPENS = 1_800_032_400.0
MINUTE = 60.0


def with_capabilities(site: Site, *names: str) -> Site:
    """The same, bound to anything."""
    application = site.application
    bound = {**application.capabilities, **dict.fromkeys(names, Unit("app.service"))}
    return msgspec.structs.replace(site, application=msgspec.structs.replace(application, capabilities=bound))


def a_closed_site(nodes: int = 2) -> Site:
    """Nodes without a balancer, behind an access gate on each of their hosts, and MariaDB."""
    site = a_site(nodes)
    bare = tuple(msgspec.structs.replace(node, servers={}) for node in site.application.nodes)
    hosts = tuple(it for it in site.hosts if it.name != "lb1")
    site = msgspec.structs.replace(
        site,
        hosts=(*hosts, HostConfig("out1", "127.0.0.1")),
        application=msgspec.structs.replace(site.application, nodes=bare),
        balancers=(),
        databases=(DatabaseConfig("main", "mariadb", "app", "app", "db1"),),
        access=(
            AccessConfig(
                "public",
                "nftables",
                tuple(node.host for node in bare),
                (8080,),
                outside=("out1",),
            ),
        ),
    )
    return with_capabilities(site, "build", "built", "test")


def a_window_release(late: Late = Late.FALL_BACK, minutes: float = 40.0, **changes: object) -> Release:
    """Two scripts, a kept file with a switch in it, a log, and a tester; the window lasts so many minutes."""
    migrations = tuple(msgspec.structs.replace(it, transactional=False, down="") for it in (EXPAND, CONTRACT))
    release = a_release(
        migrations=(Migrations("main", migrations, retry_wait=0.5),),
        coexistence=Coexistence(together=False),
        window=Window(OPENS, OPENS + minutes * MINUTE, margin=2 * MINUTE, warn=3 * MINUTE, late=late),
        sign_off=("anna",),
        kept=(Kept(("/opt/app/app.properties",), "/var/lib/kept"),),
        properties=(Property("/opt/app/app.properties", "ddl", "true", "false"),),
        logs=(LogWatch("/var/log/app.log", ("ERROR",)),),
        estimates={"sign_off": 2 * MINUTE},
    )
    return msgspec.structs.replace(release, **changes)


def a_window(nodes: int = 2, **release: object) -> Plan:
    """The plan of a window."""
    return STRATEGIES["window"](a_closed_site(nodes), a_window_release(**release), Facts())  # type: ignore[arg-type]


FLUSHES = (
    "deployments",
    "flush_on",
    "flush_off",
    "flushing",
    "outstanding",
    "stalled",
    "ignore",
    "unflushed",
)
WATCHES = ("watchdog_running", "watchdog_stop", "watchdog_start")


def a_full_stop(nodes: int = 2, **release: object) -> Plan:
    """Two deployments of which one is active, watchdogs, storage to be cleaned, and a kept file."""
    site = with_capabilities(a_site(nodes), *FLUSHES, *WATCHES, "clean", "clean_done", "diagnostic")
    made = msgspec.structs.replace(
        a_release(
            coexistence=Coexistence(together=False),
            expectations=(Expectation("diagnostic", "off"),),
            flush=Flush(stall=30.0, poll=1.0),
            kept=(Kept(("/opt/app/app.properties",), "/var/lib/kept"),),
        ),
        **release,
    )
    return STRATEGIES["full-stop"](site, made, Facts(deployments={"news": "active", "old": "inactive"}))
