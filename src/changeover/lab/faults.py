"""What can befall a host of the lab."""

from enum import StrEnum


class Fault(StrEnum):
    """Power cut, every process frozen, cable out, disk full."""

    POWER = "power"
    FREEZE = "freeze"
    LINK = "link"
    DISK = "disk"


FILLER = "/var/tmp/lab-filler"  # noqa: S108  # inside a host

# Runs on the host. Takes all but a little at once, writes until the last block is gone, and makes sure of it.
FILL = f"""
free=$(df --output=avail -B1 / | tail -n 1)
fallocate -l $((free - 4194304)) {FILLER} || true
cat /dev/zero >>{FILLER} 2>/dev/null
! echo full >>{FILLER} 2>/dev/null
"""
