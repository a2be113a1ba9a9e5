"""`{name}` in what the operator writes stands for a value of the node; everything else, `${NAME}` too, stays as it is."""

import re
from collections.abc import Mapping

from changeover.errors import SpecError
from changeover.model.release import Release
from changeover.model.site import Node, Site

PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")

OF_A_NODE = ("node", "host", "address")
"""What every node has besides the variables."""


def values_of(node: Node, site: Site, release: Release) -> dict[str, str]:
    """The variables of the application, of the release and of the node, and what the node is."""
    return {
        **site.application.variables,
        **release.variables,
        **node.variables,
        "node": node.name,
        "host": node.host,
        "address": site.host(node.host).address,
    }


def filled(text: str, values: Mapping[str, str]) -> str:
    """Every value in its place; `SpecError` for a name without one."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise SpecError(
                f"{found[0]} in {text!r} has no value; there are {', '.join(sorted(values))}",
                hint="give it under application.variables",
            )
        return values[found[1]]

    return PLACEHOLDER.sub(value, text)
