"""Which form of the lab this machine allows, and why."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from changeover.lab.cgroup import Cgroup, unified_root
from changeover.lab.layout import Form


@dataclass(frozen=True)
class Choice:
    """A form of the lab and the reason for it, as one clause."""

    form: Form
    reason: str


def choose_form() -> Choice:
    """Return the form that is possible here: hosts where everything they need has been tried, else embedded."""
    obstacle = _obstacle()
    if obstacle:
        return Choice(Form.EMBEDDED, obstacle)
    return Choice(Form.HOSTS, "root, namespaces, control groups and loop devices are to be had here")


def _obstacle() -> str | None:
    if os.geteuid():
        return "not root"
    root = unified_root()
    if root is None:
        return "cgroup version 2 is not mounted"
    probe = Cgroup(root / f"changeover-probe-{os.getpid()}")
    try:
        probe.create()
        killable = (probe.path / "cgroup.kill").exists()
        probe.path.rmdir()
    except OSError as error:
        return f"no control group may be made: {error.strerror}"
    if not killable:
        return "the kernel is older than 5.14 and cannot kill a control group"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    command = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"namespaces are refused: {done.stderr.strip()}" if done.returncode else None
