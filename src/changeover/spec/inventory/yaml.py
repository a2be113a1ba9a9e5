"""Ansible's YAML inventories: `hosts`, `children` and `vars`, group within group."""

from changeover.spec import ranges
from changeover.spec.inventory.groups import ALL, Inventory, Variables
from changeover.spec.located import Located, Map, Text
from changeover.spec.problems import Problems

TAGS = frozenset({"!vault", "!unsafe"})
_PARTS = ("hosts", "children", "vars")


def read_tree(root: Located, problems: Problems) -> Inventory:
    """The inventory; parts of another form are problems and left out."""
    inventory = Inventory()
    for name, group in _mapping(root, problems).items():
        _group(name, group, inventory, problems)
        if name != ALL:
            inventory.group(ALL).children[str(name)] = name
    return inventory


def as_variables(value: Located, problems: Problems) -> Variables:
    """A mapping of variables."""
    return {str(key): item for key, item in _mapping(value, problems).items()}


def _mapping(value: Located | None, problems: Problems) -> Map:
    """What is empty counts as an empty mapping, as with Ansible."""
    if isinstance(value, Map):
        return value
    if value is not None and not (isinstance(value, Text) and value.null):
        problems.add(value.place, "expected a mapping")
    return Map(value.place) if value is not None else Map(Text().place)


def _group(name: Text, value: Located, inventory: Inventory, problems: Problems) -> None:
    parts = _mapping(value, problems)
    for key in parts:
        if key not in _PARTS:
            problems.unknown(key.place, "unknown key", key, _PARTS)
    group = inventory.group(name)
    group.variables |= as_variables(parts.get(Text("vars"), Map(name.place)), problems)
    for pattern, variables in _mapping(parts.get(Text("hosts")), problems).items():
        try:
            names = ranges.expand(pattern)
        except ValueError as error:
            problems.add(pattern.place, str(error))
            continue
        for host in names:
            inventory.add_host(name, pattern.like(host), dict(as_variables(variables, problems)))
    for child, inner in _mapping(parts.get(Text("children")), problems).items():
        group.children[str(child)] = child
        _group(child, inner, inventory, problems)
