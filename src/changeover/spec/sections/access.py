# ruff: noqa: RUF012  # pydantic copies defaults
"""Access gates. The key under a name is the driver."""

from collections.abc import Collection
from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from changeover.spec.drivers import registered
from changeover.spec.located import Text
from changeover.spec.sections.base import Name, OneOrMany, Options, Port, Section, checked


def _network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError as error:
        if "has host bits set" in str(error):
            meant = ip_network(text, strict=False)
            raise ValueError(f"this is an address within a network: write {meant}") from None
        raise ValueError("expected an IP address or a network, as in 10.0.0.5 or 192.168.1.0/24") from None


def is_address(text: str) -> bool:
    """Whether that is an IP address, not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_network_check = checked(_network, {"type": "string"})
Network = Annotated[Text, _network_check[0], _network_check[1]]
Hosts = Annotated[list[Text], Field(min_length=1), OneOrMany()]
Ports = Annotated[list[Port], Field(min_length=1), OneOrMany()]
Networks = Annotated[list[Network], OneOrMany()]


class Gate(Section):
    """Who comes in through which ports of which hosts while the site is closed to the public."""

    hosts: Hosts
    ports: Ports
    allow: dict[Port, Networks] = {}
    page: Port | None = None
    established: Literal["cut", "keep"] = "cut"
    outside: Annotated[list[Text], OneOrMany()] = []


class OtherGate(Gate):
    """A gate whose driver another package brings."""

    options: Options = {}


class Access(Section):
    """An access gate, by its driver."""

    REST: ClassVar[str] = "others"

    nftables: Gate | None = None
    others: dict[Text, OtherGate] = {}

    @classmethod
    def rest(cls) -> Collection[str]:
        """The drivers that are installed, besides ours."""
        return tuple(name for name in registered("access") if name != "nftables")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.nftables is not None) + len(self.others) != 1:
            raise PydanticCustomError("section", "exactly one driver is expected: nftables")
        return self


Gates = dict[Name, Access]
