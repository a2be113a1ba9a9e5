"""Courier: campaigns that send messages from several nodes, and that must be flushed before these are stopped."""

import secrets
import shutil
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from changeover.lab import site as description
from changeover.lab.apps.base import Application
from changeover.lab.directory import Directory, write_private
from changeover.lab.inside import Window
from changeover.lab.layout import APP_PORT, DatabaseKind, Layout, Member, Role
from changeover.lab.operator_file import access_by_ssh
from changeover.lab.releases import write_archive
from changeover.lab.reset import database_script
from changeover.lab.seed import Seed

SINK_PORT = 8025
_HERE = Path(str(resources.files("changeover.lab.apps.courier")))
_PROGRAM, _FILES = _HERE / "program", _HERE / "files"

_STOP_NODE = """\
nft flush ruleset
systemctl kill --signal=KILL courier-monitor.service courier.service 2>/dev/null || :
systemctl stop courier-monitor.service courier.service
"""

_START_NODE = """\
set -e
rm -rf /opt/courier /etc/courier /var/lib/courier /var/lib/changeover
tar -xpf - -C / opt/courier etc/courier var/lib/courier
systemctl reset-failed courier.service 2>/dev/null || :
systemctl start courier-monitor.service courier.service
"""

_RESET_SINK = "nft flush ruleset\nsystemctl stop sink.service\nrm -f /var/lib/sink/messages\nsystemctl start sink.service\n"


class Courier(Application):
    """Three nodes, PostgreSQL, and a host where the messages go. Nothing balances: no client comes in."""

    name = "courier"
    releases = ("v1", "v2")
    nodes = 3
    databases = (DatabaseKind.POSTGRESQL,)
    database = "courier"

    def members(self, nodes: int, network: str) -> list[Member]:
        """The sink comes first."""
        return [Member("sink", f"{network}.13", Role.OTHER), *super().members(nodes, network)]

    def schema(self) -> str:
        """That of v1."""
        return (_PROGRAM / "v1" / "schema.sql").read_text()

    def write_releases(self, directory: Path) -> None:
        """One tar archive each."""
        for version in self.releases:
            write_archive(directory / f"{version}.tar", contents(version))

    def furnish(self, seed: Seed, member: Member, layout: Layout, directory: Directory) -> None:
        """The sink, or a node with its watchdog; all have the same key."""
        if member.role is Role.OTHER:
            seed.file("/opt/sink/sink.py", (_PROGRAM / "sink.py").read_bytes())
            seed.file("/opt/sink/courier.key", _key(directory), mode=0o600)
            seed.directory("/var/lib/sink")
            seed.file("/etc/systemd/system/sink.service", (_FILES / "sink.service").read_bytes())
            seed.enable("sink.service")
        elif member.role is Role.APP:
            _node(seed, member, layout, directory)

    def answer(self, member: Member, layout: Layout, window: Window) -> str:  # noqa: ARG002  # one shape for all
        """The health of a node; of the sink, that it is there."""
        port, path = (SINK_PORT, "/messages") if member.role is Role.OTHER else (APP_PORT, "/health")
        status, _ = window.get(member.address, port, path)
        ok = status == 200  # noqa: PLR2004
        return (
            f"{'' if ok else 'not '}{'taking messages' if member.role is Role.OTHER else 'healthy'}: {status}"
        )

    def reset(self, layout: Layout) -> list[dict[Role, str]]:
        """No node sends while the sink and the database are emptied."""
        return [
            {Role.APP: _STOP_NODE},
            {Role.DATABASE: database_script(layout.database), Role.OTHER: _RESET_SINK},
            {Role.APP: _START_NODE},
        ]

    def site(self, layout: Layout, directory: Directory) -> dict[str, Any]:
        """Nodes, sink, database."""
        return description.basis(layout, directory) | {
            "ssh": description.ssh(directory),
            "sink": f"http://{layout.member('sink').address}:{SINK_PORT}/messages",
            "application": {
                "nodes": [app.name for app in layout.apps()],
                "port": APP_PORT,
                "release": layout.release,
                "unit": "courier.service",
                "watchdog": "/etc/init.d/S80courier",
                "current": "/opt/courier/current",
                "storage": "/var/lib/courier/storage",
                "faults": "/etc/courier/faults",
            },
        }

    def write_operator_file(self, site: dict[str, Any]) -> Path | None:
        """A full stop with a flush."""
        directory = Path(site["directory"])
        shutil.copytree(_PROGRAM / "v2" / "migrations", directory / "migrations", dirs_exist_ok=True)
        values = {
            "hosts": "\n".join(f"  {host['name']}: {host['address']}" for host in site["hosts"]),
            "access": access_by_ssh(site),
            "nodes": ", ".join(site["application"]["nodes"]),
            "database_address": site["database"]["address"],
            "password_file": site["database"]["password_file"],
        }
        path = directory / "changeover.yaml"
        path.write_text(Template((_FILES / "changeover.yaml").read_text()).substitute(values))
        return path


def contents(version: str) -> dict[str, bytes]:
    """Return the files of a release by their path in it. What an installation is told, is empty in all of them."""
    files = {path.name: path.read_bytes() for path in sorted(_PROGRAM.glob("*.properties"))}
    files |= {"courier.py": (_PROGRAM / "courier.py").read_bytes(), "VERSION": f"{version}\n".encode()}
    own = _PROGRAM / version
    return files | {str(path.relative_to(own)): path.read_bytes() for path in sorted(own.rglob("*.sql"))}


def _node(seed: Seed, member: Member, layout: Layout, directory: Directory) -> None:
    home = f"/opt/courier/releases/{layout.release}"
    seed.directory(home)
    for path, data in contents(layout.release).items():
        if not path.endswith(".properties"):
            seed.file(f"{home}/{path}", data)
    installed = {
        "node": member.name,
        "address": member.address,
        "port": APP_PORT,
        "storage": "/var/lib/courier/storage",
        "faults": "/etc/courier/faults",
        "sink": f"{layout.member('sink').address}:{SINK_PORT}",
        "pace": 0.2,
        "startup": layout.startup_seconds,
    }
    database = {
        "host": layout.member("db1").address,
        "port": layout.database.port,
        "dbname": layout.application.database,
        "user": layout.application.database,
        "password": directory.database_password.read_text(),
    }
    told: dict[str, dict[str, Any]] = {
        "install": installed,
        "database": database,
        "crypto": {"algorithm": "sha256", "key": "keys/courier.key"},
    }
    for name, values in told.items():
        lines = "".join(f"{key} = {value}\n" for key, value in values.items())
        seed.file(f"{home}/{name}.properties", lines, mode=0o640, owner="app")
    seed.directory(f"{home}/keys", mode=0o750, owner="app")
    seed.file(f"{home}/keys/courier.key", _key(directory), mode=0o640, owner="app")
    seed.link("/opt/courier/current", f"releases/{layout.release}")
    seed.directory("/etc/courier/faults")
    seed.directory("/var/lib/courier/storage", mode=0o750, owner="app")
    for unit in ("courier.service", "courier-monitor.service"):
        seed.file(f"/etc/systemd/system/{unit}", (_FILES / unit).read_bytes())
    seed.file("/usr/local/sbin/runmonitor.sh", (_FILES / "runmonitor.sh").read_bytes(), mode=0o755)
    seed.file("/etc/init.d/S80courier", (_FILES / "S80courier").read_bytes(), mode=0o755)
    seed.enable("courier-monitor.service")


def _key(directory: Directory) -> str:
    """Return the key of this lab, made the first time."""
    path = directory.path / "courier.key"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()
