"""What a systemd unit is told and asked: pure builders of systemctl lines, and what they print."""

import shlex
from dataclasses import dataclass

VERBS = frozenset({"start", "stop", "restart", "reload"})
"""The capabilities that are systemctl's own words."""

STARTS = frozenset({"start", "restart"})

PROPERTIES = ("LoadState", "ActiveState", "SubState", "MainPID", "NRestarts", "Result", "ExecMainStatus")

LOG_LINES = 5

ALIVE = frozenset({"active", "reloading", "deactivating", "activating"})
"""`ActiveState` of a unit that has processes, or is about to (systemctl(1)). A unit between two of its
automatic restarts is *activating* too, with the `SubState` *auto-restart*: that one has none."""


def tell(verb: str, unit: str) -> str:
    """Do it and print the unit's state; when it fails, the end of the unit's log goes to standard error.

    systemctl returns when the job has ended, after the unit's own TimeoutStartSec or TimeoutStopSec at the latest.
    A unit that has failed too often is refused its start (systemd.unit(5), StartLimitBurst): what the new version
    has used up must not keep the old one from starting.
    """
    name = shlex.quote(unit)
    forget = f"systemctl reset-failed -- {name} 2>/dev/null; " if verb in STARTS else ""
    log = f"journalctl --unit={name} --lines={LOG_LINES} --no-pager --output=cat >&2"
    return f"{forget}systemctl {shlex.quote(verb)} -- {name} || {{ status=$?; {log}; exit $status; }}; {show(unit)}"


def show(unit: str) -> str:
    """Print the properties that tell how the unit is, a `Name=value` on each line; a unit that is unknown too."""
    return f"systemctl show --property={','.join(PROPERTIES)} -- {shlex.quote(unit)}"


@dataclass(frozen=True, slots=True)
class UnitState:
    """What `systemctl show` says of a unit."""

    properties: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> "UnitState":
        """Read its output."""
        return cls(dict(line.split("=", 1) for line in text.splitlines() if "=" in line))

    @property
    def loaded(self) -> bool:
        """Whether there is such a unit."""
        return self.properties.get("LoadState") == "loaded"

    @property
    def active(self) -> str:
        """Its `ActiveState`."""
        return self.properties.get("ActiveState", "")

    @property
    def running(self) -> bool:
        """Whether it has processes, or is about to: one that is still stopping runs."""
        return self.active in ALIVE and self.properties.get("SubState") != "auto-restart"

    def __str__(self) -> str:
        """As in `active (running), process 411`, `failed (failed): exit-code 1`, with the restarts if there were any."""
        get = self.properties.get
        text = f"{self.active} ({get('SubState')})"
        if get("MainPID", "0") != "0":
            text += f", process {get('MainPID')}"
        if get("Result", "success") != "success":
            text += f": {get('Result')} {get('ExecMainStatus')}"
        restarts = get("NRestarts", "0")
        return text if restarts == "0" else f"{text}, restarted by systemd {restarts} times"
