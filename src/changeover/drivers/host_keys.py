"""Who a host is: its key is looked up in a known_hosts file, and a key that is not there is told about."""

from pathlib import Path

import asyncssh

from changeover.errors import HostError
from changeover.model.site import HostConfig

DEFAULT_KNOWN_HOSTS = "~/.ssh/known_hosts"

KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


class Witness(asyncssh.SSHClient):
    """Remembers the key that a host has shown and that is not among the known ones; trusts none."""

    def __init__(self) -> None:
        self.shown: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's signature
        """Take note of a key that the known_hosts file does not have."""
        self.shown = key
        return False


def known_hosts_path(configured: str) -> Path:
    """The file that is looked into."""
    return Path(configured or DEFAULT_KNOWN_HOSTS).expanduser()


def load(path: Path) -> asyncssh.SSHKnownHosts:
    """The keys of a known_hosts file; none if there is no such file.

    Raises:
        HostError: it cannot be read or understood.
    """
    try:
        return asyncssh.read_known_hosts(str(path))
    except FileNotFoundError:
        return asyncssh.import_known_hosts("")
    except (OSError, ValueError) as error:
        raise HostError(f"cannot read the known host keys in {path}: {error}") from None


def algorithms(known: asyncssh.SSHKnownHosts, address: str, port: int) -> list[str] | None:
    """What to ask a host to show: keys of the kinds that the file has for it, else any.

    A host has keys of several kinds, and shows one of those asked for. Asked only for known kinds, one that was
    installed anew with other kinds would hang up instead of showing its key. None leaves it to asyncssh, which
    puts certificates first.
    """
    keys, authorities, *_ = known.match(address, "", port)
    if authorities:
        return None
    had = [name for key in keys for name in _signatures(key)]
    return [*dict.fromkeys([*had, *KINDS])]


def _signatures(key: asyncssh.SSHKey) -> tuple[str, ...]:
    algorithm = key.get_algorithm()
    return ("rsa-sha2-512", "rsa-sha2-256") if algorithm == "ssh-rsa" else (algorithm,)


def mismatch(
    config: HostConfig, path: Path, known: asyncssh.SSHKnownHosts, shown: asyncssh.SSHKey | None, reason: str
) -> HostError:
    """The error for a host whose key is not the one that the file has, or that the file does not have."""
    name, address, port = config.name, config.address, config.ssh.port
    place = address if port == 22 else f"[{address}]:{port}"  # noqa: PLR2004 - how known_hosts files write it
    now = _describe(shown) if shown else f"none of that kind ({reason})"
    expected = known.match(address, "", port)[0]
    if expected:
        had = ", ".join(_describe(key) for key in expected)
        return HostError(
            f"{name}: THE HOST KEY HAS CHANGED. {path} has {had} for {place}; it now shows {now}. "
            "Either the host was installed anew, or something between it and the conductor answers in its place",
            hint=f"find out which. Only if it was installed anew: ssh-keygen -f {path} -R '{place}', then add the new key",
        )
    return HostError(
        f"{name}: the host key of {place} is not in {path}; it shows {now}",
        hint=f"compare that fingerprint with the host's own, then: ssh-keyscan -p {port} {address} >> {path}",
    )


def _describe(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"
