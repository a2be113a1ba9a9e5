"""What a lab consists of, as plain data: its hosts, their addresses and what each is for."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from changeover.lab.errors import LabError

if TYPE_CHECKING:
    from changeover.lab.apps.base import Application

APP_PORT = 8000
BALANCER_ADMIN_PORT = 9999
BALANCER_STATS_PORT = 8404
RELEASES = ("v1", "v2")


class Form(StrEnum):
    """How the lab's hosts come about."""

    HOSTS = "hosts"
    EMBEDDED = "embedded"


class DatabaseKind(StrEnum):
    """Which database the application uses; with NONE it keeps its notes in memory."""

    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"
    NONE = "none"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return 3306 if self is DatabaseKind.MARIADB else 5432


class Role(StrEnum):
    """What a host is for; OTHER is known to the application alone."""

    BALANCER = "balancer"
    DATABASE = "database"
    APP = "app"
    OTHER = "other"


@dataclass(frozen=True)
class Member:
    """One host of the lab."""

    name: str
    address: str
    role: Role


@dataclass(frozen=True)
class Layout:
    """The whole lab.

    Attributes:
        keep_balancer_state: whether HAProxy reads back, after a reload, the admin states it had before.
        startup_seconds: how long the application takes until it is healthy.
        session_idle_seconds: after how long without a request a session of the application ends.
        app: which application lives there, by name.
    """

    name: str = "lab"
    nodes: int = 4
    release: str = "v1"
    database: DatabaseKind = DatabaseKind.POSTGRESQL
    form: Form = Form.HOSTS
    keep_balancer_state: bool = True
    startup_seconds: float = 2.0
    session_idle_seconds: float = 60.0
    app: str = "notes"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", self.name):
            raise LabError(
                f"{self.name!r} is no name for a lab", hint="lower-case letters, digits and dashes"
            )
        if not 1 <= self.nodes <= 200:  # noqa: PLR2004  # addresses .21 to .220
            raise LabError(f"{self.nodes} nodes are not possible", hint="1 to 200")
        app = self.application
        if self.release not in app.releases:
            raise LabError(f"there is no release {self.release!r}", hint=f"one of {', '.join(app.releases)}")
        if self.database not in app.databases:
            raise LabError(
                f"{app.name} does not store in {self.database}", hint=f"one of {', '.join(app.databases)}"
            )
        if self.form not in app.forms:
            raise LabError(f"{app.name} lives in no {self.form} lab", hint=f"one of {', '.join(app.forms)}")

    @property
    def application(self) -> "Application":
        """The application that lives there."""
        from changeover.lab.apps import find_application  # which is made of layouts

        return find_application(self.app)

    def members(self) -> list[Member]:
        """Return the hosts, the nodes last and in order."""
        return self.application.members(self.nodes, self._network())

    def _network(self) -> str:
        """Return the first three numbers of every address.

        Labs of hosts have networks of their own; embedded ones share the loopback, so each takes a part of it.
        """
        if self.form is Form.HOSTS:
            return "10.77.0"
        mark = hashlib.sha256(self.name.encode()).digest()
        return f"127.{64 + mark[0] % 64}.{mark[1]}"

    @property
    def balancer_port(self) -> int:
        """The port clients use; the embedded lab may have no right to the usual one."""
        return 80 if self.form is Form.HOSTS else 8080

    def member(self, name: str) -> Member:
        """Return the host of that name.

        Raises:
            LabError: there is none; the error names those there are.
        """
        members = {member.name: member for member in self.members()}
        if name not in members:
            raise LabError(f"lab {self.name} has no host {name!r}", hint=f"one of {', '.join(members)}")
        return members[name]

    def apps(self) -> list[Member]:
        """Return the nodes, in order."""
        return [member for member in self.members() if member.role is Role.APP]

    def write(self, path: Path) -> None:
        """Store the layout as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def read_layout(path: Path) -> Layout:
    """Return the layout stored in `path`."""
    data = json.loads(path.read_text())
    layout = Layout(**data)
    return replace(layout, database=DatabaseKind(layout.database), form=Form(layout.form))
