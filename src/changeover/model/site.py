"""The site: hosts, nodes, balancers and databases, as the operator described them."""

from collections.abc import Mapping
from typing import TypeVar

from changeover.errors import SpecError
from changeover.model.values import Json, Secret, Value


class Become(Value, frozen=True):
    """How a command gains the rights it needs on a host."""

    user: str = "root"
    method: str = "sudo"
    password: Secret | None = None


class Ssh(Value, frozen=True):
    """How a host is reached by SSH. Host keys are checked unless `check_host_key` is off."""

    user: str = "root"
    port: int = 22
    key: str = ""
    passphrase: Secret | None = None
    password: Secret | None = None
    known_hosts: str = ""
    check_host_key: bool = True
    jump: str = ""
    connect_timeout: float = 10.0


class HostConfig(Value, frozen=True):
    """One machine. `driver` is `ssh`, `local`, or another registered host driver, whose the `options` are."""

    name: str
    address: str
    driver: str = "ssh"
    ssh: Ssh = Ssh()
    become: Become | None = None
    options: Mapping[str, Json] = {}


class Node(Value, frozen=True):
    """One running instance of the application; `servers` is its name in each balancer's pool."""

    name: str
    host: str
    servers: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}


class Shell(Value, frozen=True, tag_field="kind", tag="shell"):
    """A shell line run on the node's host (or on `on`); it succeeds with an exit status in `expect`.

    As an answer: `answers` maps exit statuses to values; else `match` (a regular expression, group 1)
    or the whole standard output, stripped.
    """

    command: str
    become: bool = False
    on: str = ""
    env: Mapping[str, str | Secret] = {}
    expect: tuple[int, ...] = (0,)
    answers: Mapping[str, str] = {}
    match: str = ""


class Http(Value, frozen=True, tag_field="kind", tag="http"):
    """An HTTP request; it succeeds with a status in `expect`.

    `json` is a dotted path into the answer, `match` a regular expression (group 1) over its text.
    `via` says who sends it: `conductor`, or `host` (through the SSH connection of the node's host).
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str | Secret] = {}
    body: str = ""
    expect: tuple[int, ...] = (200,)
    json: str = ""
    match: str = ""
    via: str = "conductor"
    timeout: float = 5.0
    verify_tls: bool = True


class Sql(Value, frozen=True, tag_field="kind", tag="sql"):
    """A statement on a database of the site; as an answer, the first column of the first row."""

    database: str
    statement: str


class File(Value, frozen=True, tag_field="kind", tag="file"):
    """A file on the node's host: with `content` it is written (atomically), without it is read.

    With `link` the path is a symbolic link, set atomically to that target or read back.
    """

    path: str
    content: str | None = None
    link: str | None = None
    mode: int = 0o644
    become: bool = False
    match: str = ""


class Unit(Value, frozen=True, tag_field="kind", tag="systemd"):
    """A systemd unit: `start`, `stop`, `restart`, `reload` and `running` follow from the capability."""

    unit: str
    become: bool = True


Binding = Shell | Http | Sql | File | Unit


class Application(Value, frozen=True):
    """What is upgraded: its nodes, and how it performs each capability. `pack` names where they came from.

    `head` is the node that goes first; the first one where it is not named.
    """

    name: str
    nodes: tuple[Node, ...]
    capabilities: Mapping[str, Binding]
    pack: str = ""
    variables: Mapping[str, str] = {}
    head: str = ""


class BalancerConfig(Value, frozen=True):
    """A balancer and the pool in it that the nodes are servers of. `options` belong to the driver."""

    name: str
    driver: str
    pool: str
    host: str = ""
    options: Mapping[str, Json] = {}


class DatabaseConfig(Value, frozen=True):
    """A database. `host` is where its tools and snapshots live; `address`, `port` where it listens.

    `tunnel` sends the SQL connection through the host's SSH connection.
    """

    name: str
    driver: str
    database: str
    user: str
    host: str
    address: str = ""
    port: int = 0
    password: Secret | None = None
    admin_database: str = ""
    snapshot_dir: str = "/var/lib/changeover/snapshots"
    tunnel: bool = False
    options: Mapping[str, Json] = {}

    @property
    def transactional(self) -> bool:
        """Whether a change of the schema can be part of a transaction: on MariaDB each commits by itself."""
        return self.driver != "mariadb"


class AccessConfig(Value, frozen=True):
    """An access gate: who comes in through the `ports` of the `hosts` while the site is closed to the public.

    `allow`: port → the addresses and networks that come in all the same. `page` is the port on the same host where
    the maintenance page is served, to which everybody else is sent; 0: they are refused. `established` says what
    becomes of connections that are there when it closes: `keep` or `cut`. `outside` names hosts that belong to the
    public, from which it is tried.
    """

    name: str
    driver: str
    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    allow: Mapping[str, tuple[str, ...]] = {}
    page: int = 0
    established: str = "cut"
    outside: tuple[str, ...] = ()
    options: Mapping[str, Json] = {}


T = TypeVar("T", HostConfig, Node, BalancerConfig, DatabaseConfig, AccessConfig)


class Site(Value, frozen=True):
    """Everything that is upgraded together, and where it is."""

    name: str
    hosts: tuple[HostConfig, ...]
    application: Application
    balancers: tuple[BalancerConfig, ...] = ()
    databases: tuple[DatabaseConfig, ...] = ()
    access: tuple[AccessConfig, ...] = ()

    @property
    def head(self) -> Node:
        """The node that goes first."""
        name = self.application.head
        return self.node(name) if name else self.application.nodes[0]

    def host(self, name: str) -> HostConfig:
        """The host of that name; `SpecError` if there is none."""
        return _named(self.hosts, name, "host")

    def node(self, name: str) -> Node:
        """The node of that name; `SpecError` if there is none."""
        return _named(self.application.nodes, name, "node")

    def balancer(self, name: str) -> BalancerConfig:
        """The balancer of that name; `SpecError` if there is none."""
        return _named(self.balancers, name, "balancer")

    def database(self, name: str) -> DatabaseConfig:
        """The database of that name; `SpecError` if there is none."""
        return _named(self.databases, name, "database")

    def gate(self, name: str) -> AccessConfig:
        """The access gate of that name; `SpecError` if there is none."""
        return _named(self.access, name, "access gate")


def _named(items: tuple[T, ...], name: str, what: str) -> T:
    for item in items:
        if item.name == name:
            return item
    raise SpecError(f"no {what} named {name!r} in the site")
