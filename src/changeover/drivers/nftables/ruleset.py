"""Pure builders of what a closed gate consists of on its host: a table of nftables, and what loads it at each boot.

The table has chains of its own and never touches another's; what it does not turn away goes on to those as before.
Packets are judged before any other redirection, so that ports that containers publish are closed, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

Network = IPv4Network | IPv6Network

FILTER_PRIORITY = -160
"""After the tracking of connections (-200), before `mangle` (-150) and every usual redirection (-100)."""

REDIRECT_PRIORITY = -110
"""Before the redirections of others, which containers have."""

BEGINS = "tcp flags & (fin | syn | rst | ack) == syn"
NFT = "/usr/sbin/nft"
DIRECTORY = "/etc/changeover"
UNITS = "/etc/systemd/system"
WANTS = f"{UNITS}/sysinit.target.wants"

ITSELF = "from the host itself"
ELSEWHERE = "not to this host"
OTHER_PROTOCOL = "neither TCP nor UDP"
OTHER_PORT = "another port"
CONDUCTOR = "the conductor"
ALLOWED = "let in at this port"
ENDS = "ends a connection"
TO_PAGE = "begins a connection: to the page"
WITH_PAGE = "a connection with the page"
BEGUN = "was begun before"
BEGINS_HERE = "begins here"
OWN = "was begun here"
NOT_UDP = "turned away, UDP"
TURNED_AWAY = "turned away"


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate as one host has it. `closed` are the public ports and those that only the allowlist names.

    `allowed`: port → networks that come in there; `conductor`: those that come in everywhere. `page` is 0 for none.
    """

    site: str
    name: str
    public: tuple[int, ...]
    closed: tuple[int, ...]
    allowed: Mapping[int, tuple[Network, ...]]
    page: int
    cut: bool
    conductor: tuple[Network, ...] = ()

    @property
    def table(self) -> str:
        """The table's name; nftables knows no dashes in names, and our names no slashes."""
        return f"changeover_{self.site}_{self.name}".replace("-", "/")

    @property
    def label(self) -> str:
        """What its files are called."""
        return f"changeover-{self.site}-{self.name}"

    @property
    def rules(self) -> str:
        """Where the ruleset is kept for the next boot."""
        return f"{DIRECTORY}/{self.label}.nft"

    @property
    def unit(self) -> str:
        """Where the unit is that loads it."""
        return f"{UNITS}/{self.label}.service"

    @property
    def wanted(self) -> str:
        """The link by which that unit is started at each boot."""
        return f"{WANTS}/{self.label}.service"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain and its rules, each with the comment by which it is known again."""

    name: str
    rules: tuple[tuple[str, str], ...]
    base: tuple[str, str, int] | None = None

    def __str__(self) -> str:
        """As nftables reads it."""
        lines = [f"\tchain {self.name} {{"]
        if self.base:
            kind, hook, priority = self.base
            lines.append(f"\t\ttype {kind} hook {hook} priority {priority}; policy accept;")
        lines += [f'\t\t{rule} comment "{comment}"' for rule, comment in self.rules]
        return "\n".join([*lines, "\t}"])


def chains(gate: Gate) -> tuple[Chain, ...]:
    """What becomes of a packet: let in, sent to the page, or turned away."""
    to_public = f"tcp dport {_elements(map(str, sorted(gate.public)))}"
    let_in = Chain(
        "let_in",
        (
            ('iif "lo" accept', ITSELF),
            ("fib daddr type != local accept", ELSEWHERE),
            ("meta l4proto != { tcp, udp } accept", OTHER_PROTOCOL),
            ("th dport != @closed accept", OTHER_PORT),
            ("ip saddr @conductor4 accept", CONDUCTOR),
            ("ip6 saddr @conductor6 accept", CONDUCTOR),
            ("th dport . ip saddr @allowed4 accept", ALLOWED),
            ("th dport . ip6 saddr @allowed6 accept", ALLOWED),
        ),
    )
    arriving = [("jump let_in", "or not"), ("tcp flags & rst == rst accept", ENDS)]
    if gate.page:
        arriving.append((f"{to_public} {BEGINS} accept", TO_PAGE))
        arriving.append((f"meta l4proto tcp ct reply proto-src {gate.page} accept", WITH_PAGE))
    if not gate.cut:
        arriving.append(("tcp flags & (fin | syn | rst | ack) != syn accept", BEGUN))
    arriving.append(("meta l4proto udp reject", NOT_UDP))
    arriving.append(("meta l4proto tcp reject with tcp reset", TURNED_AWAY))
    made = [let_in, Chain("arriving", tuple(arriving), ("filter", "prerouting", FILTER_PRIORITY))]
    if gate.page:
        redirect = ("jump let_in", "or not"), (f"{to_public} {BEGINS} redirect to :{gate.page}", TO_PAGE)
        made.append(Chain("redirecting", redirect, ("nat", "prerouting", REDIRECT_PRIORITY)))
    if gate.cut:
        leaving = (
            ('oif "lo" accept', ITSELF),
            ("meta l4proto != tcp accept", OTHER_PROTOCOL),
            ("tcp sport != @closed accept", OTHER_PORT),
            (f"{BEGINS} accept", BEGINS_HERE),
            ("ct state established ct direction original accept", OWN),
            ("ip daddr @conductor4 accept", CONDUCTOR),
            ("ip6 daddr @conductor6 accept", CONDUCTOR),
            ("tcp sport . ip daddr @allowed4 accept", ALLOWED),
            ("tcp sport . ip6 daddr @allowed6 accept", ALLOWED),
            ("tcp flags & rst == rst accept", ENDS),
            ("meta l4proto tcp reject with tcp reset", TURNED_AWAY),
        )
        made.append(Chain("leaving", leaving, ("filter", "output", FILTER_PRIORITY)))
    return tuple(made)


def sets(gate: Gate) -> Mapping[str, tuple[str, str, frozenset[str]]]:
    """Each set: its type, its flags, and its elements as nftables writes them."""
    allowed = [
        (network, f"{port} . {written(network)}")
        for port, networks in gate.allowed.items()
        for network in networks
    ]
    return {
        "closed": ("inet_service", "", frozenset(map(str, gate.closed))),
        "conductor4": ("ipv4_addr", "", frozenset(written(it) for it in gate.conductor if it.version == 4)),  # noqa: PLR2004
        "conductor6": ("ipv6_addr", "", frozenset(written(it) for it in gate.conductor if it.version == 6)),  # noqa: PLR2004
        "allowed4": (
            "inet_service . ipv4_addr",
            "interval",
            frozenset(text for it, text in allowed if it.version == 4),  # noqa: PLR2004
        ),
        "allowed6": (
            "inet_service . ipv6_addr",
            "interval",
            frozenset(text for it, text in allowed if it.version == 6),  # noqa: PLR2004
        ),
    }


def ruleset(gate: Gate) -> str:
    """The text for `nft -f`: whatever was there of the gate is replaced by it, in one transaction."""
    body = []
    for name, (kind, flags, elements) in sets(gate).items():
        lines = [f"\tset {name} {{", f"\t\ttype {kind}"]
        lines += [f"\t\tflags {flags}"] if flags else []
        lines += [f"\t\telements = {_elements(sorted(elements))}"] if elements else []
        body.append("\n".join([*lines, "\t}"]))
    body += map(str, chains(gate))
    table = f"table inet {gate.table}"
    return f"{removal(gate)}{table} {{\n" + "\n\n".join(body) + "\n}\n"


def removal(gate: Gate) -> str:
    """The text for `nft -f` after which nothing is there of the gate, whether or not anything was."""
    table = f"table inet {gate.table}"
    return f"{table}\ndelete {table}\n"


def unit(gate: Gate) -> str:
    """The unit that closes the gate again at each boot, before there is a network."""
    return (
        "[Unit]\n"
        f"Description=Changeover keeps {gate.site} closed to the public (access gate {gate.name})\n"
        "DefaultDependencies=no\n"
        "After=nftables.service\n"
        "Wants=network-pre.target\n"
        "Before=network-pre.target shutdown.target\n"
        "Conflicts=shutdown.target\n\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        f"ExecStart={NFT} -f {gate.rules}\n"
    )


def networks(addresses: Iterable[str]) -> tuple[Network, ...]:
    """Those addresses and networks, without what another of them holds: an interval is told once."""
    every = [ip_network(address) for address in addresses]
    fours = collapse_addresses(it for it in every if isinstance(it, IPv4Network))
    sixes = collapse_addresses(it for it in every if isinstance(it, IPv6Network))
    return (*fours, *sixes)


def written(network: Network) -> str:
    """As nftables writes it: an address, or a network with its length."""
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _elements(elements: Iterable[str]) -> str:
    return f"{{ {', '.join(elements)} }}"
