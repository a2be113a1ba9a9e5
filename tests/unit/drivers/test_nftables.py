"""What is written for nftables, to the letter, and how its listing is read."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.drivers.nftables.reading import differences, parse_table
from changeover.drivers.nftables.ruleset import Gate, networks, removal, ruleset, unit

GATE = Gate(
    site="campus-1",
    name="public",
    public=(8443, 8080),
    closed=(8080, 8443, 9000),
    allowed={8443: networks(["10.0.0.5", "192.168.1.0/24", "2001:db8::/48"]), 9000: networks(["10.0.0.5"])},
    page=8081,
    cut=True,
    conductor=networks(["10.0.0.1"]),
)

SETS = """\
	set closed {
		type inet_service
		elements = { 8080, 8443, 9000 }
	}

	set conductor4 {
		type ipv4_addr
		elements = { 10.0.0.1 }
	}

	set conductor6 {
		type ipv6_addr
	}

	set allowed4 {
		type inet_service . ipv4_addr
		flags interval
		elements = { 8443 . 10.0.0.5, 8443 . 192.168.1.0/24, 9000 . 10.0.0.5 }
	}

	set allowed6 {
		type inet_service . ipv6_addr
		flags interval
		elements = { 8443 . 2001:db8::/48 }
	}

	chain let_in {
		iif "lo" accept comment "from the host itself"
		fib daddr type != local accept comment "not to this host"
		meta l4proto != { tcp, udp } accept comment "neither TCP nor UDP"
		th dport != @closed accept comment "another port"
		ip saddr @conductor4 accept comment "the conductor"
		ip6 saddr @conductor6 accept comment "the conductor"
		th dport . ip saddr @allowed4 accept comment "let in at this port"
		th dport . ip6 saddr @allowed6 accept comment "let in at this port"
	}
"""

CUT_WITH_PAGE = f"""\
table inet changeover_campus/1_public
delete table inet changeover_campus/1_public
table inet changeover_campus/1_public {{
{SETS}
	chain arriving {{
		type filter hook prerouting priority -160; policy accept;
		jump let_in comment "or not"
		tcp flags & rst == rst accept comment "ends a connection"
		tcp dport {{ 8080, 8443 }} tcp flags & (fin | syn | rst | ack) == syn accept comment "begins a connection: to the page"
		meta l4proto tcp ct reply proto-src 8081 accept comment "a connection with the page"
		meta l4proto udp reject comment "turned away, UDP"
		meta l4proto tcp reject with tcp reset comment "turned away"
	}}

	chain redirecting {{
		type nat hook prerouting priority -110; policy accept;
		jump let_in comment "or not"
		tcp dport {{ 8080, 8443 }} tcp flags & (fin | syn | rst | ack) == syn redirect to :8081 comment "begins a connection: to the page"
	}}

	chain leaving {{
		type filter hook output priority -160; policy accept;
		oif "lo" accept comment "from the host itself"
		meta l4proto != tcp accept comment "neither TCP nor UDP"
		tcp sport != @closed accept comment "another port"
		tcp flags & (fin | syn | rst | ack) == syn accept comment "begins here"
		ct state established ct direction original accept comment "was begun here"
		ip daddr @conductor4 accept comment "the conductor"
		ip6 daddr @conductor6 accept comment "the conductor"
		tcp sport . ip daddr @allowed4 accept comment "let in at this port"
		tcp sport . ip6 daddr @allowed6 accept comment "let in at this port"
		tcp flags & rst == rst accept comment "ends a connection"
		meta l4proto tcp reject with tcp reset comment "turned away"
	}}
}}
"""

KEPT_WITHOUT_PAGE = f"""\
table inet changeover_campus/1_public
delete table inet changeover_campus/1_public
table inet changeover_campus/1_public {{
{SETS}
	chain arriving {{
		type filter hook prerouting priority -160; policy accept;
		jump let_in comment "or not"
		tcp flags & rst == rst accept comment "ends a connection"
		tcp flags & (fin | syn | rst | ack) != syn accept comment "was begun before"
		meta l4proto udp reject comment "turned away, UDP"
		meta l4proto tcp reject with tcp reset comment "turned away"
	}}
}}
"""

UNIT = """\
[Unit]
Description=Changeover keeps campus-1 closed to the public (access gate public)
DefaultDependencies=no
After=nftables.service
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/changeover/changeover-campus-1-public.nft
"""


@pytest.mark.parametrize(
    ("gate", "text"),
    [(GATE, CUT_WITH_PAGE), (replace(GATE, page=0, cut=False), KEPT_WITHOUT_PAGE)],
    ids=["cut, with a page", "kept, without a page"],
)
def test_the_ruleset_to_the_letter(gate: Gate, text: str) -> None:
    """All of it in one transaction, in place of what was there."""
    assert ruleset(gate) == text


def test_the_unit_to_the_letter() -> None:
    """It comes before there is a network, and after what flushes the ruleset at boot."""
    assert unit(GATE) == UNIT


def test_nothing_is_removed_but_the_table() -> None:
    """Whether or not it is there: it is made first."""
    assert removal(GATE) == (
        "table inet changeover_campus/1_public\ndelete table inet changeover_campus/1_public\n"
    )


NETWORKS = st.builds(
    lambda bits, length: f"{bits[0]}.{bits[1]}.0.0/{length}",
    st.tuples(st.integers(1, 3), st.integers(0, 3)),
    st.integers(16, 24),
)


@given(st.lists(NETWORKS, max_size=8))
def test_an_interval_is_told_once(addresses: list[str]) -> None:
    """Whatever overlaps in what the operator wrote: nftables refuses intervals that do."""
    found = networks(addresses)
    assert not any(one.overlaps(other) for one in found for other in found if one is not other)
    said = [network for address in addresses for network in networks([address])]
    assert all(any(network.subnet_of(it) for it in found) for network in said)  # type: ignore[arg-type]


def listed(*items: object) -> str:
    """As nftables lists it."""
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *items]})


def test_elements_are_read_in_every_form() -> None:
    """A port, an address, a network, a range, two of them at once, and one with a comment."""
    elements = [
        8080,
        {"prefix": {"addr": "10.0.0.0", "len": 8}},
        {"range": ["10.0.0.1", "10.0.0.3"]},
        {"concat": [8443, {"prefix": {"addr": "2001:db8::", "len": 48}}]},
        {"elem": {"val": "10.0.0.9", "comment": "x"}},
    ]
    table = parse_table(listed({"set": {"name": "s", "elem": elements}}, {"set": {"name": "none"}}))
    assert table.sets == {
        "s": {"8080", "10.0.0.0/8", "10.0.0.1-10.0.0.3", "8443 . 2001:db8::/48", "10.0.0.9"},
        "none": frozenset(),
    }


def test_a_table_of_nothing_differs_in_everything() -> None:
    """Every set and every chain is told."""
    told = differences(GATE, parse_table(listed()))
    assert "8080 is no longer in closed" in told
    assert [it for it in told if it.startswith("the chain")] == [
        f"the chain {name} is gone" for name in ("let_in", "arriving", "redirecting", "leaving")
    ]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "no json", '{"nftables": [{"set": {}}]}', '{"nftables": 1}']
)
def test_what_is_no_listing_is_an_error(text: str) -> None:
    """Never a traceback of another kind."""
    with pytest.raises(ValueError):
        parse_table(text)
