"""A lab described as plain data: all that a `changeover.yaml` for it needs."""

from typing import Any

from changeover.lab.balancer import BACKEND
from changeover.lab.directory import Directory
from changeover.lab.layout import (
    APP_PORT,
    BALANCER_ADMIN_PORT,
    BALANCER_STATS_PORT,
    RELEASES,
    DatabaseKind,
    Layout,
    Role,
)
from changeover.lab.roles import ADMIN_SOCKET


def common(layout: Layout, directory: Directory) -> dict[str, Any]:
    """Return what both forms of the lab have in common; JSON types only, passwords as the files that hold them."""
    balancer, database = layout.member("lb1"), layout.member("db1")
    return {
        "name": layout.name,
        "form": layout.form.value,
        "directory": str(directory.path),
        "hosts": [{"name": m.name, "address": m.address, "role": m.role.value} for m in layout.members()],
        "balancer": {
            "kind": "haproxy",
            "host": balancer.name,
            "backend": BACKEND,
            "servers": [app.name for app in layout.apps()],
            "cookie": "NODE",
        },
        "application": {
            "nodes": [m.name for m in layout.members() if m.role is Role.APP],
            "port": APP_PORT,
            "release": layout.release,
            "health": "/health",
            "version": "/version",
            "sessions": "/sessions",
        },
        "releases": list(RELEASES),
        "database": None
        if layout.database is DatabaseKind.NONE
        else {
            "kind": layout.database.value,
            "host": database.name,
            "address": database.address,
            "name": layout.application.database,
            "user": layout.application.database,
            "password_file": str(directory.database_password),
            "credentials_file": str(directory.credentials),
        },
    }


def of_hosts(layout: Layout, directory: Directory) -> dict[str, Any]:
    """Return the description of a lab of hosts."""
    balancer = layout.member("lb1").address
    site = common(layout, directory)
    site["ssh"] = {
        "user": "deploy",
        "port": 22,
        "key": str(directory.key),
        "known_hosts": str(directory.known_hosts),
        "become": "sudo",
        "guarded": {"user": "guarded", "sudo_password_file": str(directory.sudo_password)},
    }
    site["balancer"] |= {
        "socket": ADMIN_SOCKET,
        "tcp": f"{balancer}:{BALANCER_ADMIN_PORT}",
        "url": f"http://{balancer}:{layout.balancer_port}",
        "stats": f"http://{balancer}:{BALANCER_STATS_PORT}/stats",
    }
    site["application"] |= {
        "unit": "lab-app.service",
        "archives": {version: f"/srv/releases/{version}.tar" for version in RELEASES},
        "release_directory": "/opt/app/releases",
        "current": "/opt/app/current",
        "faults": "/etc/app/faults",
    }
    if site["database"]:
        site["database"]["port"] = layout.database.port
    site["archives"] = {version: str(directory.releases / f"{version}.tar") for version in RELEASES}
    return site
