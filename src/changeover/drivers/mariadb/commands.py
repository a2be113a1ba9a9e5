"""The command lines of MariaDB's tools. The password travels as MYSQL_PWD, never in them."""

import shlex
from collections.abc import Sequence

from changeover.drivers.login import Login

BEGIN_WITHIN = 30
"""Seconds within which a dump must have begun its transaction; commits wait as long."""


def dump(login: Login, path: str, *, views: Sequence[str] = (), tools: str = "") -> str:
    """Dump tables, sequences and rows as one transaction sees them.

    Views, triggers, routines and events are left out: a trigger is dumped with the database's name in it if it
    was created so, and would be created there when a copy is restored elsewhere.
    """
    arguments = [
        _tool("mariadb-dump", tools),
        *_login(login),
        "--single-transaction",
        "--quick",
        "--hex-blob",
        "--comments",
        "--skip-triggers",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        *(f"--ignore-table={login.database}.{view}" for view in views),
        "--",
        login.database,
    ]
    return f"umask 077 && {shlex.join(arguments)} > {shlex.quote(path)}"


def until_begun(path: str) -> str:
    """Return once the dump has begun its transaction.

    `mariadb-dump` starts the transaction before it writes about the first table or sequence, and flushes its
    output every few kilobytes and at its end.
    """
    condition = (
        f"grep -qE '^-- ((Table|Sequence) structure for|Dump completed)' {shlex.quote(path)} 2>/dev/null"
    )
    return (
        f"timeout --foreground {BEGIN_WITHIN} sh -c {shlex.quote(f'until {condition}; do sleep 0.02; done')}"
    )


def restore(login: Login, path: str, *, tools: str = "") -> str:
    """Restore a dump into an empty database, and stop at the first error."""
    arguments = [
        _tool("mariadb", tools),
        *_login(login),
        "--batch",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        f"--database={login.database}",
    ]
    return f"{shlex.join(arguments)} < {shlex.quote(path)}"


def _login(login: Login) -> list[str]:
    where = (
        [f"--socket={login.address}"]
        if login.local
        else ["--protocol=tcp", f"--host={login.address}", f"--port={login.port}"]
    )
    return [*where, f"--user={login.user}"]


def _tool(name: str, directory: str) -> str:
    return f"{directory}/{name}" if directory else name
