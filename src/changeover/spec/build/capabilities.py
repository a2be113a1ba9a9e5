"""Capabilities: the pack's bindings with the operator's over them, and whether they can be worked with."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from changeover.model import site
from changeover.model.site import Node
from changeover.model.templates import PLACEHOLDER
from changeover.model.values import Secret
from changeover.spec.build.fleet import Fleet
from changeover.spec.build.hosts import secret
from changeover.spec.located import Text
from changeover.spec.paths import Paths
from changeover.spec.problems import Problems, nearest
from changeover.spec.sections import bindings as written
from changeover.spec.sections.application import Application
from changeover.spec.sections.base import SecretRef
from changeover.spec.vocabulary import GIVEN, PLACEHOLDERS

_STATUS = re.compile(r"\d{1,3}", re.ASCII)


class Bindings:
    """Turns written bindings into the model's, and notes references to what is not there."""

    def __init__(self, fleet: Fleet, databases: Sequence[str], paths: Paths, problems: Problems) -> None:
        self._fleet = fleet
        self._databases = databases
        self._paths = paths
        self._problems = problems

    def build(self, binding: written.Binding) -> site.Binding:
        """The model's binding."""
        match binding:
            case written.Shell():
                return self._shell(binding)
            case written.Http():
                return self._http(binding)
            case written.Sql():
                return site.Sql(database=self._database(binding), statement=str(binding.sql))
            case written.File():
                return site.File(
                    path=str(binding.file),
                    content=None if binding.content is None else str(binding.content),
                    link=None if binding.link is None else str(binding.link),
                    mode=int(binding.mode.removeprefix("0o"), 8) if binding.mode else 0o644,
                    become=binding.become,
                    match=str(binding.match or ""),
                )
            case written.Unit():
                return site.Unit(unit=str(binding.systemd), become=binding.become)
            case _:
                assert_never(binding)

    def _shell(self, binding: written.Shell) -> site.Shell:
        if binding.on is not None:
            self._fleet.host(binding.on, self._problems)
        for status in binding.answers:
            if not _STATUS.fullmatch(status):
                self._problems.add(status.place, "expected an exit status, 0 to 255")
        return site.Shell(
            command=str(binding.shell),
            become=binding.become,
            on=str(binding.on or ""),
            env=self._values(binding.env),
            expect=binding.expect,
            answers={str(status): str(value) for status, value in binding.answers.items()},
            match=str(binding.match or ""),
        )

    def _http(self, binding: written.Http) -> site.Http:
        return site.Http(
            url=str(binding.http),
            method=binding.method,
            headers=self._values(binding.headers),
            body=str(binding.body or ""),
            expect=binding.expect,
            json=str(binding.json_path or ""),
            match=str(binding.match or ""),
            via=binding.via,
            timeout=binding.timeout,
            verify_tls=binding.verify_tls,
        )

    def _values(self, values: Mapping[Text, Text | SecretRef]) -> dict[str, str | Secret]:
        return {
            str(name): str(value) if isinstance(value, Text) else secret(value, self._paths) or ""
            for name, value in values.items()
        }

    def _database(self, binding: written.Sql) -> str:
        named = binding.database
        if named is None and len(self._databases) == 1:
            return self._databases[0]
        if named is None:
            self._problems.add(binding.place, "which database? give database", expected=self._databases)
        elif named not in self._databases:
            self._problems.unknown(named.place, f"there is no database {named}", named, self._databases)
        return str(named or "")


def check_placeholders(
    capabilities: Mapping[Text, written.Binding],
    application: Application,
    nodes: Sequence[Node],
    release: Mapping[Text, Text],
    problems: Problems,
) -> None:
    """See that every node has a value for what the templates ask."""
    everywhere = PLACEHOLDERS | {*map(str, application.variables), *map(str, release)}
    asked: dict[str, list[str]] = {}
    for capability, binding in capabilities.items():
        names = {name for text in _templates(binding) for name in PLACEHOLDER.findall(text)}
        for name in names - GIVEN.get(str(capability), frozenset()):
            asked.setdefault(name, []).append(str(capability))
    for name, by in asked.items():
        lacking = [node.name for node in nodes if name not in everywhere and name not in node.variables]
        if lacking:
            what = f"{', '.join(by)} asks for {{{name}}}, which has no value for {lacking[0]}"
            at = application.where("variables").under(name)
            problems.add(at, what, nearest=nearest(name, everywhere))


def _templates(binding: written.Binding) -> Iterator[Text]:
    match binding:
        case written.Shell():
            yield from (binding.shell, *(value for value in binding.env.values() if isinstance(value, Text)))
        case written.Http():
            yield from (
                binding.http,
                *(value for value in binding.headers.values() if isinstance(value, Text)),
            )
            if binding.body is not None:
                yield binding.body
        case written.Sql():
            yield binding.sql
        case written.File():
            yield from (text for text in (binding.file, binding.content, binding.link) if text is not None)
        case written.Unit():
            yield binding.systemd
