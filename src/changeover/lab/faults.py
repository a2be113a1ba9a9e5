"""What can befall a host of the lab."""

from enum import StrEnum


class Fault(StrEnum):
    """Power cut, every process frozen, cable out, disk full."""

    POWER = "power"
    FREEZE = "freeze"
    LINK = "link"
    DISK = "disk"


FILLER = "/var/tmp/lab-filler"  # noqa: S108  # inside a host

# Runs on the host. Blocks are allocated, not written: what is written late would leave some free. Ever smaller
# pieces, until not one block is left for anybody.
FILL = f"""
: >>{FILLER}
for piece in 256M 16M 1M 64K 4K; do
    while fallocate --offset "$(stat -c %s {FILLER})" --length $piece {FILLER} 2>/dev/null; do :; done
done
! echo full >/var/tmp/lab-probe 2>/dev/null
"""
