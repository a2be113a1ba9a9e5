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
)
from changeover.lab.roles import ADMIN_SOCKET


def basis(layout: Layout, directory: Directory) -> dict[str, Any]:
    """Return what every lab has; JSON types only, passwords as the files that hold them."""
    database = layout.member("db1")
    return {
        "name": layout.name,
        "app": layout.app,
        "form": layout.form.value,
        "directory": str(directory.path),
        "hosts": [{"name": m.name, "address": m.address, "role": m.role.value} for m in layout.members()],
        "releases": list(layout.application.releases),
        "database": None
        if layout.database is DatabaseKind.NONE
        else {
            "kind": layout.database.value,
            "host": database.name,
            "address": database.address,
            "port": layout.database.port,
            "name": layout.application.database,
            "user": layout.application.database,
            "password_file": str(directory.database_password),
            "credentials_file": str(directory.credentials),
        },
    }


def ssh(directory: Directory) -> dict[str, Any]:
    """Return how the hosts are reached by SSH."""
    return {
        "user": "deploy",
        "port": 22,
        "key": str(directory.key),
        "known_hosts": str(directory.known_hosts),
        "become": "sudo",
        "guarded": {"user": "guarded", "sudo_password_file": str(directory.sudo_password)},
    }


def common(layout: Layout, directory: Directory) -> dict[str, Any]:
    """Return what both forms of a lab of notes have in common."""
    return basis(layout, directory) | {
        "balancer": {
            "kind": "haproxy",
            "host": layout.member("lb1").name,
            "backend": BACKEND,
            "servers": [app.name for app in layout.apps()],
            "cookie": "NODE",
        },
        "application": {
            "nodes": [app.name for app in layout.apps()],
            "port": APP_PORT,
            "release": layout.release,
            "health": "/health",
            "version": "/version",
            "sessions": "/sessions",
        },
    }


def of_hosts(layout: Layout, directory: Directory) -> dict[str, Any]:
    """Return a lab of hosts with notes."""
    balancer = layout.member("lb1").address
    site = common(layout, directory)
    site["ssh"] = ssh(directory)
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
    site["archives"] = {version: str(directory.releases / f"{version}.tar") for version in RELEASES}
    return site
