"""What HAProxy 2.6.12 printed, read into values; the contract test sees it print such."""

import pytest

from changeover.drivers.haproxy_replies import parse_info, server_states
from changeover.ports import AdminState

STAT_HEADER = "# pxname,svname,qcur,scur,status,check_status,check_code,lastsess,last_chk,addr,"
TOLD_HEADER = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"


def read(stat: str, bits: int = 0, weight: int = 1) -> tuple[AdminState, bool, str]:
    """One server's state from a line of `show stat` without its names, and two fields of `show servers state`."""
    told = f"{TOLD_HEADER}\n3 identity 1 app1 127.0.0.1 2 {bits} {weight}"
    states = server_states(
        "identity", f"{STAT_HEADER}\nidentity,app1,{stat}\nidentity,app2,{stat}\nother,app1,{stat}", told
    )
    assert list(states) == ["app1"]
    state = states["app1"]
    return state.admin, state.up, state.check


@pytest.mark.parametrize(
    ("status", "up"),
    [
        ("UP", True),
        ("UP 1/3", True),
        ("DRAIN", True),
        ("DRAIN 1/3", True),
        ("no check", True),
        ("DOWN", False),
        ("DOWN 1/2", False),
        ("DOWN (agent)", False),
        ("MAINT", False),
        ("MAINT (via identity/app2)", False),
        ("MAINT (resolution)", False),
        ("NOLB", False),
        ("NOLB 1/3", False),
    ],
)
def test_every_status_is_up_or_not(status: str, up: bool) -> None:
    """Up: it serves what it is sent, and is content to be sent more."""
    assert read(f"0,0,{status},,,-1,,,") == (AdminState.READY, up, status)


@pytest.mark.parametrize(
    ("bits", "weight", "admin"),
    [
        (0x00, 1, "ready"),
        (0x01, 1, "maint"),
        (0x02, 1, "maint"),
        (0x20, 1, "maint"),
        (0x05, 1, "maint"),
        (0x04, 1, "ready"),
        (0x08, 1, "drain"),
        (0x10, 1, "drain"),
        (0x18, 1, "drain"),
        (0x09, 1, "maint"),
        (0x00, 0, "drain"),
    ],
)
def test_what_it_was_told_is_in_bits(bits: int, weight: int, admin: str) -> None:
    """Forced or inherited; `disabled` in the configuration is history once it was made ready."""
    assert read("0,0,DOWN,L4CON,,-1,,,", bits, weight)[0] == admin


def test_the_check_is_told_in_full() -> None:
    """Status, result, code, and what was seen; a check under way is marked with a star, which is left out."""
    assert read("0,0,DOWN,* L7STS,503,-1,Service Unavailable,,")[2] == "DOWN, L7STS 503: Service Unavailable"


def test_numbers() -> None:
    """Sessions, queue, idle seconds and address, from the columns of these names."""
    told = f"{TOLD_HEADER}\n3 identity 1 app1 127.0.0.1 2 0 1"
    state = server_states("identity", f"{STAT_HEADER}\nidentity,app1,2,17,UP,,,5,,10.0.0.1:80,", told)["app1"]
    assert (state.queued, state.sessions, state.idle, state.address) == (2, 17, 5, "10.0.0.1:80")


def test_info() -> None:
    """Names and values; lines that are neither are passed over."""
    assert parse_info("Name: HAProxy\nUptime: 0d 0h00m02s\n\nStopping: 0\n") == {
        "Name": "HAProxy",
        "Uptime": "0d 0h00m02s",
        "Stopping": "0",
    }
