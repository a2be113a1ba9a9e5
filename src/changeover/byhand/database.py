"""Databases by hand: with the server's own tools. Passwords are asked for, or come from where the spec says."""

import shlex
from collections.abc import Mapping, Sequence
from functools import partial

from changeover.byhand.application import bound
from changeover.byhand.base import ByHand
from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Step
from changeover.model.site import DatabaseConfig

SCRATCH = "changeover_scratch"


def _dump(database: DatabaseConfig, label: str) -> str:
    return f"{database.snapshot_dir}/{label}/dump"


def _login(database: DatabaseConfig) -> list[str]:
    host = [f"--host={database.address}"] if database.address else []
    port = [f"--port={database.port}"] if database.port else []
    user = "--user" if database.driver == "mariadb" else "--username"
    return [*host, *port, f"{user}={database.user}"]


def _client(database: DatabaseConfig, name: str) -> str:
    if database.driver == "mariadb":
        return shlex.join(["mariadb", *_login(database), "--password", name])
    return shlex.join(["psql", *_login(database), "--set=ON_ERROR_STOP=1", f"--dbname={name}"])


def _taking(database: DatabaseConfig, path: str) -> str:
    if database.driver == "mariadb":
        tool = [
            "mariadb-dump",
            *_login(database),
            "--password",
            "--single-transaction",
            "--routines",
            "--events",
        ]
        return f"{shlex.join([*tool, database.database])} > {shlex.quote(path)}"
    tool = ["pg_dump", *_login(database), "--format=custom", f"--file={path}", database.database]
    return shlex.join(tool)


def _into(database: DatabaseConfig, name: str, path: str) -> Sequence[str]:
    """A database made anew from a dump."""
    if database.driver == "mariadb":
        anew = f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}"
        make = shlex.join(["mariadb", *_login(database), "--password", f"--execute={anew}"])
        return make, f"{_client(database, name)} < {shlex.quote(path)}"
    login = _login(database)
    return (
        shlex.join(["dropdb", *login, "--if-exists", "--force", name]),
        shlex.join(["createdb", *login, name]),
        shlex.join(["pg_restore", *login, "--exit-on-error", f"--dbname={name}", path]),
    )


def _snapshot(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    database = plan.site.database(step.do.target)
    path = _dump(database, step.do.params["label"])
    made = f"mkdir --parents {shlex.quote(path.rpartition('/')[0])}"
    return (Instruction(database.host, f"{made}\n{_taking(database, path)}", "exit status 0"),)


def _verify(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    database = plan.site.database(step.do.target)
    lines = "\n".join(_into(database, SCRATCH, _dump(database, step.do.params["label"])))
    expect = f"every table of {SCRATCH} has the rows that it had when the snapshot was taken; drop it then"
    return (Instruction(database.host, lines, expect),)


def _drop(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    database = plan.site.database(step.do.target)
    directory = shlex.quote(f"{database.snapshot_dir}/{step.do.params['label']}")
    return (Instruction(database.host, f"rm --recursive {directory}", ""),)


def _restore(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    database = plan.site.database(step.do.target)
    lines = "\n".join(_into(database, database.database, _dump(database, step.do.params["label"])))
    return (Instruction(database.host, lines, "every table has the rows that it had in the snapshot"),)


def _script(step: Step, plan: Plan, *, text: str) -> tuple[Instruction, ...]:
    database = plan.site.database(step.do.target)
    migration = step.do.params["migration"]
    patience = step.do.params["lock_timeout"]
    if database.driver == "mariadb":
        before = f"SET SESSION lock_wait_timeout = {max(1, round(patience))};"
    else:
        before = f"SET lock_timeout = '{round(patience * 1000)}ms';"
    whole = migration.get("transactional", True)
    begin, end = ("BEGIN;\n", "\nCOMMIT;") if whole else ("", "")
    typed = f"{_client(database, database.database)}\n{before}\n{begin}{migration[text].strip()}{end}"
    expect = "no error; one that could not have its lock is tried again"
    return (Instruction(database.host, typed, expect),)


def _command(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    params = step.do.params
    values = {"release": params["release"], "lock_timeout": f"{params['lock_timeout']:g}"}
    node = params["node"]
    run = bound(params["run"], node, plan, **values)
    return (*run, *bound(params["observe"], node, plan, expect=params["expect"], **values))


def _check(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    database = plan.site.database(step.do.target)
    directory = shlex.quote(database.snapshot_dir)
    return (
        Instruction(database.host, f"{_client(database, database.database)} </dev/null", "it lets us in"),
        Instruction(
            database.host, f"df --human-readable {directory}", "room for a dump and for a scratch copy"
        ),
    )


BY_HAND: Mapping[str, ByHand] = {
    "database.snapshot": _snapshot,
    "database.verify": _verify,
    "database.drop-snapshot": _drop,
    "database.restore": _restore,
    "database.migrate": partial(_script, text="sql"),
    "database.revert": partial(_script, text="down"),
    "database.command": _command,
    "database.check": _check,
}
