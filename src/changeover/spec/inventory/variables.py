"""Ansible's connection variables, as a host of ours. What they cannot say here is a problem, not a guess."""

import shlex

from changeover.spec.inventory.groups import Variables
from changeover.spec.located import Located, Map, Text
from changeover.spec.problems import Problems

_SSH = {
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_private_key_file": "key",
    "ansible_ssh_private_key_file": "key",
    "ansible_host_key_checking": "check_host_key",
    "ansible_ssh_host_key_checking": "check_host_key",
}
_BECOME = {"ansible_become_method": "method", "ansible_become_user": "user"}
_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_CONNECTIONS = ("ssh", "paramiko", "paramiko_ssh", "smart", "local")
_SECRETS = {
    "ansible_password": "ssh.password",
    "ansible_ssh_pass": "ssh.password",
    "ansible_ssh_password": "ssh.password",
    "ansible_ssh_private_key_passphrase": "ssh.passphrase",
    "ansible_become_pass": "become.password",
    "ansible_become_password": "become.password",
    "ansible_sudo_pass": "become.password",
}


def as_host(name: Text, variables: Variables, given: frozenset[str], problems: Problems) -> Map:
    """The host in the long form of the spec. `given` are the secrets that the spec itself refers to."""
    reader = _Reader(variables, problems)
    _refuse_secrets(variables, given, problems)
    host = Map(name.place)
    address = reader.text("ansible_host") or reader.text("ansible_ssh_host") or name
    host[address.like("address")] = address
    connection = reader.text("ansible_connection")
    if connection and connection not in _CONNECTIONS:
        problems.unknown(connection.place, "this connection is not to be had here", connection, _CONNECTIONS)
    elif connection == "local":
        host[connection.like("driver")] = connection
    if ssh := _ssh(name, reader, problems):
        host[name.like("ssh")] = ssh
    become = _become(name, reader)
    if become is not None:
        host[name.like("become")] = become
    return host


def _refuse_secrets(variables: Variables, given: frozenset[str], problems: Problems) -> None:
    for variable, key in _SECRETS.items():
        if variable in variables and key not in given:
            what = f"secrets are not taken from inventories: give `{key}` in the spec, as a reference"
            problems.add(variables[variable].place, what)


def _ssh(name: Text, reader: "_Reader", problems: Problems) -> Map:
    ssh = Map(name.place)
    for variable, key in _SSH.items():
        if value := reader.text(variable):
            ssh[value.like(key)] = value
    for variable in _ARGUMENTS:
        if value := reader.text(variable):
            _arguments(value, ssh, problems)
    return ssh


def _become(name: Text, reader: "_Reader") -> Map | None:
    become = Map(name.place)
    for variable, key in _BECOME.items():
        if value := reader.text(variable):
            become[value.like(key)] = value
    wanted = reader.text("ansible_become")
    if wanted and wanted.lower() in ("false", "no", "0", "off"):
        return Map(wanted.place, {wanted.like("method"): wanted.like("none")})
    return become if wanted or become else None


class _Reader:
    def __init__(self, variables: Variables, problems: Problems) -> None:
        self._variables = variables
        self._problems = problems

    def text(self, name: str) -> Text | None:
        """The variable's value; nothing, and a problem, if only Ansible could work it out."""
        value: Located | None = self._variables.get(name)
        if value is None or (isinstance(value, Text) and value.null):
            return None
        if not isinstance(value, Text):
            self._problems.add(value.place, "expected text")
            return None
        if value.tag == "!vault" or value.startswith("$ANSIBLE_VAULT"):
            self._problems.add(value.place, "vaults are not opened; give it in the spec")
            return None
        if "{{" in value or "{%" in value:
            self._problems.add(
                value.place, "templates are not filled; give it in the spec, or its plain value"
            )
            return None
        return value


def _arguments(value: Text, ssh: Map, problems: Problems) -> None:
    """Of the arguments for `ssh`, the jump host and whether host keys are checked."""
    try:
        words = shlex.split(value.replace("-o ", "-o"))
    except ValueError:
        words = [value]
    while words:
        word = words.pop(0)
        option, _, setting = word.removeprefix("-o").partition("=")
        if word == "-J" and words:
            ssh[value.like("jump")] = value.like(words.pop(0))
        elif option.lower() == "proxyjump" and setting:
            ssh[value.like("jump")] = value.like(setting)
        elif option.lower() == "stricthostkeychecking" and setting:
            ssh[value.like("check_host_key")] = value.like(
                "false" if setting.lower() in ("no", "off") else "true"
            )
        elif not option.lower().startswith(("controlmaster", "controlpersist", "controlpath")):
            problems.add(
                value.place,
                "only -J, ProxyJump, StrictHostKeyChecking and Control* are understood here; say the rest in `ssh`",
            )
            return
