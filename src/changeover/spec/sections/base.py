"""What every section of the file has in common, and the kinds of values in them."""

import re
from collections.abc import Callable, Collection
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PlainValidator,
    PrivateAttr,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from changeover.spec import quantities
from changeover.spec.located import NOWHERE, Map, Seq, Text, children, plain
from changeover.spec.problems import Place, Problems

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:%_-]{0,252}", re.ASCII)
_SECRET_NAME = re.compile(
    r"pass(word|phrase|wd)?$|secret|token|api[-_]?key|private[-_]?key|^authorization$|^proxy-authorization$|^cookie$",
    re.IGNORECASE,
)

LITERAL_SECRET = "a secret is not written here but referred to: {env: NAME}, {file: path} or {command: shell line that prints it}"  # noqa: S105  # a message


class Section(BaseModel):
    """A mapping in the file. It remembers where it was written.

    `SHORT` is the field that a bare scalar or list stands for. `REST` is the field that takes the keys that are no
    field's name, as far as `rest` lists them; all others are problems.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    SHORT: ClassVar[str] = ""
    REST: ClassVar[str] = ""

    _map: Map = PrivateAttr(default_factory=lambda: Map(NOWHERE))

    @property
    def place(self) -> Place:
        """Where the section begins."""
        return self._map.place

    def where(self, key: str) -> Place:
        """Where the value of a key is, or where it would be."""
        return self._map.where(key)

    def given(self, key: str) -> bool:
        """Whether the operator wrote that key."""
        return Text(key) in self._map

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The keys as they are written in the file."""
        return tuple(field.alias or name for name, field in cls.model_fields.items() if name != cls.REST)

    @classmethod
    def rest(cls) -> Collection[str] | None:
        """The keys that `REST` takes; None for any."""
        return None

    @classmethod
    def long_form(cls, value: object) -> object:
        """The mapping that a shorter form stands for; anything else as it is."""
        short = isinstance(value, Seq) or (isinstance(value, Text) and not value.null)
        if cls.SHORT and short and isinstance(value, Text | Seq):
            return Map(value.place, {Text(cls.SHORT, value.place): value})
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _locate(cls, data: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if type(data) is dict:  # a default, written in code
            return handler(data)
        value = cls.long_form(data)
        if not isinstance(value, Map):
            raise PydanticCustomError("section", "expected a mapping")
        known = cls.names()
        fields = Map(value.place, {key: item for key, item in value.items() if key in known})
        others = Map(value.place, {key: item for key, item in value.items() if key not in known})
        if cls.REST and others:
            rest = cls.rest()
            taken = {key: item for key, item in others.items() if rest is None or key in rest}
            fields[Text(cls.REST, value.place)] = Map(value.place, taken)
            others = Map(value.place, {key: item for key, item in others.items() if key not in taken})
            known = (*known, *(name for name in rest or () if name not in known))
        if isinstance(info.context, Problems):
            for key in others:
                info.context.unknown(key.place, "unknown key", key, known)
        section = handler(fields)
        section._map = value  # noqa: SLF001  # its own
        return section

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler.resolve_ref_schema(handler(schema))
        if cls.REST and "properties" in found:
            found["additionalProperties"] = found["properties"].pop(cls.REST)["additionalProperties"]
        if cls.SHORT and "properties" in found:
            long = dict(found)
            found.clear()
            found.update({"anyOf": [long["properties"][cls.SHORT], long]})
        return found


def checked(test: Callable[[str], object], schema: dict[str, Any]) -> Any:
    """The metadata of a text that `test` accepts; its `ValueError` becomes the problem."""

    def check(text: Text) -> Text:
        try:
            test(text)
        except ValueError as error:
            raise PydanticCustomError("text", "{reason}", {"reason": str(error)}) from error
        return text

    return AfterValidator(check), WithJsonSchema(schema)


def matching(pattern: re.Pattern[str], expected: str) -> Callable[[str], None]:
    """A test for `checked`: the whole text matches."""

    def test(text: str) -> None:
        if not pattern.fullmatch(text):
            raise ValueError(f"expected {expected}")

    return test


def measured(read: Callable[[str], float]) -> Any:
    """The metadata of a number that is read from text with a unit."""

    def measure(value: object) -> object:
        if not isinstance(value, Text):
            raise PydanticCustomError("text", "expected a number with its unit, such as 10m or 1GiB")
        try:
            return read(value)
        except ValueError as error:
            raise PydanticCustomError("text", "{reason}", {"reason": str(error)}) from error

    return BeforeValidator(measure), WithJsonSchema({"type": ["string", "number"]})


class OneOrMany:
    """The metadata of a list, of which a single value stands for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        many = handler(schema)
        return {"anyOf": [handler.resolve_ref_schema(many)["items"], many]}

    @staticmethod
    def _listed(value: object) -> object:
        return Seq(value.place, [value]) if isinstance(value, Text | Map) else value


def no_secret(values: dict[Text, Any]) -> dict[Text, Any]:
    """Refuse a literal under a name that says it is a secret."""
    for name, value in values.items():
        if isinstance(value, Text) and looks_secret(name) and value:
            raise PydanticCustomError("secret", LITERAL_SECRET)
    return values


def looks_secret(name: str) -> bool:
    """Whether what goes by that name is usually secret."""
    return _SECRET_NAME.search(name) is not None


_name_check = checked(matching(_NAME, "a name of letters, digits, '.', '_' and '-'"), {"type": "string"})
_address_check = checked(matching(_ADDRESS, "an address: a host name, IPv4 or IPv6"), {"type": "string"})
_identifier_check = checked(matching(_IDENTIFIER, "a name of letters, digits and '_'"), {"type": "string"})

Name = Annotated[Text, _name_check[0], _name_check[1]]
Address = Annotated[Text, _address_check[0], _address_check[1]]


def _options(value: object) -> dict[str, Any]:
    if not isinstance(value, Map):
        raise PydanticCustomError("section", "expected a mapping")
    _no_literal(value)
    return dict(plain(value))


def _no_literal(value: object) -> None:
    if isinstance(value, Map):
        no_secret(value)
    for item in children(value) if isinstance(value, Map | Seq) else ():
        _no_literal(item)


Options = Annotated[dict[str, Any], PlainValidator(_options), WithJsonSchema({"type": "object"})]
"""What only a driver understands: plain values, handed on as they are."""

Identifier = Annotated[Text, _identifier_check[0], _identifier_check[1]]

_duration, _size = measured(quantities.duration), measured(quantities.size)
Duration = Annotated[float, _duration[0], _duration[1]]
Size = Annotated[int, _size[0], _size[1]]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=0, le=10_000)]
Positive = Annotated[int, Field(ge=1, le=10_000)]
Variables = Annotated[dict[Identifier, Text], AfterValidator(no_secret)]


def _form(value: object) -> str:
    return "map" if isinstance(value, Map) else "list" if isinstance(value, Seq) else "text"


FORM = Discriminator(_form)
"""Tells apart by form what may be written as a scalar, a list or a mapping: `Annotated[A, AS_TEXT]` and so on."""
AS_TEXT, AS_LIST, AS_MAP = Tag("text"), Tag("list"), Tag("map")


class SecretRef(Section):
    """Where a secret is found."""

    env: Identifier | None = None
    file: Text | None = None
    command: Text | None = None

    @classmethod
    def long_form(cls, value: object) -> object:
        """Refuse a literal, without showing it."""
        if not isinstance(value, Map):
            raise PydanticCustomError("secret", LITERAL_SECRET)
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(bool(given) for given in (self.env, self.file, self.command)) != 1:
            raise PydanticCustomError("secret", "exactly one of env, file and command is expected")
        return self
