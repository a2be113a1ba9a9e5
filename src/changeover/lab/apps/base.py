"""What a lab asks of the application that lives on it."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from changeover.lab.directory import Directory
from changeover.lab.inside import Window
from changeover.lab.layout import DatabaseKind, Form, Layout, Member, Role
from changeover.lab.seed import Seed


class Application(ABC):
    """One application: its hosts, what is on them, how it answers, how it is put back, and the file of its operator.

    Attributes:
        name: what `changeover lab up --app` calls it.
        releases: from the oldest on.
        nodes: how many there are when nobody says.
        databases: what it can store in; the first one when nobody says.
        forms: the forms of the lab that it lives in.
        packages: of Debian, in the image of its hosts, beyond those of every lab.
        database: the name of its database, and of the user who owns that.
    """

    name: ClassVar[str]
    releases: ClassVar[tuple[str, ...]]
    nodes: ClassVar[int]
    databases: ClassVar[tuple[DatabaseKind, ...]]
    forms: ClassVar[frozenset[Form]] = frozenset({Form.HOSTS})
    packages: ClassVar[tuple[str, ...]] = ()
    database: ClassVar[str]

    def members(self, nodes: int, network: str) -> list[Member]:
        """Return the hosts, of which `network` holds the first three numbers of the address."""
        database = Member("db1", f"{network}.12", Role.DATABASE)
        return [database, *self.app_hosts(nodes, network)]

    @staticmethod
    def app_hosts(nodes: int, network: str) -> list[Member]:
        """Return the hosts of the nodes."""
        return [Member(f"app{i}", f"{network}.{20 + i}", Role.APP) for i in range(1, nodes + 1)]

    @abstractmethod
    def schema(self) -> str:
        """Return the SQL of the first release's schema, for an empty database."""

    @abstractmethod
    def write_releases(self, directory: Path) -> None:
        """Write the archives of the releases, which every host finds in /srv/releases."""

    @abstractmethod
    def furnish(self, seed: Seed, member: Member, layout: Layout, directory: Directory) -> None:
        """Add what a host needs for the application: all but its identity and a database server."""

    @abstractmethod
    def answer(self, member: Member, layout: Layout, window: Window) -> str:
        """Return what a host's service answers; it begins with `not ` when that is not well.

        A host of the role DATABASE is not asked for.

        Raises:
            OSError, http.client.HTTPException: no proper answer.
        """

    @abstractmethod
    def reset(self, layout: Layout) -> list[dict[Role, str]]:
        """Return the scripts that put the hosts back to their first state, each with the host's seed on its stdin.

        The scripts of one entry may run at once on all hosts of their roles.
        """

    @abstractmethod
    def site(self, layout: Layout, directory: Directory) -> dict[str, Any]:
        """Return a lab of hosts as plain data."""

    @abstractmethod
    def write_operator_file(self, site: dict[str, Any]) -> Path | None:
        """Write the operator's changeover.yaml, and what it names, into the lab's directory; None where there is none."""
