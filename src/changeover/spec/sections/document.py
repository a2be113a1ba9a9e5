"""The whole file."""

from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, WithJsonSchema
from pydantic_core import PydanticCustomError

from changeover.spec.located import Map, Text
from changeover.spec.problems import Problems
from changeover.spec.sections.access import Gates
from changeover.spec.sections.application import Application
from changeover.spec.sections.base import Name, OneOrMany, Section
from changeover.spec.sections.hosts import Become, Groups, Hosts, Ssh
from changeover.spec.sections.notices import Notices
from changeover.spec.sections.services import Balancers, Databases
from changeover.spec.sections.upgrade import Upgrade
from changeover.spec.validation import validate


def _mapping(value: object) -> Map:
    if not isinstance(value, Map):
        raise PydanticCustomError("section", "expected a mapping")
    return value


Opaque = Annotated[Any, BeforeValidator(_mapping), WithJsonSchema({"type": "object"})]
"""A section that another part of Changeover reads."""

REQUIRED = ("site", "hosts", "application", "upgrade")


class Document(Section):
    """What changeover upgrades, and how."""

    # A section that holds mistakes is None.

    include: Annotated[list[Text], OneOrMany()] | None = None
    site: Name | None = None
    hosts: Hosts | None = None
    groups: Groups | None = None
    ssh: Ssh | None = None
    become: Become | None = None
    application: Application | None = None
    balancers: Balancers | None = None
    databases: Databases | None = None
    access: Gates | None = None
    upgrade: Upgrade | None = None
    notify: Notices | None = None
    journal: Text | None = None
    probe: Opaque | None = None

    def sound(self, *names: str) -> bool:
        """Whether each of these sections is there without a mistake, or was never written."""
        return all(
            getattr(self, name) is not None or not (self.given(name) or name in REQUIRED) for name in names
        )


_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(field.rebuild_annotation()) for name, field in Document.model_fields.items()
}


def read_document(root: Map, problems: Problems) -> Document:
    """Section by section, so that what is wrong with one does not hide what is wrong with the next."""
    found: dict[str, Any] = {}
    for key, value in root.items():
        if key not in _ADAPTERS:
            problems.unknown(key.place, "unknown key", key, _ADAPTERS)
            continue
        before = len(problems)
        section = validate(_ADAPTERS[key], value, problems)
        found[str(key)] = section if len(problems) == before else None
    for name in REQUIRED:
        if name not in found:
            problems.add(root.place.under(name), "this key is required, and missing")
    document = Document.model_construct(None, **found)
    document._map = root  # noqa: SLF001  # of the same family
    return document
