"""A private OpenSSH on loopback for tests: own keys, own configuration and, for root, own users.

As root it runs in a mount namespace in which `deploy` (sudo without a password), `guarded` (sudo with one) and
`plain` (no sudo) exist; the machine's own users stay as they are. Otherwise it serves the current user alone.
"""

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from changeover.model.site import Become, HostConfig, Ssh
from changeover.model.values import Secret

SSHD = "/usr/sbin/sshd"
SUDO_PASSWORD = "open it's; $(sesame)"
AS_ROOT = os.geteuid() == 0
SMALL = "small"

CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
MaxStartups 200
"""

SUDOERS = """\
Defaults env_reset, use_pty
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
deploy ALL=(ALL:ALL) NOPASSWD: ALL
guarded ALL=(ALL:ALL) ALL
"""

NAMESPACE = """\
set -e
mount -t tmpfs tmpfs /run
mkdir -m 755 /run/sshd /run/sudo
mount --bind {d}/passwd /etc/passwd
mount --bind {d}/group /etc/group
mount --bind {d}/shadow /etc/shadow
mount --bind {d}/sudoers /etc/sudoers
mount -t tmpfs -o size=64k,mode=1777 tmpfs {d}/{small}
exec {sshd} -D -e -f {d}/sshd_config
"""


def free_port() -> int:
    """Return a port on loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once it is listened on; `process` is who should."""
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(log.read_text())


@dataclass
class PrivateSshd:
    """The running server; `directory` is writable for all of its users."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def user(self) -> str:
        return "deploy" if AS_ROOT else getpass.getuser()

    def ssh(self, **changes: object) -> Ssh:
        """How `user` gets in; `changes` replace fields."""
        fields: dict[str, object] = {
            "user": self.user,
            "port": self.port,
            "key": str(self.directory / "user_key"),
            "known_hosts": str(self.directory / "known_hosts"),
        }
        return Ssh(**(fields | changes))  # type: ignore[arg-type]

    def config(self, name: str = "app1", *, become: Become | None = None, **ssh: object) -> HostConfig:
        """A host of that name behind it."""
        return HostConfig(name=name, address="127.0.0.1", ssh=self.ssh(**ssh), become=become)

    def guarded(self, password_file: Path | None = None) -> HostConfig:
        """A host whose user needs a password for sudo."""
        secret = Secret(file=str(password_file or self.directory / "sudo_password"))
        return self.config(user="guarded", become=Become(password=secret))


def _make_users(directory: Path) -> None:
    password = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=SUDO_PASSWORD, text=True, capture_output=True, check=True
    ).stdout.strip()
    users = {"deploy": 61001, "guarded": 61002, "plain": 61003}
    home = directory / "home"
    home.mkdir(mode=0o777)
    passwd, group, shadow = (Path("/etc", name).read_text() for name in ("passwd", "group", "shadow"))
    for name, number in users.items():
        passwd += f"{name}:x:{number}:{number}::{home}:/bin/sh\n"
        group += f"{name}:x:{number}:\n"
        shadow += f"{name}:{password}:19000:0:99999:7:::\n"
    for name, text, mode in (
        ("passwd", passwd, 0o644),
        ("group", group, 0o644),
        ("shadow", shadow, 0o600),
        ("sudoers", SUDOERS, 0o440),
    ):
        (directory / name).write_text(text)
        (directory / name).chmod(mode)


@contextmanager
def private_sshd() -> Iterator[PrivateSshd]:
    """Start it, and end it with everything it has started."""
    if not Path(SSHD).exists():
        pytest.skip("openssh-server is not installed")
    directory = Path(tempfile.mkdtemp(prefix="sshd-", dir="/tmp"))
    directory.chmod(0o777)
    port = free_port()
    for key in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(directory / key)],
            check=True,
        )
    shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
    (directory / "authorized_keys").chmod(0o644)
    (directory / "sshd_config").write_text(CONFIG.format(directory=directory, port=port))
    host_key = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (directory / "sudo_password").write_text(SUDO_PASSWORD + "\n")
    (directory / SMALL).mkdir()
    arguments = [SSHD, "-D", "-e", "-f", str(directory / "sshd_config")]
    if AS_ROOT:
        _make_users(directory)
        script = NAMESPACE.format(d=shlex.quote(str(directory)), small=SMALL, sshd=SSHD)
        arguments = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for_port(port, process, log)
        yield PrivateSshd(directory, port, process)
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def sshd() -> Iterator[PrivateSshd]:
    """A private OpenSSH for the whole session."""
    with private_sshd() as server:
        yield server
