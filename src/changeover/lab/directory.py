"""The directory of one lab: what is in it, and its keys and passwords."""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from changeover.lab.errors import LabError
from changeover.lab.layout import Layout, read_layout
from changeover.lab.lock import hold
from changeover.lab.paths import labs_dir


class Directory:
    """Where one lab keeps everything it must remember; readable by its owner only."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = labs_dir() / name
        self.layout_file = self.path / "lab.json"
        self.key = self.path / "operator_key"
        self.known_hosts = self.path / "known_hosts"
        self.credentials = self.path / "credentials.json"
        self.database_password = self.path / "database_password"
        self.sudo_password = self.path / "sudo_password"
        self.releases = self.path / "releases"
        self.hosts = self.path / "hosts"

    def host(self, name: str) -> Path:
        """Return the directory of one host: its disk, its seed, its console."""
        return self.hosts / name

    def exists(self) -> bool:
        """Whether a lab of that name is up, or half up."""
        return self.layout_file.exists()

    def layout(self) -> Layout:
        """Return the lab's layout.

        Raises:
            LabError: no lab of that name is up.
        """
        if not self.exists():
            raise LabError(f"no lab {self.name!r} is up", hint="`changeover lab up` starts one")
        return read_layout(self.layout_file)

    def cgroup_name(self) -> str:
        """Return a name for the lab's cgroup that no other lab of this machine has, whoever owns it."""
        mark = hashlib.sha256(str(self.path).encode()).hexdigest()[:8]
        return f"changeover-lab-{self.name}-{mark}"

    @contextmanager
    def locked(self, why: str) -> Iterator[None]:
        """Hold the lab: nobody else brings it up or down meanwhile.

        Raises:
            LabError: someone holds it; the error says who, for what, since when.
        """
        with hold(labs_dir() / f"{self.name}.lock", f"lab {self.name}", why):
            yield

    def create(self, layout: Layout) -> None:
        """Make the directory with new keys and passwords, or complete one that an interruption left."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        layout.write(self.layout_file)
        self.hosts.mkdir(exist_ok=True)
        self.releases.mkdir(exist_ok=True)
        for path in (self.database_password, self.sudo_password):
            if not path.exists():
                write_private(path, secrets.token_urlsafe(18))

    def remove(self) -> None:
        """Delete the directory and all in it."""
        if self.path.exists():
            shutil.rmtree(self.path)

    def write_credentials(self, values: dict[str, str | int]) -> None:
        """Store the credentials of the database as one JSON object."""
        write_private(self.credentials, json.dumps(values, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first moment on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def make_key(path: Path, comment: str) -> None:
    """Make an Ed25519 key pair at `path`, unless there is one."""
    if not path.with_name(f"{path.name}.pub").exists():
        path.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
            check=True,
            stdin=subprocess.DEVNULL,
        )


def names() -> list[str]:
    """Return the names of the labs there are, up or half up."""
    return sorted(path.parent.name for path in labs_dir().glob("*/lab.json"))
