"""What an Ansible inventory says: hosts, groups of them, groups of groups, and variables at each."""

from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from changeover.spec.located import Located, Text
from changeover.spec.problems import Problems

Variables = dict[str, Located]
ALL = "all"


@dataclass
class Group:
    """One group, with what stands directly in it."""

    hosts: dict[str, Text] = field(default_factory=dict)
    children: dict[str, Text] = field(default_factory=dict)
    variables: Variables = field(default_factory=dict)


@dataclass
class Inventory:
    """The groups by name, and each host's own variables."""

    groups: dict[str, Group] = field(default_factory=lambda: {ALL: Group()})
    hosts: dict[str, Text] = field(default_factory=dict)
    variables: dict[str, Variables] = field(default_factory=dict)

    def group(self, name: str) -> Group:
        """The group of that name, made if it is new."""
        return self.groups.setdefault(str(name), Group())

    def add_host(self, group: str, name: Text, variables: dict[str, Any]) -> None:
        """Put a host into a group; what is said of it in several places adds up."""
        self.group(group).hosts[str(name)] = name
        self.hosts.setdefault(str(name), name)
        self.variables.setdefault(str(name), {}).update(variables)

    def check(self, problems: Problems) -> bool:
        """Whether every child is a group that is there, and none contains itself."""
        before = len(problems)
        for group in self.groups.values():
            for name, text in group.children.items():
                if name not in self.groups:
                    problems.unknown(
                        text.place, "there is no such group in this inventory", name, self.groups
                    )
        try:
            self._outer_first()
        except CycleError as error:
            circle = error.args[1]
            text = next(text for name, text in self.groups[circle[1]].children.items() if name == circle[0])
            problems.add(text.place, f"these groups contain one another: {' → '.join(reversed(circle))}")
        return len(problems) == before

    def members(self, name: str) -> dict[str, Text]:
        """Every host in a group or in the groups inside it; only after `check`."""
        if name == ALL:
            return dict(self.hosts)
        found: dict[str, Text] = {}
        todo, seen = [name], {name}
        while todo:
            group = self.groups[todo.pop()]
            found |= group.hosts
            todo += [child for child in group.children if child not in seen]
            seen |= set(group.children)
        return found

    def resolved(self) -> dict[str, Variables]:
        """Each host's variables: the nearest wins, as with Ansible (all, outer groups, inner groups, the host)."""
        depths = dict[str, int]()
        for name in self._outer_first():
            outer = [
                depths[other]
                for other, group in self.groups.items()
                if name in group.children and other in depths
            ]
            depths[name] = max(outer, default=-1 if name == ALL else 0) + 1
        found: dict[str, Variables] = {host: {} for host in self.hosts}
        for name in sorted(self.groups, key=lambda group: (depths[group], group)):
            for host in self.members(name):
                found[host] |= self.groups[name].variables
        return {host: variables | self.variables.get(host, {}) for host, variables in found.items()}

    def _outer_first(self) -> list[str]:
        graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(self.groups, ()))
        for name, group in self.groups.items():
            for child in group.children:
                graph.add(child, name)
        return list(graph.static_order())
