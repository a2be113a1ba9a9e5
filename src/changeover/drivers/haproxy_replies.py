"""What HAProxy's runtime API prints, read into values. Pure; the texts are those of HAProxy 2.6.12."""

import csv
from collections.abc import Mapping

from changeover.ports import AdminState, ServerState

FORCED_MAINT, INHERITED_MAINT, FORCED_DRAIN, INHERITED_DRAIN, RESOLUTION_MAINT = 0x01, 0x02, 0x08, 0x10, 0x20
"""Bits of `srv_admin_state` (management.txt, `show servers state`). 0x04 only says that the configuration
began with `disabled`, and stays set when the server has been made ready since."""

MAINT = FORCED_MAINT | INHERITED_MAINT | RESOLUTION_MAINT
DRAIN = FORCED_DRAIN | INHERITED_DRAIN

SERVING = ("UP", "DRAIN", "no check")
"""First words of `status` for a server that its own check, if it has one, finds well.

The others: `DOWN`, also on its way up (`DOWN 1/2`); `MAINT`, in which nothing is checked, also by way of a
server it tracks (`MAINT (via pool/app1)`); and `NOLB`, whose check answered 404 (`disable-on-404`): it wants
no new sessions.
"""


def parse_info(text: str) -> dict[str, str]:
    """`show info`: a `Name: value` on each line."""
    return {
        name: value for name, colon, value in (line.partition(": ") for line in text.splitlines()) if colon
    }


def parse_stat(text: str) -> list[dict[str, str]]:
    """`show stat`: CSV whose first line, after `# `, names the columns."""
    return list(csv.DictReader(text.removeprefix("# ").splitlines()))


def parse_servers_state(text: str) -> dict[str, dict[str, str]]:
    """`show servers state POOL`: a version, the names of the columns after `# `, a line for each server."""
    _, header, *lines = text.splitlines()
    names = header.removeprefix("# ").split()
    rows = [dict(zip(names, line.split(), strict=False)) for line in lines if line]
    return {row["srv_name"]: row for row in rows}


def server_states(pool: str, stat: str, servers_state: str) -> Mapping[str, ServerState]:
    """Every server of the pool, from both replies.

    `show stat` counts, and shows what the health check found; but a drained server that is down is a plain
    `DOWN` there, so what it was told is read from `show servers state`.
    """
    told = parse_servers_state(servers_state)
    return {
        row["svname"]: _server(row, told[row["svname"]])
        for row in parse_stat(stat)
        if row["pxname"] == pool and row["svname"] in told
    }


def _server(row: Mapping[str, str], told: Mapping[str, str]) -> ServerState:
    return ServerState(
        name=row["svname"],
        admin=_admin(int(told["srv_admin_state"]), int(told["srv_uweight"])),
        up=row["status"].startswith(SERVING),
        sessions=int(row["scur"] or 0),
        queued=int(row["qcur"] or 0),
        idle=int(row["lastsess"] or -1),
        address=row.get("addr", ""),
        check=_check(row),
    )


def _admin(bits: int, weight: int) -> AdminState:
    if bits & MAINT:
        return AdminState.MAINT
    # A server of weight 0 is sent no new sessions, whatever it was told.
    return AdminState.DRAIN if bits & DRAIN or weight == 0 else AdminState.READY


def _check(row: Mapping[str, str]) -> str:
    """As in `DOWN, L4CON: Connection refused`, `UP 1/3, L7OK 200`, `no check`, `MAINT (via pool/app1)`."""
    result = " ".join(part for part in (row["check_status"].removeprefix("* "), row["check_code"]) if part)
    words = ": ".join(part for part in (result, row["last_chk"]) if part)
    return ", ".join(part for part in (row["status"], words) if part)
