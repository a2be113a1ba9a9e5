"""The lab without root: plain processes, programs unpacked from Debian's packages."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import changeover

pytestmark = pytest.mark.lab
SOURCES = Path(changeover.__file__).parents[1]
LIBRARIES = next(path for path in sys.path if path.endswith("site-packages"))
PYTHON = "/usr/bin/python3"


class Nobody:
    """Runs the lab's commands as a user without rights, whose home is a directory of its own."""

    def __init__(self, home: Path) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CHANGEOVER_CACHE": str(home / "cache"),
            "XDG_STATE_HOME": str(home / "state"),
            "CHANGEOVER_LAB": "nobody",
            "PYTHONPATH": f"{SOURCES}:{LIBRARIES}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def configure_apt(self, lines: str) -> None:
        """Add lines of apt.conf(5) for this user's commands."""
        path = Path(self._environment["HOME"]) / "apt.conf"
        path.write_text(lines)
        self._environment["APT_CONFIG"] = str(path)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python with `words` and return how it ended."""
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all"]
        return subprocess.run(
            [*user, PYTHON, *words],
            env=self._environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    def lab(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the lab."""
        return self.run("-m", "changeover.lab", *words)


@pytest.fixture
def nobody() -> Iterator[Nobody]:
    """A user without rights; the lab it leaves is taken down."""
    if os.geteuid():
        pytest.skip("becoming another user needs root")
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as home:
        shutil.chown(home, "nobody", "nogroup")
        user = Nobody(Path(home))
        probe = user.run(
            "-c", "import sys, typer, psycopg, changeover.lab; print(*sys.version_info[:2], sep='.')"
        )
        if probe.stdout.strip() != "{}.{}".format(*sys.version_info):
            pytest.skip(f"{PYTHON} cannot use this environment as another user: {probe.stderr[-200:]}")
        yield user
        user.lab("down")


def test_a_user_without_rights_gets_the_embedded_lab(nobody: Nobody) -> None:
    """`up` says which form and why, every service answers, a fault befalls and is mended, `down` leaves no process."""
    up = nobody.lab("up", "--nodes", "2", "--startup-seconds", "0.1")
    assert (up.returncode, up.stderr.splitlines()[0]) == (0, "form: embedded (not root)")
    site = json.loads(nobody.lab("site").stdout)
    assert site["form"] == "embedded"
    assert nobody.lab("break", "app1", "power").returncode == 0
    assert json.loads(nobody.lab("status", "--json").stdout)["app1"]["ok"] is False
    assert nobody.lab("mend", "app1").returncode == 0
    assert json.loads(nobody.lab("status", "--json").stdout)["app1"]["ok"] is True
    assert nobody.lab("down").returncode == 0
    assert not Path(site["directory"]).exists()
    processes = [path for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path, site["directory"])]
    assert processes == []


def readable(cmdline: Path, text: str) -> bool:
    """Whether a process that still runs has `text` in its command."""
    try:
        return text in cmdline.read_text()
    except OSError:
        return False


def test_the_embedded_lab_knows_no_cable_and_no_disk(nobody: Nobody) -> None:
    """A fault that plain processes cannot have is refused, with those they can."""
    nobody.lab("up", "--nodes", "1", "--startup-seconds", "0.1")
    done = nobody.lab("break", "app1", "link")
    assert (done.returncode, done.stderr) == (
        1,
        "error: the embedded lab knows no fault link\nhint: power or freeze\n",
    )


@pytest.mark.parametrize("lists", ["the machine's", "none"])
def test_the_programs_are_unpacked_without_root(nobody: Nobody, lists: str) -> None:
    """On a machine that has neither, HAProxy and PostgreSQL are downloaded once, and a cluster can be made with them.

    A bare machine has no package lists either.
    """
    if lists == "none":
        nobody.configure_apt('Dir::State::lists "/nonexistent";\n')
    program = (
        "import subprocess, sys, os\n"
        "from pathlib import Path\n"
        "from changeover.lab.programs import find_binaries\n"
        "found = find_binaries(print, machine=Path('/nonexistent'))\n"
        "find_binaries(print, machine=Path('/nonexistent'))\n"
        "subprocess.run([found.postgresql / 'initdb', '--no-sync', '-D', os.environ['HOME'] + '/data'],\n"
        "    env={**os.environ, **found.environment}, check=True, stdout=subprocess.DEVNULL)\n"
    )
    done = nobody.run("-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("downloading") == 1
