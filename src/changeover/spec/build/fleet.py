"""The hosts of the site and the names for groups of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pydantic import TypeAdapter

from changeover.spec import ranges
from changeover.spec.inventory import Inventory, read_inventory
from changeover.spec.inventory.variables import as_host
from changeover.spec.located import Text
from changeover.spec.paths import Paths
from changeover.spec.problems import Problems
from changeover.spec.sections import hosts as written
from changeover.spec.sections.base import Address, Name
from changeover.spec.sections.document import Document
from changeover.spec.validation import validate

_NAME, _ADDRESS = TypeAdapter(Name), TypeAdapter(Address)
_HOST: TypeAdapter[written.Host] = TypeAdapter(written.Host)


@dataclass
class Fleet:
    """Hosts and groups by name, with the spots where they were named."""

    hosts: dict[str, written.Host] = field(default_factory=dict)
    names: dict[str, Text] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, pattern: Text, problems: Problems) -> list[str]:
        """The hosts that a name, a range, a group or a `*` pattern stands for; none is a problem."""
        try:
            names = ranges.expand(pattern)
        except ValueError as error:
            problems.add(pattern.place, str(error))
            return []
        matching = {name: self._matching(name) for name in names}
        found = [host for hosts in matching.values() for host in hosts]
        missing = [name for name, hosts in matching.items() if not hosts]
        if missing:
            what = f"there is no host or group {missing[0]}"
            problems.unknown(pattern.place, what, missing[0], [*self.hosts, *self.groups])
        return list(dict.fromkeys(found))

    def host(self, name: Text, problems: Problems) -> str:
        """The host of that name; none is a problem."""
        if name not in self.hosts:
            problems.unknown(name.place, f"there is no host {name}", name, self.hosts)
        return str(name)

    def _matching(self, name: str) -> Iterable[str]:
        if name in self.hosts:
            return (name,)
        if name in self.groups:
            return self.groups[name]
        return [host for host in self.hosts if fnmatchcase(host, name)] if "*" in name else ()


def read_fleet(document: Document, paths: Paths, problems: Problems) -> Fleet:
    """Every host that is written in the file or found in the inventories it names."""
    fleet, section, before = Fleet(), document.hosts, len(problems)
    assert section is not None
    for key, host in section.named.items():
        _add_range(key, host, fleet, problems)
    if section.ansible:
        given = _given_secrets(document)
        for path in section.ansible.inventory:
            inventory = read_inventory(path, paths, problems)
            if inventory:
                _add_inventory(inventory, section.ansible, given, fleet, problems)
    if not fleet.hosts and len(problems) == before:
        problems.add(section.place, "there is no host")
    if len(problems) > before:
        return fleet
    for name, group in (document.groups or {}).items():
        if name in fleet.hosts or name in fleet.groups:
            problems.add(name.place, "a host or group already has this name")
            continue
        members = [host for pattern in group.hosts for host in fleet.find(pattern, problems)]
        fleet.groups[str(name)] = tuple(dict.fromkeys(members))
    return fleet


def _given_secrets(document: Document) -> frozenset[str]:
    sections = [
        section for group in (document.groups or {}).values() for section in (group.ssh, group.become)
    ]
    named = {"password": "ssh", "passphrase": "ssh"}
    given = {
        f"{prefix}.{key}"
        for section in (document.ssh, *sections)
        if isinstance(section, written.Ssh)
        for key, prefix in named.items()
        if section.given(key)
    }
    becomes = [section for section in (document.become, *sections) if isinstance(section, written.Become)]
    return frozenset(given | ({"become.password"} if any(become.password for become in becomes) else set()))


def _add_range(key: Text, host: written.Host, fleet: Fleet, problems: Problems) -> None:
    try:
        names, addresses = ranges.expand(key), ranges.expand(host.address)
    except ValueError as error:
        problems.add(key.place, str(error))
        return
    if len(names) != len(addresses):
        what = f"{key} stands for {len(names)} hosts, {host.address} for {len(addresses)} addresses"
        problems.add(host.address.place, what)
        return
    for name, address in zip(names, addresses, strict=True):
        _add(key.like(name), host.model_copy(update={"address": host.address.like(address)}), fleet, problems)


def _add(name: Text, host: written.Host, fleet: Fleet, problems: Problems) -> None:
    if validate(_NAME, name, problems) is None or validate(_ADDRESS, host.address, problems) is None:
        return
    if name in fleet.hosts:
        there = fleet.names[name].place
        problems.add(name.place, f"the host {name} is also in {there.file}:{there.line}")
        return
    fleet.hosts[str(name)] = host
    fleet.names[str(name)] = name


def _add_inventory(
    inventory: Inventory, wanted: written.Ansible, given: frozenset[str], fleet: Fleet, problems: Problems
) -> None:
    members = {group: inventory.members(group) for group in inventory.groups}
    chosen = set(inventory.hosts)
    if wanted.groups is not None:
        for group in wanted.groups:
            if group not in members:
                problems.unknown(group.place, f"there is no group {group} in the inventory", group, members)
        chosen = {host for group in wanted.groups for host in members.get(group, {})}
    if wanted.limit is not None:
        chosen &= _limited(wanted.limit, members, problems)
    variables = inventory.resolved()
    for text in inventory.hosts.values():
        if text in chosen:
            host = validate(_HOST, as_host(text, variables[text], given, problems), problems)
            if host is not None:
                _add(text, host, fleet, problems)
    for named, hosts in members.items():
        inside = tuple(host for host in hosts if host in chosen)
        if inside and named not in fleet.hosts:
            fleet.groups[named] = tuple(dict.fromkeys((*fleet.groups.get(named, ()), *inside)))


def _limited(limit: Text, members: Mapping[str, Mapping[str, Text]], problems: Problems) -> set[str]:
    """Ansible's `--limit`, as far as names, groups, ranges and `*` go, separated by commas."""
    found: set[str] = set()
    for word in limit.split(","):
        try:
            names = ranges.expand(word.strip())
        except ValueError as error:
            problems.add(limit.place, str(error))
            continue
        for name in names:
            hosts = members.get(name) or {host for host in members["all"] if fnmatchcase(host, name)}
            if not hosts:
                problems.unknown(limit.place, f"{name} limits to no host", name, [*members["all"], *members])
            found.update(hosts)
    return found
