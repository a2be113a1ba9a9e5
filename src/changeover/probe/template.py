"""Placeholders in the requests of a profile: `{name}`, in strings only, put in as they are or quoted for a path."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

Variables = Mapping[str, str | list[str]]

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def names(value: object) -> set[str]:
    """The placeholders in a string, or in the strings inside a list or mapping."""
    match value:
        case str():
            return set(_PLACEHOLDER.findall(value))
        case Mapping():
            return {name for inner in value.values() for name in names(inner)}
        case list() | tuple():
            return {name for inner in value for name in names(inner)}
        case _:
            return set()


def text(template: str, variables: Variables) -> str:
    """The template with every placeholder replaced, a list by its items and commas; `KeyError` for an unknown name.

    What was put in is not looked at again, so a value that contains braces is harmless.
    """
    return _fill(template, lambda name: _flat(variables[name]))


def path(template: str, variables: Variables) -> str:
    """Like `text`, with each value percent-encoded whole: a value never adds a segment or a parameter."""
    return _fill(template, lambda name: quote(_flat(variables[name]), safe=""))


def tree(value: object, variables: Variables) -> object:
    """Like `text` for every string inside lists and mappings; keys and other values stay as they are.

    A string that is one placeholder and nothing else becomes its value, which may be a list.
    """
    match value:
        case str() if whole := _PLACEHOLDER.fullmatch(value):
            return variables[whole[1]]
        case str():
            return text(value, variables)
        case Mapping():
            return {key: tree(inner, variables) for key, inner in value.items()}
        case list() | tuple():
            return [tree(inner, variables) for inner in value]
        case _:
            return value


def _flat(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ",".join(value)


def _fill(template: str, value: Callable[[str], str]) -> str:
    return _PLACEHOLDER.sub(lambda match: value(match[1]), template)
