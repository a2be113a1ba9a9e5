"""Notes, behind a balancer: the application of most tests."""

from pathlib import Path
from typing import Any

from changeover.lab import operator_file, releases, reset, roles, site
from changeover.lab.apps.base import Application
from changeover.lab.balancer import answer as balancer_answer
from changeover.lab.directory import Directory
from changeover.lab.inside import Window
from changeover.lab.layout import APP_PORT, RELEASES, DatabaseKind, Form, Layout, Member, Role
from changeover.lab.seed import Seed


class Notes(Application):
    """Stateless nodes with sessions, HAProxy before them; PostgreSQL, MariaDB or nothing behind."""

    name = "notes"
    releases = RELEASES
    nodes = 4
    databases = (DatabaseKind.POSTGRESQL, DatabaseKind.MARIADB, DatabaseKind.NONE)
    forms = frozenset(Form)
    database = roles.DATABASE_NAME

    def members(self, nodes: int, network: str) -> list[Member]:
        """The balancer comes first."""
        return [Member("lb1", f"{network}.11", Role.BALANCER), *super().members(nodes, network)]

    def schema(self) -> str:
        """That of v1."""
        return releases.base_schema()

    def write_releases(self, directory: Path) -> None:
        """One tar archive each."""
        releases.write_all(directory)

    def furnish(self, seed: Seed, member: Member, layout: Layout, directory: Directory) -> None:
        """HAProxy, or the application's process."""
        if member.role is Role.BALANCER:
            roles.balancer(seed, member, layout)
        elif member.role is Role.APP:
            roles.node(seed, member, layout, directory)

    def answer(self, member: Member, layout: Layout, window: Window) -> str:
        """The statistics of the balancer, the health of a node."""
        if member.role is Role.BALANCER:
            return balancer_answer(member, layout.apps(), window)
        status, body = window.get(member.address, APP_PORT, "/health")
        return f"healthy, {body}" if status == 200 else f"not healthy: {status}"  # noqa: PLR2004

    def reset(self, layout: Layout) -> list[dict[Role, str]]:
        """No node writes while the database is emptied."""
        return reset.scripts(layout.database)

    def site(self, layout: Layout, directory: Directory) -> dict[str, Any]:
        """Balancer, nodes, database."""
        return site.of_hosts(layout, directory)

    def write_operator_file(self, site: dict[str, Any]) -> Path | None:
        """A rolling upgrade; none without a database."""
        return operator_file.write_operator_file(site) if site["database"] else None
