"""nftables as an access gate: on each host a table of the gate's own, and a unit of systemd that loads it at boot.

While it is closed the public ports answer with a reset, or are redirected to the port of the maintenance page, for
everybody but the host itself, the conductor and the allowlist. No other port is touched. What is there is read back
from `nft -j list table` and from the files each time, so that what somebody else flushes or changes shows.
"""

from collections.abc import Mapping

from changeover.drivers.nftables.driver import NftablesAccess
from changeover.drivers.nftables.ruleset import Gate, networks
from changeover.drivers.secrets import Secrets
from changeover.errors import SpecError
from changeover.model.site import AccessConfig, Site
from changeover.ports import Host

__all__ = ["create", "gate_of"]


def create(
    config: AccessConfig,
    *,
    site: Site,
    secrets: Secrets,  # noqa: ARG001 - every driver's factory is called alike
    hosts: Mapping[str, Host],
) -> NftablesAccess:
    """The factory behind the entry point `access.nftables`.

    Raises:
        SpecError: any options, an address that is none, or a port that SSH comes by.
    """
    if config.options:
        raise SpecError(f"access gate {config.name}: nftables takes no options")
    for host in map(site.host, config.hosts):
        if host.driver == "ssh" and host.ssh.port in (*config.ports, *map(int, config.allow), config.page):
            raise SpecError(f"access gate {config.name}: port {host.ssh.port} is SSH's on {host.name}")
    gate = gate_of(config, site.name)
    return NftablesAccess(gate, {name: site.host(name) for name in config.hosts}, hosts)


def gate_of(config: AccessConfig, site: str) -> Gate:
    """The gate as each of its hosts has it, without the conductor's own address; `SpecError` for an address that is none."""
    try:
        allowed = {int(port): networks(addresses) for port, addresses in config.allow.items()}
    except ValueError as error:
        raise SpecError(f"access gate {config.name}: {error}") from None
    return Gate(
        site=site,
        name=config.name,
        public=config.ports,
        closed=tuple(sorted({*config.ports, *map(int, config.allow)})),
        allowed=allowed,
        page=config.page,
        cut=config.established == "cut",
    )
