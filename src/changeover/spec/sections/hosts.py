# ruff: noqa: RUF012  # pydantic copies defaults
"""Hosts: where they are, and how they are reached."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from changeover.spec.drivers import registered
from changeover.spec.located import Text
from changeover.spec.sections.base import (
    Duration,
    Name,
    OneOrMany,
    Options,
    Port,
    SecretRef,
    Section,
)

Texts = Annotated[list[Text], OneOrMany()]


class Key(Section):
    """The file of a private key."""

    SHORT: ClassVar[str] = "file"

    file: Text


class Ssh(Section):
    """How hosts are reached by SSH; what is not given comes from the next wider section."""

    user: Text | None = None
    port: Port | None = None
    key: Key | None = None
    passphrase: SecretRef | None = None
    password: SecretRef | None = None
    known_hosts: Text | None = None
    check_host_key: bool | None = None
    jump: Text | None = None
    connect_timeout: Duration | None = None


class Become(Section):
    """How a command gains the rights it needs."""

    SHORT: ClassVar[str] = "method"

    method: Literal["sudo", "none"] = "sudo"
    user: Name | None = None
    password: SecretRef | None = None


def _installed(value: object) -> str:
    names = registered("host")
    if isinstance(value, Text) and value in names:
        return str(value)
    # Told as what a list of words would say.
    raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, names))})


HostDriver = Annotated[str, PlainValidator(_installed), WithJsonSchema({"type": "string"})]


class Host(Section):
    """One host, or as many as its name's range stands for."""

    SHORT: ClassVar[str] = "address"

    address: Text
    driver: HostDriver = "ssh"
    ssh: Ssh | None = None
    become: Become | None = None
    options: Options = {}

    @model_validator(mode="after")
    def _understood(self) -> Self:
        if self.options and self.driver in ("ssh", "local"):
            raise PydanticCustomError("section", "only a driver of another package has options")
        return self


class Ansible(Section):
    """Ansible inventories to take hosts and groups from."""

    SHORT: ClassVar[str] = "inventory"

    inventory: Texts
    groups: Texts | None = None
    limit: Text | None = None


class Hosts(Section):
    """Every host of the site, by name; the key `ansible` adds those of inventories."""

    REST: ClassVar[str] = "named"

    ansible: Ansible | None = None
    named: dict[Text, Host] = {}


class Group(Section):
    """Hosts under one name, and what they have in common."""

    SHORT: ClassVar[str] = "hosts"

    hosts: Texts
    ssh: Ssh | None = None
    become: Become | None = None


Groups = dict[Name, Group]
