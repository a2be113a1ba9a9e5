"""Host configurations: what is said of the host, else of its groups, else of all."""

from collections.abc import Mapping, Sequence
from typing import Any

from changeover.model.site import Become, HostConfig, Ssh
from changeover.model.values import Secret
from changeover.spec.build.fleet import Fleet
from changeover.spec.paths import Paths
from changeover.spec.problems import Problems
from changeover.spec.sections import hosts as written
from changeover.spec.sections.base import SecretRef
from changeover.spec.sections.document import Document


def build_hosts(document: Document, fleet: Fleet, paths: Paths, problems: Problems) -> tuple[HostConfig, ...]:
    """The model's hosts, in the order of the file; jumps lead to hosts, and never in a circle."""
    built = []
    for name, host in fleet.hosts.items():
        groups = (document.groups or {}).items()
        sections = [section for group, section in groups if name in fleet.groups.get(group, ())]
        wider = [ssh for ssh in (document.ssh, *(section.ssh for section in sections)) if ssh]
        becomes = [document.become, *(section.become for section in sections), host.become]
        config = HostConfig(
            name=name,
            address=str(host.address),
            driver=host.driver,
            ssh=_ssh(name, wider, host.ssh, fleet, paths=paths, problems=problems),
            become=_become([become for become in becomes if become], paths),
            options=host.options,
        )
        built.append(config)
    _refuse_circles({host.name: host.ssh.jump for host in built}, fleet, problems)
    return tuple(built)


def secret(reference: SecretRef | None, paths: Paths) -> Secret | None:
    """The reference as the model has it; a file's path is absolute."""
    if reference is None:
        return None
    return Secret(
        env=str(reference.env or ""),
        file=str(paths.absolute(reference.file)) if reference.file else "",
        command=str(reference.command or ""),
    )


def _ssh(
    name: str,
    wider: Sequence[written.Ssh],
    own: written.Ssh | None,
    fleet: Fleet,
    *,
    paths: Paths,
    problems: Problems,
) -> Ssh:
    """A jump host that is inherited is not its own jump."""
    layers = [*wider, own] if own else list(wider)
    said: dict[str, Any] = {
        key: value
        for layer in layers
        for key in written.Ssh.names()
        if (value := getattr(layer, key)) is not None
    }
    jump = said.get("jump")
    if jump is not None:
        fleet.host(jump, problems)
        if jump == name and not (own and own.jump):
            jump = None
    key, known_hosts = said.get("key"), said.get("known_hosts")
    usual = Ssh()
    return Ssh(
        user=str(said.get("user", usual.user)),
        port=said.get("port", usual.port),
        key=str(paths.absolute(key.file)) if key else "",
        passphrase=secret(said.get("passphrase"), paths),
        password=secret(said.get("password"), paths),
        known_hosts=str(paths.absolute(known_hosts)) if known_hosts else "",
        check_host_key=said.get("check_host_key", usual.check_host_key),
        jump=str(jump or ""),
        connect_timeout=said.get("connect_timeout", usual.connect_timeout),
    )


def _become(layers: Sequence[written.Become], paths: Paths) -> Become | None:
    """The nearest that says anything; its user and password may come from a wider one of the same method."""
    if not layers or layers[-1].method == "none":
        return None
    users = [layer.user for layer in layers if layer.user]
    passwords = [layer.password for layer in layers if layer.password]
    return Become(
        user=str(users[-1]) if users else "root",
        method=layers[-1].method,
        password=secret(passwords[-1], paths) if passwords else None,
    )


def _refuse_circles(jumps: Mapping[str, str], fleet: Fleet, problems: Problems) -> None:
    for start in jumps:
        seen = [start]
        while (following := jumps.get(seen[-1], "")) and following not in seen:
            seen.append(following)
        if following == start:
            problems.add(
                fleet.names[start].place, f"its jump hosts lead in a circle: {' → '.join([*seen, start])}"
            )
