"""The operator's file and its includes, merged into one mapping."""

from pathlib import Path

from changeover.spec.located import Located, Map, Seq, Text
from changeover.spec.paths import Paths
from changeover.spec.problems import Place, Problems
from changeover.spec.reading import read_text, read_yaml

INCLUDE = Text("include")


def read_files(path: Path, paths: Paths, problems: Problems) -> Map | None:
    """What the file and its includes say together, or None if the file itself cannot be read."""
    return _Files(paths, problems).read(path, str(path), None)


class _Files:
    def __init__(self, paths: Paths, problems: Problems) -> None:
        self._paths = paths
        self._problems = problems
        self._open: list[Path] = []
        self._done: set[Path] = set()

    def read(self, path: Path, shown: str, named_at: Place | None) -> Map | None:
        root = self._root(path, shown, named_at)
        if root is None:
            return None
        self._open.append(path.absolute())
        for included in self._includes(root):
            self._merge_file(root, included)
        self._done.add(self._open.pop())
        return root

    def _root(self, path: Path, shown: str, named_at: Place | None) -> Map | None:
        text = read_text(path, shown, self._problems, named_at=named_at)
        if text is None:
            return None
        root = read_yaml(text, shown, self._problems)
        if isinstance(root, Map):
            return root
        if isinstance(root, Text) and root.null:
            self._problems.add(Place(shown), "the file is empty")
        elif root is not None:
            self._problems.add(root.place, "expected a mapping: `key: value` lines")
        return None

    def _includes(self, root: Map) -> list[Text]:
        value = root.get(INCLUDE)
        items = value if isinstance(value, Seq) else [] if value is None else [value]
        return [
            item for item in items if isinstance(item, Text) and not item.null
        ]  # the schema reports the others

    def _merge_file(self, root: Map, named: Text) -> None:
        path = self._paths.absolute(named)
        if path in self._open:
            chain = " → ".join(opened.name for opened in [*self._open[self._open.index(path) :], path])
            self._problems.add(named.place, f"these files include one another: {chain}")
        elif path not in self._done:
            included = self.read(path, self._paths.shown(named), named.place)
            if included is not None:
                self._merge(root, included)

    def _merge(self, root: Map, other: Map) -> None:
        for key, value in other.items():
            if key == INCLUDE and not root.place.path:
                continue
            if key not in root:
                root[key] = value
            elif isinstance(value, Map) and isinstance(there := root[key], Map):
                self._merge(there, value)
            else:
                self._problems.add(key.place, f"also given in {_where(root[key])}")


def _where(value: Located) -> str:
    return f"{value.place.file}:{value.place.line}"
