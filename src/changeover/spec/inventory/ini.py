"""Ansible's INI inventories, as described in Ansible's documentation of its `ini` inventory plugin."""

import re
import shlex

from changeover.spec import ranges
from changeover.spec.inventory.groups import Inventory, Variables
from changeover.spec.located import Text
from changeover.spec.problems import Place, Problems

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?")
_PORT = re.compile(r"((?:[^\[\]:]|\[[^\]]*\])+):(\d{1,5})")
_KINDS = ("children", "vars")


def read_ini(text: str, file: str, problems: Problems) -> Inventory:
    """The inventory; lines that cannot be read are problems and left out."""
    inventory = Inventory()
    group, kind = "ungrouped", ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        place = Place(file, number, len(raw) - len(raw.lstrip()) + 1)
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            found = _SECTION.fullmatch(line)
            if not found or (found[2] and found[2] not in _KINDS):
                problems.add(place, "expected [group], [group:children] or [group:vars]")
                group, kind = "ungrouped", "unknown"
                continue
            group, kind = found[1], found[2] or ""
            inventory.group(group)
        elif kind == "children":
            name = line.split()[0]
            inventory.group(group).children[name] = Text(name, place)
        elif kind == "vars":
            _variable(line, place, inventory.group(group).variables, problems)
        elif not kind:
            _hosts(line, place, group, inventory, problems)
    return inventory


def _variable(line: str, place: Place, variables: Variables, problems: Problems) -> None:
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not name:
        problems.add(place, "expected name=value")
        return
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    variables[name] = Text(value, place.under(name))


def _hosts(line: str, place: Place, group: str, inventory: Inventory, problems: Problems) -> None:
    try:
        pattern, *words = shlex.split(line, comments=True)
        port = _PORT.fullmatch(pattern)
        names = ranges.expand(port[1] if port else pattern)
    except ValueError as error:
        problems.add(place, f"this line cannot be read: {str(error).lower()}")
        return
    variables: Variables = {}
    if port:
        variables["ansible_port"] = Text(port[2], place)
    for word in words:
        _variable(word, place, variables, problems)
    for name in names:
        inventory.add_host(group, Text(name, place), variables)
