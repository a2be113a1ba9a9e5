"""Campus: servlets on Tomcat, to which clients come directly, and which is changed in a maintenance window."""

import shutil
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from changeover.lab import site as description
from changeover.lab.apps.base import Application
from changeover.lab.apps.campus import repository
from changeover.lab.directory import Directory
from changeover.lab.inside import Window
from changeover.lab.layout import DatabaseKind, Layout, Member, Role
from changeover.lab.operator_file import access_by_ssh
from changeover.lab.reset import database_script
from changeover.lab.roles import once
from changeover.lab.seed import Seed

WINDOW = timedelta(hours=4)
"""How long the window of the operator's file is open, from when it is written."""

PORT, TESTERS_PORT, JMX_PORT, PAGE_PORT = 8080, 8443, 9000, 8081
_FILES = Path(str(resources.files("changeover.lab.apps.campus"))) / "files"

_STOP_NODE = """\
nft flush ruleset
systemctl kill --signal=KILL tomcat10.service 2>/dev/null || :
systemctl stop tomcat10.service
# What an access gate keeps for the next boot.
rm -rf /etc/changeover /etc/systemd/system/changeover-* /etc/systemd/system/*.wants/changeover-*
systemctl daemon-reload
"""

_START_NODE = """\
set -e
tar -xpf - -C / opt/campus etc/campus var/lib/campus etc/tomcat10 etc/default/tomcat10
first=$(readlink /opt/campus/current)
for releases in /opt/campus/releases /srv/campus/built; do
    test ! -d "$releases" || find "$releases" -mindepth 1 -maxdepth 1 ! -name "${first#releases/}" -exec rm -rf {} +
done
find /etc/campus /var/lib/campus/faults -mindepth 1 ! -name campus.properties -delete
rm -rf /var/lib/changeover /var/backups/campus
: >/var/log/tomcat10/catalina.out
systemctl reset-failed tomcat10.service 2>/dev/null || :
systemctl restart lab-campus.service
systemctl start tomcat10.service
"""


class Campus(Application):
    """Two nodes on Debian's Tomcat, of which the first builds the releases, MariaDB, and a host of the public.

    The public's host has three addresses: somebody's, a tester's and that of whoever watches the JVMs.
    """

    name = "campus"
    releases = repository.RELEASES
    nodes = 2
    databases = (DatabaseKind.MARIADB,)
    packages = ("git", "libmariadb-java", "tomcat10")
    database = "campus"

    def members(self, nodes: int, network: str) -> list[Member]:
        """The public comes first."""
        return [Member("public", f"{network}.100", Role.OTHER), *super().members(nodes, network)]

    def schema(self) -> str:
        """That of the first release, with a few announcements."""
        return repository.schema()

    def write_releases(self, directory: Path) -> None:
        """Nothing: they are built on the head node, from the repository that is there."""

    def furnish(self, seed: Seed, member: Member, layout: Layout, directory: Directory) -> None:
        """A node, the head node with its repository; Tomcat runs nowhere else."""
        if member.role is Role.APP:
            _node(seed, member, layout, directory)
        else:
            seed.link("/etc/systemd/system/tomcat10.service", "/dev/null")
        if member.role is Role.OTHER:
            more = " && ".join(
                f"ip address add {address}/24 dev eth0" for address in _visitors(member).values()
            )
            seed.file("/etc/systemd/system/lab-addresses.service", once(more))
            seed.enable("lab-addresses.service")

    def answer(self, member: Member, layout: Layout, window: Window) -> str:  # noqa: ARG002
        """The health of a node."""
        if member.role is not Role.APP:
            return "somebody of the public"
        status, body = window.get(member.address, PORT, "/health")
        return f"healthy: {body.strip()}" if status == 200 else f"not healthy: {status}"  # noqa: PLR2004

    def reset(self, layout: Layout) -> list[dict[Role, str]]:
        """The first release stays built and installed; nothing is written while the database is emptied."""
        return [
            {Role.APP: _STOP_NODE},
            {Role.DATABASE: database_script(layout.database), Role.OTHER: "nft flush ruleset\n"},
            {Role.APP: _START_NODE},
        ]

    def site(self, layout: Layout, directory: Directory) -> dict[str, Any]:
        """Nodes, database, and who comes from where."""
        return description.basis(layout, directory) | {
            "ssh": description.ssh(directory),
            "visitors": {"anybody": layout.member("public").address, **_visitors(layout.member("public"))},
            "application": {
                "nodes": [app.name for app in layout.apps()],
                "port": PORT,
                "testers_port": TESTERS_PORT,
                "jmx_port": JMX_PORT,
                "page_port": PAGE_PORT,
                "release": layout.release,
                "unit": "tomcat10.service",
                "log": "/var/log/tomcat10/catalina.out",
                "configuration": "/etc/campus",
                "current": "/opt/campus/current",
                "faults": "/var/lib/campus/faults",
            },
        }

    def write_operator_file(self, site: dict[str, Any]) -> Path | None:
        """A maintenance window."""
        directory = Path(site["directory"])
        scripts = directory / "scripts"
        shutil.rmtree(scripts, ignore_errors=True)
        scripts.mkdir()
        for name, text in repository.scripts(self.releases[-1]).items():
            (scripts / name).write_bytes(text)
        head, *others = site["application"]["nodes"]
        now = datetime.now(UTC)
        values = {
            "opens": f"{now:%Y-%m-%d %H:%M}",
            "closes": f"{now + WINDOW:%H:%M}",
            "closing": f"{now:%H:%M}",
            "going": f"{now + WINDOW / 2:%H:%M}",
            "opening": f"{now + WINDOW * 3 / 4:%H:%M}",
            "hosts": "\n".join(f"  {host['name']}: {host['address']}" for host in site["hosts"]),
            "access": access_by_ssh(site),
            "nodes": ", ".join((head, *others)),
            "head": head,
            "tester": site["visitors"]["tester"],
            "watcher": site["visitors"]["watcher"],
            "database_address": site["database"]["address"],
            "password_file": site["database"]["password_file"],
        }
        path = directory / "changeover.yaml"
        path.write_text(Template((_FILES / "changeover.yaml").read_text()).substitute(values))
        return path


