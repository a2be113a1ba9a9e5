"""How many hosts a machine can still take: systemd holds inotify instances, and a machine allows root only so many."""

from pathlib import Path

from changeover.lab.errors import LabError

PER_HOST = 5
_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")


def used() -> int:
    """Count root's inotify instances on this machine."""
    count = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if process.stat().st_uid == 0:
                count += sum(str(fd.readlink()) == "anon_inode:inotify" for fd in (process / "fd").iterdir())
        except OSError:  # it ended while we looked
            continue
    return count


def require(hosts: int, *, in_use: int, limit: int) -> None:
    """Refuse hosts whose systemd would stand still at its start for want of inotify instances.

    Raises:
        LabError: they do not fit.
    """
    if hosts * PER_HOST + in_use > limit:
        raise LabError(
            f"{hosts} more hosts need {hosts * PER_HOST} inotify instances; {in_use} of {limit} are in use",
            hint="take another lab down (`changeover lab list`), or raise the sysctl fs.inotify.max_user_instances",
        )


def require_room(hosts: int) -> None:
    """Refuse hosts that do not fit on this machine as it is now.

    Raises:
        LabError: they do not fit.
    """
    if hosts:
        require(hosts, in_use=used(), limit=int(_LIMIT.read_text()))
