"""Files of the nodes that are kept, edited and read while the application is upgraded."""
# ruff: noqa: RUF012  # pydantic copies defaults

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from changeover.spec.located import Text
from changeover.spec.sections.base import (
    Count,
    OneOrMany,
    Positive,
    Section,
    checked,
    looks_secret,
)
from changeover.spec.sections.bindings import Pattern

_ABSOLUTE = re.compile(r"(?:/|\{[A-Za-z_][A-Za-z0-9_]*\})[^\0\n]*")


def _path(text: str) -> None:
    if not _ABSOLUTE.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise ValueError("expected an absolute path, as in /etc/app or {base}/conf, without . and ..")
    if text.endswith("/"):
        raise ValueError("expected a path without a slash at its end")


def _day(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a day such as 2026-12-31") from None


_path_check, _day_check = checked(_path, {"type": "string"}), checked(_day, {"type": "string"})
RemotePath = Annotated[Text, _path_check[0], _path_check[1]]
Day = Annotated[Text, _day_check[0], _day_check[1]]


def end_of(day: str) -> float:
    """Seconds since the epoch when the day is over, in UTC."""
    return datetime.combine(date.fromisoformat(day), time.min, UTC).timestamp() + 86400


class Kept(Section):
    """What is copied to a directory outside of the installation, and put back."""

    paths: Annotated[list[RemotePath], Field(min_length=1), OneOrMany()]
    to: RemotePath


class Property(Section):
    """A key of a properties file: its value for the first start of the new version, and after it."""

    file: RemotePath
    key: Text
    first: Text
    then: Text

    @model_validator(mode="after")
    def _no_secret(self) -> Self:
        if looks_secret(self.key):
            raise PydanticCustomError(
                "secret", "a secret does not change with the version: leave it in its file, which is kept"
            )
        return self


class KnownIssue(Section):
    """What may stand in the log, how often, and for how long."""

    SHORT: ClassVar[str] = "pattern"

    pattern: Pattern
    most: Positive = 1
    version: Text | None = None
    step: Text | None = None
    owner: Text | None = None
    expires: Day | None = None


class Log(Section):
    """A log, what is an error in it, and what is known."""

    path: RemotePath
    errors: Annotated[list[Pattern], Field(min_length=1), OneOrMany()]
    known: Annotated[list[KnownIssue], OneOrMany()] = []
    context: Count = 3
