"""Values that know where they were written.

Every scalar stays text until the schema says what it is: `to: 1.10` is never 1.1, `no` is never false unless
a switch is wanted, and `010` is never eight.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from changeover.spec.problems import Place

NOWHERE = Place("")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class Text(str):
    """A scalar; `plain` if it was not quoted."""

    __slots__ = ("place", "plain", "tag")

    place: Place
    plain: bool
    tag: str

    def __new__(cls, value: str = "", place: Place = NOWHERE, *, plain: bool = False, tag: str = "") -> Self:
        """Text without a place stands for a default."""
        text = super().__new__(cls, value)
        text.place, text.plain, text.tag = place, plain, tag
        return text

    @property
    def null(self) -> bool:
        """Whether nothing was written, or YAML's words for it."""
        return self.plain and not self.tag and self in _NULLS

    def like(self, value: str) -> "Text":
        """Another text from the same spot."""
        return Text(value, self.place)

    @classmethod
    def _validate(cls, value: object) -> "Text":
        if not isinstance(value, Text):
            raise PydanticCustomError("text", "expected text")
        if value.null:
            raise PydanticCustomError("text", "has no value")
        return value

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validate)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


class Map(dict[Text, Any]):
    """A mapping. Its keys are `Text` too, and stand where the keys were written."""

    def __init__(self, place: Place, items: dict[Text, Any] | None = None) -> None:
        super().__init__(items or {})
        self.place = place

    def key(self, name: str) -> Text:
        """The key of that name as it was written."""
        return next(key for key in self if key == name)

    def where(self, name: str) -> Place:
        """Where the value of that key is, or where it would be."""
        value = self.get(Text(name))
        return value.place if isinstance(value, Text | Map | Seq) else self.place.under(name)


class Seq(list[Any]):
    """A list."""

    def __init__(self, place: Place, items: list[Any] | None = None) -> None:
        super().__init__(items or [])
        self.place = place


Located = Text | Map | Seq


def moved(value: Located, path: tuple[str, ...]) -> Located:
    """The same value as it appears under another path, for an alias; its lines stay the anchor's."""
    place = replace(value.place, path=path)
    match value:
        case Text():
            return Text(value, place, plain=value.plain, tag=value.tag)
        case Seq():
            return Seq(place, [moved(item, (*path, str(index))) for index, item in enumerate(value)])
        case Map():
            items = {moved(key, (*path, key)): moved(item, (*path, key)) for key, item in value.items()}
            return Map(place, items)  # type: ignore[arg-type]  # a moved Text is a Text


def size(value: Located) -> int:
    """How many values it is made of."""
    return 1 + sum(size(item) for item in children(value))


def children(value: Located) -> Iterator[Located]:
    """The values directly inside it."""
    match value:
        case Map():
            yield from value.values()
        case Seq():
            yield from value


def plain(value: Located) -> Any:
    """Without places, for sections that are handed on as they are: scalars become what YAML 1.2 says they are."""
    match value:
        case Map():
            return {str(key): plain(item) for key, item in value.items()}
        case Seq():
            return [plain(item) for item in value]
        case Text() if value.plain:
            return _scalar(value)
        case _:
            return str(value)


def _scalar(text: Text) -> Any:
    if text.null:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if abs(number) < 2**63:
            return number
    return str(text)
