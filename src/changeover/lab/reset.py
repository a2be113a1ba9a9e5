"""Scripts that put a running host back to what it was at its first boot; each takes the host's seed on stdin."""

from importlib import resources

from changeover.lab.database import SETUP_COMMANDS, reset_sql
from changeover.lab.layout import DatabaseKind, Role

SNAPSHOTS = "/var/lib/changeover/snapshots"
"""Where an operator's file lets them lie if it does not say: they are of databases that are gone then."""

STOP_APP = """\
nft flush ruleset
systemctl kill --signal=KILL lab-app.service 2>/dev/null || :
systemctl stop lab-app.service
"""

START_APP = """\
set -e
rm -rf /opt/app /etc/app
tar -xpf - -C / opt/app etc/app
systemctl reset-failed lab-app.service 2>/dev/null || :
systemctl start lab-app.service
"""

# Stopped first: it saves its servers' states when it stops, and the seed must have the last word.
BALANCER = """\
nft flush ruleset
systemctl stop haproxy.service
set -e
tar -xpf - -C / etc/haproxy var/lib/haproxy
systemctl reset-failed haproxy.service 2>/dev/null || :
systemctl start haproxy.service
"""


def _clear_postgresql() -> str:
    psql = "runuser -u postgres -- psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 >/dev/null"
    return f"systemctl start postgresql@15-main.service\n{psql} <<'SQL'\n{reset_sql()}SQL\n"


def _clear_mariadb() -> str:
    return (resources.files("changeover.lab") / "files" / "reset-mariadb.sh").read_text()


_CLEAR = {DatabaseKind.POSTGRESQL: _clear_postgresql, DatabaseKind.MARIADB: _clear_mariadb}


def database_script(kind: DatabaseKind) -> str:
    """Return the script that leaves nothing in the database server but the application's first schema."""
    if kind is DatabaseKind.NONE:
        return "nft flush ruleset\n"
    return f"nft flush ruleset\nrm -rf {SNAPSHOTS}\nset -e\n{_CLEAR[kind]()}{SETUP_COMMANDS[kind]}\n"


def scripts(kind: DatabaseKind) -> list[dict[Role, str]]:
    """Return what to run in which order: the scripts of one entry may run at once on all hosts of their roles."""
    return [
        {Role.APP: STOP_APP},
        {Role.DATABASE: database_script(kind), Role.BALANCER: BALANCER},
        {Role.APP: START_APP},
    ]
