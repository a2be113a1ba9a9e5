"""Ansible inventories as a source of hosts and groups: INI and YAML, group_vars and host_vars.

What takes Ansible itself to work out (inventory scripts and plugins, templates, vaults) is a problem that
says so; `ansible-inventory --list --yaml` turns any inventory into one that can be read here.
"""

from pathlib import Path

from changeover.spec.inventory.groups import Inventory, Variables
from changeover.spec.inventory.ini import read_ini
from changeover.spec.inventory.yaml import TAGS, as_variables, read_tree
from changeover.spec.located import Map, Text
from changeover.spec.paths import Paths
from changeover.spec.problems import Place, Problems
from changeover.spec.reading import read_text, read_yaml

__all__ = ["Inventory", "read_inventory"]

_STATIC = "write it out with `ansible-inventory -i … --list --yaml` and name that file"
_YAML_SUFFIXES = (".yaml", ".yml", ".json")


def read_inventory(named: Text, paths: Paths, problems: Problems) -> Inventory | None:
    """The inventory in a file, with the variables in `group_vars` and `host_vars` beside it."""
    path, shown = paths.absolute(named), paths.shown(named)
    before = len(problems)
    text = read_text(path, shown, problems, named_at=named.place)
    inventory = _read(text, path, shown, problems) if text is not None else None
    if inventory is None or not inventory.check(problems):
        return None
    try:
        _read_beside(path.parent, Path(shown).parent, inventory, problems)
    except OSError as error:
        problems.add(
            named.place, f"cannot read the variables beside {shown}: {(error.strerror or '').lower()}"
        )
    return inventory if len(problems) == before else None


def _read(text: str, path: Path, shown: str, problems: Problems) -> Inventory | None:
    start = Place(shown)
    if text.startswith("#!"):
        problems.add(start, f"inventory scripts are not run; {_STATIC}")
        return None
    if text.startswith("$ANSIBLE_VAULT"):
        problems.add(start, f"vaults are not opened; {_STATIC}")
        return None
    if path.suffix not in _YAML_SUFFIXES and not text.lstrip().startswith(("---", "all:")):
        return read_ini(text, shown, problems)
    root = read_yaml(text, shown, problems, tags=TAGS)
    if isinstance(root, Map) and "plugin" in root:
        problems.add(root.key("plugin").place, f"inventory plugins are not run; {_STATIC}")
        return None
    return read_tree(root, problems) if root is not None else None


def _read_beside(directory: Path, shown: Path, inventory: Inventory, problems: Problems) -> None:
    """Ansible gives variables beside the inventory precedence over those in it."""
    for name, group in inventory.groups.items():
        for file in _variable_files(directory / "group_vars", name):
            group.variables |= _variables(file, shown / file.relative_to(directory), problems)
    for name in inventory.hosts:
        for file in _variable_files(directory / "host_vars", name):
            inventory.variables[name].update(_variables(file, shown / file.relative_to(directory), problems))


def _variable_files(directory: Path, name: str) -> list[Path]:
    if not directory.is_dir() or "/" in name:
        return []
    found = [directory / f"{name}{suffix}" for suffix in ("", *_YAML_SUFFIXES)]
    inside = sorted(file for file in found[0].rglob("*") if file.is_file()) if found[0].is_dir() else []
    return inside + [file for file in found if file.is_file()]


def _variables(path: Path, shown: Path, problems: Problems) -> Variables:
    text = read_text(path, str(shown), problems)
    if text is None:
        return {}
    if text.startswith("$ANSIBLE_VAULT"):
        problems.add(Place(str(shown)), f"vaults are not opened; {_STATIC}")
        return {}
    root = read_yaml(text, str(shown), problems, tags=TAGS)
    return as_variables(root, problems) if root is not None else {}