def _visitors(public: Member) -> dict[str, str]:
    """Return the further addresses of the public's host, by whose they are."""
    network, _, last = public.address.rpartition(".")
    return {who: f"{network}.{int(last) + i}" for i, who in enumerate(("tester", "watcher"), 1)}


def _node(seed: Seed, member: Member, layout: Layout, directory: Directory) -> None:
    head = layout.apps()[0].name
    database = layout.member("db1").address
    seed.directory("/opt/campus/releases")
    seed.link("/opt/campus/current", f"releases/{layout.release}")
    seed.directory("/var/lib/campus/faults")
    seed.file(
        "/etc/campus/campus.properties",
        Template((_FILES / "campus.properties").read_text()).substitute(
            node=member.name, database=database, password=directory.database_password.read_text()
        ),
        mode=0o640,
        owner="tomcat",
    )
    for name in ("server.xml", "web.xml", "logging.properties"):
        seed.file(f"/etc/tomcat10/{name}", (_FILES / name).read_bytes())
    options = Template((_FILES / "tomcat10").read_text()).substitute(address=member.address, port=JMX_PORT)
    seed.file("/etc/default/tomcat10", options)
    seed.file("/etc/systemd/system/tomcat10.service.d/lab.conf", (_FILES / "lab.conf").read_bytes())
    seed.file("/usr/local/sbin/lab-campus", (_FILES / "lab-campus.sh").read_bytes(), mode=0o755)
    seed.file("/etc/systemd/system/lab-campus.service", once(f"lab-campus {layout.release} {head}"))
    seed.enable("lab-campus.service")
    seed.file("/usr/local/sbin/maintenance-page", (_FILES / "page.py").read_bytes(), mode=0o755)
    seed.file(
        "/etc/systemd/system/maintenance-page.service", (_FILES / "maintenance-page.service").read_bytes()
    )
    seed.enable("maintenance-page.service")
    if member.name == head:
        seed.file("/etc/lab/campus.stream", repository.stream())
        seed.directory("/srv/campus/built")
        seed.file("/etc/rsyncd.conf", (_FILES / "rsyncd.conf").read_bytes())
        seed.enable("rsync.service")
