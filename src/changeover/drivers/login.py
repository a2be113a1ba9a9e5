"""Where a database listens, as whom we speak to it, and the way there."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from changeover.drivers.secrets import Secrets
from changeover.errors import DatabaseError, HostError, SpecError
from changeover.model.site import DatabaseConfig
from changeover.ports import Host

OptionsType = TypeVar("OptionsType")


@dataclass(frozen=True, slots=True)
class Login:
    """Enough to connect. An `address` that begins with `/` is a unix socket (PostgreSQL: its directory)."""

    address: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)

    @property
    def local(self) -> bool:
        """Whether the address is a unix socket."""
        return self.address.startswith("/")

    def to(self, database: str) -> "Login":
        """The same to another database of the server."""
        return replace(self, database=database)

    def __str__(self) -> str:
        return f"database {self.database!r} at {self.address}:{self.port} as {self.user!r}"


class Access:
    """The ways to one database: for the tools on its host, and for us."""

    def __init__(
        self, config: DatabaseConfig, *, secrets: Secrets, hosts: Mapping[str, Host], port: int
    ) -> None:
        self.config = config
        self._secrets = secrets
        self._hosts = hosts
        self._port = config.port or port

    @property
    def host(self) -> Host:
        """The host that tools and snapshots live on."""
        if self.config.host not in self._hosts:
            raise DatabaseError(
                f"database {self.config.name}: there is no host {self.config.host!r} in the site"
            )
        return self._hosts[self.config.host]

    def redact(self, text: str) -> str:
        """The text without any secret."""
        return self._secrets.redact(text)

    async def login(self) -> Login:
        """How the database's host gets there; without an address, through its loopback."""
        password = ""
        if self.config.password:
            what = f"the password of database {self.config.name}"
            password = await self._secrets.resolve(self.config.password, what, DatabaseError)
        return Login(
            self.config.address or "127.0.0.1", self._port, self.config.user, self.config.database, password
        )

    @asynccontextmanager
    async def way(self) -> AsyncIterator[Login]:
        """How we get there: straight, or while this is open through the host."""
        login = await self.login()
        if not self.config.tunnel:
            if not self.config.address:
                raise DatabaseError(
                    f"database {self.config.name} has no address",
                    hint="say where it listens, or set `tunnel` to reach it through its host",
                )
            yield login
            return
        try:
            forward = self.host.forward(login.address, login.port)
            address, port = await forward.__aenter__()
        except HostError as error:
            raise DatabaseError(f"{login}: {error.message}", hint=error.hint) from None
        try:
            yield replace(login, address=address, port=port)
        finally:
            await forward.__aexit__(None, None, None)


def driver_options(config: DatabaseConfig, kind: type[OptionsType]) -> OptionsType:
    """The driver's options, typed; `SpecError` for one that is unknown or of another type."""
    try:
        return msgspec.convert(dict(config.options), kind)
    except msgspec.ValidationError as error:
        raise SpecError(
            f"database {config.name}: options: {error}",
            hint="docs/databases.md lists the options of each driver",
        ) from None
