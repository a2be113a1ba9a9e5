"""What the lab needs from Debian, and getting it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from changeover.lab.errors import LabError
from changeover.lab.layout import Form
from changeover.lab.lock import wait_for
from changeover.lab.paths import cache_dir

_FILES = resources.files("changeover.lab") / "files"
POSTGRESQL_BIN = Path("usr/lib/postgresql/15/bin")

# A program of each package that the machine itself must have: installed by root with apt-get.
NEEDED = {
    Form.HOSTS: {
        "mmdebstrap": "mmdebstrap",
        "ip": "iproute2",
        "ssh": "openssh-client",
        "ssh-keygen": "openssh-client",
        "mkfs.ext4": "e2fsprogs",
        "nsenter": "util-linux",
    },
    Form.EMBEDDED: {"flock": "util-linux", "setsid": "util-linux"},
}

# The embedded form's programs, with the libraries that a small Debian lacks; downloaded and unpacked, not installed.
BINARIES = {
    "haproxy": "haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 libpcre2-8-0",
    "postgres": (
        "postgresql-15 postgresql-client-15 libpq5 libxml2 libicu72 libxslt1.1 libldap-2.5-0 libsasl2-2 liblz4-1"
        " libzstd1 libgssapi-krb5-2 libkrb5-3 libkrb5support0 libk5crypto3 libcom-err2 libkeyutils1"
    ),
}


@dataclass(frozen=True)
class Binaries:
    """Where the embedded form's programs are, and the environment they need."""

    haproxy: Path
    postgresql: Path
    environment: dict[str, str]


def missing(form: Form) -> list[str]:
    """Return the Debian packages that a form needs and this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return sorted(
        {package for program, package in NEEDED[form].items() if not shutil.which(program, path=path)}
    )


def install(form: Form, say: Callable[[str], None] = lambda _: None) -> None:
    """Install what a form needs: nothing when nothing is missing.

    Raises:
        LabError: something is missing and we are not root, or apt-get failed.
    """
    packages = missing(form)
    if not packages:
        return
    command = f"apt-get install --yes --no-install-recommends {' '.join(packages)}"
    if os.geteuid():
        raise LabError(f"the lab needs {', '.join(packages)}", hint=f"as root: {command}")
    say(f"installing {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["apt-get", "update"], command.split()):
        _run(words, environment=environment)


def find_binaries(say: Callable[[str], None] = lambda _: None, *, machine: Path = Path("/")) -> Binaries:
    """Return HAProxy and PostgreSQL: those below `machine`, else downloaded once into the cache, which needs no root.

    Raises:
        LabError: they cannot be downloaded or do not run.
    """
    unpacked = cache_dir() / "binaries-bookworm"
    haproxy, postgresql = machine / "usr/sbin/haproxy", machine / POSTGRESQL_BIN
    environment: dict[str, str] = {}
    programs = {"haproxy": haproxy, "postgres": postgresql / "postgres"}
    wanted = [name for name, program in programs.items() if not program.exists()]
    if wanted:
        _unpack(wanted, unpacked, say)
        triplet = f"{os.uname().machine}-linux-gnu"
        environment["LD_LIBRARY_PATH"] = f"{unpacked}/usr/lib/{triplet}:{unpacked}/lib/{triplet}"
    if "haproxy" in wanted:
        haproxy = unpacked / "usr/sbin/haproxy"
    if "postgres" in wanted:
        postgresql = unpacked / POSTGRESQL_BIN
    for version in ([str(haproxy), "-v"], [str(postgresql / "postgres"), "--version"]):
        _run(version, environment={**os.environ, **environment})
    return Binaries(haproxy, postgresql, environment)


def _unpack(wanted: list[str], target: Path, say: Callable[[str], None]) -> None:
    """Complete `target` with the packages of the programs wanted, each marked when it is there whole."""
    with wait_for(target.with_suffix(".lock")):
        packages = [package for name in wanted for package in BINARIES[name].split()]
        marks = target / ".unpacked"
        packages = [package for package in packages if not (marks / package).exists()]
        if not packages:
            return
        say(f"downloading {', '.join(wanted)} into {target}")
        marks.mkdir(parents=True, exist_ok=True)
        downloads = target / ".downloads"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir()
        _run(["sh", str(_FILES / "apt-download.sh"), str(downloads), *packages])
        for package in packages:
            (archive,) = downloads.glob(f"{package}_*.deb")
            _run(["dpkg-deb", "--extract", str(archive), str(target)])
            (marks / package).touch()
        shutil.rmtree(downloads)


def _run(command: list[str], *, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise LabError(f"`{' '.join(command)}` ended with {done.returncode}: {said}")
