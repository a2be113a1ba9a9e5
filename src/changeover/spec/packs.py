"""Packs: named sets of bindings, shipped ones by name, an operator's own by path."""

from importlib import resources
from pathlib import Path

from pydantic import TypeAdapter

from changeover.spec.located import Map, Text
from changeover.spec.paths import Paths
from changeover.spec.problems import Place, Problems
from changeover.spec.reading import read_text, read_yaml
from changeover.spec.sections.application import Capabilities
from changeover.spec.sections.bindings import Binding
from changeover.spec.validation import validate

_ADAPTER: TypeAdapter[dict[Text, Binding]] = TypeAdapter(Capabilities)
_DIRECTORY = Path(str(resources.files("changeover.packs")))


def shipped() -> tuple[str, ...]:
    """The names of the packs that come with Changeover."""
    return tuple(sorted(path.stem for path in _DIRECTORY.glob("*.yaml")))


def read_pack(named: Text, paths: Paths, problems: Problems) -> dict[Text, Binding] | None:
    """The bindings of a pack, or None if it cannot be read: a shipped one, or a file if the name has a slash or ends in .yaml."""
    if "/" in named or named.endswith((".yaml", ".yml")):
        path, shown = paths.absolute(named), paths.shown(named)
    elif named in shipped():
        path, shown = _DIRECTORY / f"{named}.yaml", f"pack {named}"
    else:
        problems.unknown(named.place, "there is no such pack", named, shipped())
        return None
    text = read_text(path, shown, problems, named_at=named.place)
    root = read_yaml(text, shown, problems) if text is not None else None
    if root is None:
        return None
    if not isinstance(root, Map):
        problems.add(Place(shown), "expected a mapping of capabilities to bindings")
        return None
    found: dict[Text, Binding] | None = validate(_ADAPTER, root, problems)
    return found
