# ruff: noqa: RUF012  # pydantic copies defaults
"""The application: its nodes and its capabilities."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from changeover.spec.located import Text
from changeover.spec.sections.base import (
    AS_LIST,
    AS_MAP,
    AS_TEXT,
    FORM,
    Identifier,
    Name,
    Section,
    Variables,
)
from changeover.spec.sections.bindings import Binding
from changeover.spec.vocabulary import CAPABILITIES, near_miss


class Node(Section):
    """One node, or as many as its name's range stands for."""

    SHORT: ClassVar[str] = "host"

    host: Text
    server: Text | None = None
    servers: dict[Name, Text] = {}
    variables: Variables = {}


def _capability(name: Text) -> Text:
    if name in CAPABILITIES:
        return name
    for known in (*CAPABILITIES, "name", "pack", "nodes", "variables", "head"):
        if near_miss(name, known):
            raise PydanticCustomError("capability", "unknown key; did you mean '{known}'?", {"known": known})
    return name


Capability = Annotated[Identifier, AfterValidator(_capability)]
Capabilities = dict[Capability, Binding]


Nodes = Annotated[
    Annotated[Text, AS_TEXT] | Annotated[list[Text], AS_LIST] | Annotated[dict[Text, Node], AS_MAP], FORM
]


class Application(Section):
    """What is upgraded. Every key that is none of these fields is a capability."""

    REST: ClassVar[str] = "capabilities"

    name: Name | None = None
    pack: Text | None = None
    nodes: Nodes
    variables: Variables = {}
    head: Text | None = None
    capabilities: Capabilities = {}
