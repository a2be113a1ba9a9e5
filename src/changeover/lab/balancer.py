"""HAProxy's configuration, the same for both forms of the lab."""

import csv
import http.client
import io

from changeover.lab.inside import Window
from changeover.lab.layout import APP_PORT, BALANCER_STATS_PORT, Member

BACKEND = "app"


def haproxy_config(
    apps: list[Member],
    *,
    socket: str,
    socket_access: str,
    user: str | None,
    frontend: str,
    admin: str,
    stats: str,
    state_file: str | None,
) -> str:
    """Return haproxy.cfg: a cookie-sticky pool of `apps`, the runtime API and the statistics page.

    Args:
        apps: the nodes; a server has its node's name.
        socket: path of the runtime socket.
        socket_access: who may use it, as options of `bind`.
        user: whom HAProxy becomes, by name, and its group; None stays who starts it.
        frontend: address and port that clients use.
        admin: address and port of the runtime API over TCP.
        stats: address and port of the statistics page.
        state_file: where admin states are read from at start; None forgets them at every reload.
    """
    identity = f"    user {user}\n    group {user}\n" if user else ""
    state_global = f"    server-state-file {state_file}\n" if state_file else ""
    state_defaults = "    load-server-state-from-file global\n" if state_file else ""
    servers = "".join(f"    server {app.name} {app.address}:{APP_PORT} cookie {app.name}\n" for app in apps)
    return f"""\
global
    maxconn 4096
{identity}    stats socket {socket} {socket_access} level admin expose-fd listeners
    stats socket ipv4@{admin} level admin
    stats timeout 30s
{state_global}
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout queue 5s
    timeout check 1s
    retries 3
    option redispatch 1
    option http-server-close
{state_defaults}
frontend public
    bind {frontend}
    default_backend {BACKEND}

backend {BACKEND}
    balance roundrobin
    # Followed as long as the server is up or drains; inserted anew when its server is gone.
    cookie NODE insert indirect nocache httponly
    option httpchk GET /health
    http-check expect status 200
    default-server check inter 500ms fastinter 200ms downinter 200ms fall 2 rise 1
{servers}
listen stats
    bind {stats}
    stats enable
    stats uri /stats
"""


def answer(member: Member, apps: list[Member], window: Window) -> str:
    """Return what the statistics page says; it begins with `not ` unless every server is up."""
    status, body = window.get(member.address, BALANCER_STATS_PORT, "/stats;csv")
    if status != http.client.OK:
        return f"not serving: statistics page answers {status}"
    rows = csv.DictReader(io.StringIO(body.removeprefix("# ")))
    servers = {row["svname"]: row["status"] for row in rows if row["pxname"] == BACKEND}
    missing = [app.name for app in apps if servers.get(app.name) != "UP"]
    if missing:
        return f"not all servers up: {', '.join(missing)}"
    return f"haproxy, servers up: {len(apps)}"
