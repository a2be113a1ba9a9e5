"""Access gates, held against the hosts: no gate locks out its own conductor, or is tried from within."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from changeover.model.site import AccessConfig, HostConfig
from changeover.spec.build.fleet import Fleet
from changeover.spec.located import Text
from changeover.spec.problems import Problems
from changeover.spec.sections import access as written


def build_access(
    gates: Mapping[Text, written.Access], fleet: Fleet, hosts: tuple[HostConfig, ...], problems: Problems
) -> tuple[AccessConfig, ...]:
    """The model's access gates."""
    known = {host.name: host for host in hosts}
    built = []
    for name, choice in gates.items():
        if choice.nftables:
            built.append(_gate(str(name), "nftables", choice.nftables, fleet, known, problems=problems))
        for driver, other in choice.others.items():
            built.append(_gate(str(name), str(driver), other, fleet, known, problems=problems))
    return tuple(built)


def _gate(
    name: str,
    driver: str,
    section: written.Gate,
    fleet: Fleet,
    known: Mapping[str, HostConfig],
    *,
    problems: Problems,
) -> AccessConfig:
    hosts = _hosts(section.hosts, fleet, problems)
    outside = _hosts(section.outside, fleet, problems)
    allow = {str(port): tuple(map(str, networks)) for port, networks in section.allow.items()}
    _refuse_ssh(section, [known[host] for host in hosts], problems)
    for host in outside:
        _refuse_insider(section, known[host], hosts, allow, problems)
    if section.page is not None and (section.page in section.ports or section.page in section.allow):
        problems.add(
            section.where("page"), f"the gate closes port {section.page}: the page is on a port of its own"
        )
    return AccessConfig(
        name=name,
        driver=driver,
        hosts=hosts,
        ports=tuple(dict.fromkeys(section.ports)),
        allow=allow,
        page=section.page or 0,
        established=str(section.established),
        outside=outside,
        options=section.options if isinstance(section, written.OtherGate) else {},
    )


def _hosts(patterns: list[Text], fleet: Fleet, problems: Problems) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(host) for pattern in patterns for host in fleet.find(pattern, problems)))


def _refuse_ssh(section: written.Gate, hosts: list[HostConfig], problems: Problems) -> None:
    """Closing the port that the conductor comes by would be the last thing it does."""
    taken = {host.ssh.port: host.name for host in reversed(hosts) if host.driver == "ssh"}
    closed: dict[str, list[int | None]] = {
        "ports": [*section.ports],
        "allow": [*section.allow],
        "page": [section.page],
    }
    for key, ports in closed.items():
        for port in ports:
            if port in taken:
                what = f"port {port} is SSH's on {taken[port]}: no gate touches it"
                problems.add(section.where(key), what)


def _refuse_insider(
    section: written.Gate,
    host: HostConfig,
    gated: tuple[str, ...],
    allow: Mapping[str, tuple[str, ...]],
    problems: Problems,
) -> None:
    """What is let in while the gate is closed cannot tell what the public sees."""
    place = section.where("outside")
    if host.name in gated:
        problems.add(place, f"{host.name} is one of the gate's own hosts: it is not outside")
    elif host.driver == "local":
        problems.add(place, f"{host.name} is the conductor's own machine: it is always let in")
    elif written.is_address(host.address):
        for port in map(str, section.ports):
            for network in allow.get(port, ()):
                if ip_address(host.address) in ip_network(network):
                    problems.add(place, f"{host.name} is let in by allow, port {port}: it is not outside")
