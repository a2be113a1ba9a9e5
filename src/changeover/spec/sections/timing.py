"""When the upgrade may take place, and who does what in it, and when."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from changeover.spec import times
from changeover.spec.located import Text
from changeover.spec.sections.base import Duration, Section, checked

_date = checked(times.day, {"type": "string"})
_time = checked(times.LocalTime, {"type": ["string", "number"]})
_zone = checked(times.time_zone, {"type": "string"})

Date = Annotated[Text, _date[0], _date[1]]
LocalTime = Annotated[Text, _time[0], _time[1]]
Zone = Annotated[Text, _zone[0], _zone[1]]


class Window(Section):
    """The time in which the site may be closed, in local times of `zone`; it may pass midnight."""

    date: Date | None = None
    opens: LocalTime
    closes: LocalTime
    zone: Zone
    margin: Duration = 300.0
    warn: Duration = 900.0
    late: Literal["ask", "fall-back"] = "ask"


class Duty(Section):
    """Who owns a stage or a step, and when it is planned to begin."""

    SHORT: ClassVar[str] = "owner"

    owner: Text | None = None
    at: LocalTime | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.owner is None and self.at is None:
            raise PydanticCustomError("duty", "this says nothing: give owner, at, or both")
        return self


Schedule = dict[Text, Duty]
People = dict[Text, Text]
