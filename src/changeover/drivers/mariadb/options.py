"""What `options` may hold for MariaDB."""

from changeover.model.values import Value


class Options(Value, frozen=True):
    """`bin`: the directory of mariadb and mariadb-dump on the host (default: the search path).

    `become`: whether they, and the snapshot directory, need the host's means of gaining rights.
    """

    bin: str = ""
    become: bool = False
