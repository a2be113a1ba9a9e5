"""What `options` may hold for PostgreSQL."""

from collections.abc import Mapping

from changeover.model.values import Value


class Options(Value, frozen=True):
    """`bin`: the directory of pg_dump and pg_restore on the host (default: the search path).

    `become`: whether they, and the snapshot directory, need the host's means of gaining rights.
    `jobs`: how many connections a restore uses. `compress`: 0 to 9. `parameters`: more of libpq's connection
    keywords, for us and for the tools, such as `sslmode`.
    """

    bin: str = ""
    become: bool = False
    jobs: int = 1
    compress: int = 1
    parameters: Mapping[str, str] = {}
