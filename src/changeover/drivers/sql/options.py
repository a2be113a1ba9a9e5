"""What `options` may hold for any of these databases."""

from typing import Annotated

import msgspec

from changeover.drivers.sql.pulse import SILENCE
from changeover.model.values import Value


class ToolOptions(Value, frozen=True):
    """`bin`: the directory of the database's tools on the host (default: the search path).

    `become`: whether they, and the snapshot directory, need the host's means of gaining rights.
    `silence`: after how many seconds without any answer the server is taken for gone.
    """

    bin: str = ""
    become: bool = False
    silence: Annotated[float, msgspec.Meta(ge=1)] = SILENCE
