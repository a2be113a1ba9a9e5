"""The command lines of PostgreSQL's tools. The password travels as PGPASSWORD, never in them."""

import shlex


def dump(conninfo: str, snapshot: str, path: str, *, tools: str = "", compress: int = 1) -> str:
    """Dump what an exported snapshot sees. It gives up on a table that stays locked for half a minute."""
    arguments = [
        _tool("pg_dump", tools),
        "--no-password",
        "--format=custom",
        f"--compress={compress}",
        "--lock-wait-timeout=30s",
        f"--snapshot={snapshot}",
        f"--file={path}",
        f"--dbname={conninfo}",
    ]
    return f"umask 077 && {shlex.join(arguments)}"


def restore(conninfo: str, path: str, *, tools: str = "", jobs: int = 1) -> str:
    """Restore a dump into an empty database, and stop at the first error."""
    arguments = [
        _tool("pg_restore", tools),
        "--no-password",
        "--exit-on-error",
        f"--jobs={jobs}",
        f"--dbname={conninfo}",
        path,
    ]
    return shlex.join(arguments)


def _tool(name: str, directory: str) -> str:
    return f"{directory}/{name}" if directory else name
