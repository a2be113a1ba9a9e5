# ruff: noqa: RUF012  # pydantic copies defaults
"""Who is told of what, and how."""

from typing import Annotated, Literal

from pydantic import Field

from changeover.model.release import Moment
from changeover.spec.sections.base import Name, OneOrMany, SecretRef, Section

Moments = Annotated[
    list[
        Literal[
            "window-opens",
            "waits",
            "go-no-go",
            "latest-safe-moment",
            "opened",
            "stopped",
            "falls-back",
            "ended",
        ]
    ],
    Field(min_length=1),
    OneOrMany(),
]


class Notice(Section):
    """One address, and the moments that it is told of."""

    to: SecretRef
    on: Moments = [moment.value for moment in Moment]


Notices = dict[Name, Notice]
