"""What `options` may hold for PostgreSQL."""

from collections.abc import Mapping

from changeover.drivers.sql.options import ToolOptions


class Options(ToolOptions, frozen=True):
    """`jobs`: how many connections a restore uses. `compress`: 0 to 9.

    `parameters`: more of libpq's connection keywords, for us and for the tools, such as `sslmode`.
    """

    jobs: int = 1
    compress: int = 1
    parameters: Mapping[str, str] = {}
