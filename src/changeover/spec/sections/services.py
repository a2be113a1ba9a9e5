# ruff: noqa: RUF012  # pydantic copies defaults
"""Balancers and databases. The key under a name is the driver."""

import re
from collections.abc import Collection
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from changeover.spec.drivers import registered
from changeover.spec.located import Text
from changeover.spec.sections.base import (
    AS_MAP,
    AS_TEXT,
    FORM,
    Address,
    Duration,
    Name,
    Options,
    Port,
    Positive,
    SecretRef,
    Section,
    Variables,
    checked,
    matching,
)

_absolute = checked(matching(re.compile(r"/[^\0]*"), "an absolute path on the host"), {"type": "string"})
RemotePath = Annotated[Text, _absolute[0], _absolute[1]]


Servers = Annotated[Annotated[Text, AS_TEXT] | Annotated[dict[Text, Text], AS_MAP], FORM]
"""What the nodes are called in a pool: a template, or node → server."""


class Haproxy(Section):
    """HAProxy's runtime API, by its unix socket or by TCP, as the host reaches it."""

    host: Text | None = None
    socket: RemotePath | None = None
    address: Address | None = None
    port: Port | None = None
    backend: Name
    servers: Servers = Text("{node}")
    timeout: Annotated[Duration, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _reached(self) -> Self:
        by_tcp = self.address is not None and self.port is not None
        by_half = (self.address is None) != (self.port is None)
        if by_half or (self.socket is not None) == by_tcp:
            raise PydanticCustomError("section", "expected either socket, or address and port")
        return self


class OtherBalancer(Section):
    """A balancer whose driver another package brings."""

    host: Text | None = None
    pool: Name
    servers: Servers = Text("{node}")
    options: Options = {}


class Balancer(Section):
    """A balancer, by its driver."""

    REST: ClassVar[str] = "others"

    haproxy: Haproxy | None = None
    others: dict[Text, OtherBalancer] = {}

    @classmethod
    def rest(cls) -> Collection[str]:
        """The drivers that are installed."""
        return registered("balancer")

    @property
    def pool(self) -> Haproxy | OtherBalancer:
        """What is said of the pool, whatever the driver."""
        return self.haproxy or next(iter(self.others.values()))

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.haproxy is None and not self.others:
            raise PydanticCustomError("section", "a driver is missing: haproxy")
        if (self.haproxy is not None) + len(self.others) > 1:
            raise PydanticCustomError("section", "exactly one driver is expected")
        return self


class MariadbOptions(Section):
    """How MariaDB's tools are used on the database's host; `silence` is how long its server may be silent."""

    bin: RemotePath | None = None
    become: bool | None = None
    silence: Annotated[Duration, Field(ge=1)] | None = None


class PostgresqlOptions(MariadbOptions):
    """How PostgreSQL's tools are used on the database's host; `parameters` are libpq's."""

    jobs: Positive | None = None
    compress: Annotated[int, Field(ge=0, le=9)] | None = None
    parameters: Variables = {}


class Database(Section):
    """A database."""

    host: Text
    name: Name
    user: Name
    password: SecretRef | None = None
    address: Address | None = None
    port: Port | None = None
    tunnel: bool = False
    admin_database: Name | None = None
    snapshot_dir: RemotePath | None = None


class Postgresql(Database):
    """A database of PostgreSQL."""

    options: PostgresqlOptions | None = None


class Mariadb(Database):
    """A database of MariaDB."""

    options: MariadbOptions | None = None


class OtherDatabase(Database):
    """A database whose driver another package brings."""

    options: Options = {}


class DatabaseChoice(Section):
    """A database, by its driver."""

    REST: ClassVar[str] = "others"

    postgresql: Postgresql | None = None
    mariadb: Mariadb | None = None
    others: dict[Text, OtherDatabase] = {}

    @classmethod
    def rest(cls) -> Collection[str]:
        """The drivers that are installed."""
        return registered("database")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.postgresql is not None) + (self.mariadb is not None) + len(self.others) != 1:
            raise PydanticCustomError("section", "exactly one driver is expected: postgresql or mariadb")
        return self


Balancers = dict[Name, Balancer]
Databases = dict[Name, DatabaseChoice]
