# ruff: noqa: RUF012  # pydantic copies defaults
"""Bindings: how a product performs a capability. The same in the operator's file and in packs."""

import re
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, GetJsonSchemaHandler, Tag
from pydantic_core import CoreSchema, PydanticCustomError

from changeover.spec.located import Map, Text
from changeover.spec.sections.base import (
    AS_MAP,
    AS_TEXT,
    FORM,
    Duration,
    Identifier,
    OneOrMany,
    SecretRef,
    Section,
    checked,
    no_secret,
)

_MODE = re.compile(r"(?:0o?)?[0-7]{3,4}", re.ASCII)


def _pattern(text: str) -> None:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"expected a regular expression: {error}") from error


def _web(text: str) -> None:
    if not re.match(r"https?://|\{", text):
        raise ValueError("expected a URL that begins with http:// or https://")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ValueError(f"expected a URL: {error}") from error
    if "@" in parts.netloc:
        raise ValueError(
            "a URL must not hold credentials; send a header {Authorization: {env: NAME}} instead"
        )


def _mode(text: str) -> None:
    if not _MODE.fullmatch(text):
        raise ValueError("expected an octal mode such as 0644")


_regex, _url, _octal = (
    checked(_pattern, {"type": "string"}),
    checked(_web, {"type": "string"}),
    checked(_mode, {"type": ["string", "integer"]}),
)
Pattern = Annotated[Text, _regex[0], _regex[1]]
Url = Annotated[Text, _url[0], _url[1]]
Mode = Annotated[Text, _octal[0], _octal[1]]

ExitStatus = Annotated[int, Field(ge=0, le=255)]
ExitStatuses = Annotated[tuple[ExitStatus, ...], OneOrMany()]
HttpStatus = Annotated[int, Field(ge=100, le=599)]
HttpStatuses = Annotated[tuple[HttpStatus, ...], OneOrMany()]
TextOrSecret = Annotated[Annotated[Text, AS_TEXT] | Annotated[SecretRef, AS_MAP], FORM]


class _Binding(Section):
    """`KIND` is the key that tells it apart, `MAIN` what its value is called in the long form."""

    KIND: ClassVar[str]
    MAIN: ClassVar[str]

    @classmethod
    def long_form(cls, value: object) -> object:
        """`{shell: {command: x, become: true}}` means the same as `{shell: x, become: true}`."""
        if not isinstance(value, Map):
            return value
        inner = value.get(Text(cls.KIND))
        if not isinstance(inner, Map):
            return value
        flat = Map(value.place, {key: item for key, item in value.items() if key != cls.KIND})
        for key, item in inner.items():
            flat[key.like(cls.KIND) if key == cls.MAIN else key] = item
        return flat

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler.resolve_ref_schema(handler(schema))
        properties = found.get("properties", {})
        if cls.KIND in properties and "anyOf" not in properties[cls.KIND]:
            main = properties[cls.KIND]
            inner = {cls.MAIN: main} | {key: value for key, value in properties.items() if key != cls.KIND}
            long = {
                "type": "object",
                "properties": inner,
                "required": [cls.MAIN],
                "additionalProperties": False,
            }
            properties[cls.KIND] = {"anyOf": [main, long]}
        return found


class Shell(_Binding):
    """A shell line on the node's host, or on `on`."""

    KIND: ClassVar[str] = "shell"
    MAIN: ClassVar[str] = "command"

    shell: Text
    become: bool = False
    on: Text | None = None
    env: Annotated[dict[Identifier, TextOrSecret], AfterValidator(no_secret)] = {}
    expect: ExitStatuses = (0,)
    answers: dict[Text, Text] = {}
    match: Pattern | None = None


class Http(_Binding):
    """An HTTP request."""

    KIND: ClassVar[str] = "http"
    MAIN: ClassVar[str] = "url"

    http: Url
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: Annotated[dict[Text, TextOrSecret], AfterValidator(no_secret)] = {}
    body: Text | None = None
    expect: HttpStatuses = (200,)
    json_path: Text | None = Field(default=None, alias="json")
    match: Pattern | None = None
    via: Literal["conductor", "host"] = "conductor"
    timeout: Duration = 5.0
    verify_tls: bool = True


class Sql(_Binding):
    """A statement on a database of the site; `database` may be left out where there is only one."""

    KIND: ClassVar[str] = "sql"
    MAIN: ClassVar[str] = "statement"

    sql: Text
    database: Text | None = None


class File(_Binding):
    """A file on the node's host, read or written; with `link`, a symbolic link."""

    KIND: ClassVar[str] = "file"
    MAIN: ClassVar[str] = "path"

    file: Text
    content: Text | None = None
    link: Text | None = None
    mode: Mode | None = None
    become: bool = False
    match: Pattern | None = None


class Unit(_Binding):
    """A systemd unit."""

    KIND: ClassVar[str] = "systemd"
    MAIN: ClassVar[str] = "unit"

    systemd: Text
    become: bool = True


KINDS: tuple[type[_Binding], ...] = (Shell, Http, Sql, File, Unit)


def _kind(value: object) -> str | None:
    if isinstance(value, Map):
        return next((kind.KIND for kind in KINDS if Text(kind.KIND) in value), None)
    return None


def _binding(value: object) -> object:
    if not isinstance(value, Map) or _kind(value) is None:
        raise PydanticCustomError(
            "binding", "expected a binding, one of {shell: …}, {http: …}, {sql: …}, {file: …}, {systemd: …}"
        )
    return value


Binding = Annotated[
    Annotated[Shell, Tag("shell")]
    | Annotated[Http, Tag("http")]
    | Annotated[Sql, Tag("sql")]
    | Annotated[File, Tag("file")]
    | Annotated[Unit, Tag("systemd")],
    Discriminator(_kind),
    BeforeValidator(_binding),
]
