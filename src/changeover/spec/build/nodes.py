"""Nodes: which hosts they are on, what each is called in the pools."""

from collections.abc import Mapping

from pydantic import TypeAdapter

from changeover.model.site import Node
from changeover.spec import ranges
from changeover.spec.build.fleet import Fleet
from changeover.spec.located import Text
from changeover.spec.problems import Problems
from changeover.spec.sections import application as written
from changeover.spec.sections.base import Name
from changeover.spec.sections.services import Balancer, Haproxy, OtherBalancer
from changeover.spec.validation import validate

_NAME = TypeAdapter(Name)


def build_nodes(
    application: written.Application, balancers: Mapping[Text, Balancer], fleet: Fleet, problems: Problems
) -> tuple[Node, ...]:
    """The model's nodes in the order of the file; each has a server of its own in every pool."""
    sections = _sections(application, fleet, problems)
    if not sections and not problems.within(application.where("nodes")):
        problems.add(application.where("nodes"), "there is no node")
    pools = {str(name): choice.pool for name, choice in balancers.items()}
    for said in pools.values():
        _check_servers(said, sections, problems)
    nodes = []
    for name, section in sections.items():
        for pool in section.servers:
            if pool not in pools:
                problems.unknown(pool.place, f"there is no balancer {pool}", pool, pools)
        nodes.append(
            Node(
                name=str(name),
                host=str(section.host),
                servers={
                    balancer: _server(name, section, balancer, pool) for balancer, pool in pools.items()
                },
                variables={str(key): str(value) for key, value in section.variables.items()},
            )
        )
    for balancer in pools:
        _refuse_twins(balancer, nodes, sections, problems)
    return tuple(nodes)


def _sections(application: written.Application, fleet: Fleet, problems: Problems) -> dict[Text, written.Node]:
    if isinstance(application.nodes, Text | list):
        patterns = application.nodes if isinstance(application.nodes, list) else [application.nodes]
        hosts = [pattern.like(host) for pattern in patterns for host in fleet.find(pattern, problems)]
        return {host: written.Node(host=host) for host in hosts}
    found: dict[Text, written.Node] = {}
    for key, section in application.nodes.items():
        for name, node in _expanded(key, section, problems):
            if validate(_NAME, name, problems) is None:
                continue
            if name in found:
                problems.add(name.place, f"there is another node {name}")
            fleet.host(node.host, problems)
            found[name] = node
    return found


def _expanded(key: Text, section: written.Node, problems: Problems) -> list[tuple[Text, written.Node]]:
    """A range in the name runs along with those in the host, the servers' names and the variables."""
    try:
        names = ranges.expand(key)
        hosts = _along(section.host, len(names))
        server = _along(section.server, len(names)) if section.server is not None else None
        servers = {pool: _along(text, len(names)) for pool, text in section.servers.items()}
        variables = {name: _along(text, len(names), strict=False) for name, text in section.variables.items()}
    except ValueError as error:
        problems.add(key.place, str(error))
        return []
    return [
        (
            key.like(name),
            section.model_copy(
                update={
                    "host": hosts[index],
                    "server": server[index] if server else None,
                    "servers": {pool: texts[index] for pool, texts in servers.items()},
                    "variables": {variable: texts[index] for variable, texts in variables.items()},
                }
            ),
        )
        for index, name in enumerate(names)
    ]


def _along(text: Text, count: int, *, strict: bool = True) -> list[Text]:
    if not ranges.has_range(text) or (count == 1 and not strict):
        return [text] * count
    values = ranges.expand(text)
    if len(values) != count:
        raise ValueError(f"{text} stands for {len(values)} values, and there are {count} nodes")
    return [text.like(value) for value in values]


def _server(name: Text, section: written.Node, balancer: str, pool: Haproxy | OtherBalancer) -> str:
    own = section.servers.get(Text(balancer)) or section.server
    if own is not None:
        return str(own)
    if isinstance(pool.servers, dict):
        return str(pool.servers.get(name, name))
    return pool.servers.replace("{node}", name).replace("{host}", section.host)


def _check_servers(
    pool: Haproxy | OtherBalancer, sections: Mapping[Text, written.Node], problems: Problems
) -> None:
    if not isinstance(pool.servers, dict):
        rest = pool.servers.replace("{node}", "").replace("{host}", "")
        if "{" in rest or "}" in rest:
            problems.add(pool.servers.place, "unknown placeholder", expected=("{node}", "{host}"))
        return
    for node in pool.servers:
        if node not in sections:
            problems.unknown(node.place, f"there is no node {node}", node, sections)


def _refuse_twins(
    balancer: str, nodes: list[Node], sections: Mapping[Text, written.Node], problems: Problems
) -> None:
    taken: dict[str, str] = {}
    for node, name in zip(nodes, sections, strict=True):
        server = node.servers[balancer]
        if server in taken:
            what = f"{node.name} and {taken[server]} are the same server {server} of the balancer {balancer}"
            problems.add(name.place, what)
        taken[server] = node.name
