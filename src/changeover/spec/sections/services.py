"""Balancers and databases. The key under a name is the driver."""

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from changeover.spec.located import Map, Text
from changeover.spec.sections.base import (
    AS_MAP,
    AS_TEXT,
    FORM,
    Address,
    Name,
    Port,
    SecretRef,
    Section,
    checked,
    matching,
)

_absolute = checked(matching(re.compile(r"/[^\0]*"), "an absolute path on the host"), {"type": "string"})
_host_port = checked(
    matching(re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):\d{1,5}", re.ASCII), "address:port"),
    {"type": "string"},
)
RemotePath = Annotated[Text, _absolute[0], _absolute[1]]
HostPort = Annotated[Text, _host_port[0], _host_port[1]]


def as_mapping(value: object) -> Map:
    """A mapping whose content is read elsewhere."""
    if not isinstance(value, Map):
        raise PydanticCustomError("section", "expected a mapping")
    return value


Options = Annotated[Any, BeforeValidator(as_mapping), WithJsonSchema({"type": "object"})]
"""Handed on to the driver."""


class Haproxy(Section):
    """HAProxy's runtime API, by its unix socket on a host or by TCP."""

    host: Text | None = None
    socket: RemotePath | None = None
    address: HostPort | None = None
    backend: Name
    servers: Annotated[Annotated[Text, AS_TEXT] | Annotated[dict[Text, Text], AS_MAP], FORM] = Text("{node}")
    become: bool = False

    @model_validator(mode="after")
    def _reached(self) -> Self:
        if (self.socket is None) == (self.address is None):
            raise PydanticCustomError(
                "section", "exactly one of socket (on a host) and address (host:port) is expected"
            )
        if self.socket is not None and self.host is None:
            raise PydanticCustomError("section", "a socket needs the host it is on: give host")
        return self


class Balancer(Section):
    """A balancer, by its driver."""

    haproxy: Haproxy | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.haproxy is None:
            raise PydanticCustomError("section", "a driver is missing: haproxy")
        return self


class Database(Section):
    """A database, the same for every driver."""

    host: Text
    name: Name
    user: Name
    password: SecretRef | None = None
    address: Address | None = None
    port: Port | None = None
    tunnel: bool = False
    admin_database: Name | None = None
    snapshot_dir: RemotePath | None = None
    options: Options | None = None


class DatabaseChoice(Section):
    """A database, by its driver."""

    postgresql: Database | None = None
    mariadb: Database | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.postgresql is None) == (self.mariadb is None):
            raise PydanticCustomError("section", "exactly one driver is expected: postgresql or mariadb")
        return self


Balancers = dict[Name, Balancer]
Databases = dict[Name, DatabaseChoice]
