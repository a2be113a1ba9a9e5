"""Pure builders of the shell lines that close, open and look; each is one line for the host, done as a whole."""

from shlex import quote

from changeover.drivers.nftables.ruleset import DIRECTORY, NFT, WANTS, Gate, removal, unit

NONE = "none"


_NEEDED = (
    f"[ -x {NFT} ] || {{ echo 'nftables is not installed there ({NFT})' >&2; exit 1; }}",
    "[ -d /run/systemd/system ] || { echo 'systemd does not run there: nothing would close the gate at boot' >&2; exit 1; }",
)


def requirements() -> str:
    """Print what nftables calls itself; the complaint names what is missing."""
    return "\n".join([*_NEEDED, "nft list tables >/dev/null && nft --version"])


def close(gate: Gate) -> str:
    """Put the ruleset, which is on the host already, into force now and for every boot to come.

    First for the boots: a host that dies in between comes up closed.
    """
    return "\n".join(
        [
            "set -e",
            *_NEEDED,
            f"nft -c -f {gate.rules}",
            "umask 022",
            f"mkdir -p {WANTS}",
            f"printf %s {quote(unit(gate))} >{gate.unit}.new",
            f"mv {gate.unit}.new {gate.unit}",
            f"ln -sfn {gate.unit} {gate.wanted}",
            f"sync {gate.rules} {gate.unit} {DIRECTORY} {WANTS}",
            f"nft -f {gate.rules}",
        ]
    )


def open_again(gate: Gate) -> str:
    """Take it all away. First what closes it at boot: a host that dies in between comes up open."""
    return "\n".join(
        [
            "set -e",
            f"rm -f {gate.wanted} {gate.unit} {gate.unit}.new {gate.rules}",
            f"[ ! -d {WANTS} ] || sync {WANTS}",
            f"[ ! -d {DIRECTORY} ] || rmdir --ignore-fail-on-non-empty {DIRECTORY}",
            f"printf %s {quote(removal(gate))} | nft -f -",
        ]
    )


def look(gate: Gate) -> str:
    """Print the ruleset and the unit in base64, where the link leads, and then what is in force."""
    return "\n".join(
        [
            f'kept() {{ if [ -e "$1" ]; then base64 -w 0 "$1" && echo; else echo {NONE}; fi; }}',
            f"kept {gate.rules} && kept {gate.unit} || exit",
            f"readlink {gate.wanted} || echo {NONE}",
            f"nft list tables inet | grep -qxF {quote(f'table inet {gate.table}')} || {{ nft list tables inet >/dev/null && echo {NONE}; exit; }}",
            f"nft -nn -j list table inet {gate.table}",
        ]
    )


def conductor() -> str:
    """Print from where the SSH connection comes, and where it goes: address and port, twice."""
    return 'printf %s "$SSH_CONNECTION"'
