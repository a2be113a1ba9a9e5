"""Paths on the conductor's side: relative to the file they are written in, with `~` and `${NAME}`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from changeover.spec.located import Text
from changeover.spec.problems import Problems

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Paths:
    """Resolves what the operator wrote; `environ` is where `${NAME}` is looked up."""

    def __init__(self, environ: Mapping[str, str], problems: Problems) -> None:
        self._environ = environ
        self._problems = problems

    def absolute(self, text: Text) -> Path:
        """The absolute path; an unset variable or an unknown `~user` is a problem, and stays as it is."""
        for name in _VARIABLE.findall(text):
            if name not in self._environ:
                self._problems.add(text.place, f"the environment variable {name} is not set")
        filled = _VARIABLE.sub(lambda match: self._environ.get(match[1], match[0]), text)
        return Path(os.path.abspath(self._home(text) / self._expanded(text, filled)))  # noqa: PTH100  # `resolve` follows links

    def shown(self, text: Text) -> str:
        """The path as messages name it: short where the operator wrote it short."""
        return str(text) if text.startswith(("~", "$")) else os.path.normpath(self._home(text) / text)

    @staticmethod
    def _home(text: Text) -> Path:
        return Path(text.place.file).parent

    def _expanded(self, text: Text, filled: str) -> Path:
        try:
            return Path(filled).expanduser()
        except RuntimeError:
            self._problems.add(text.place, "there is no such user to take the home directory of")
            return Path(filled)
