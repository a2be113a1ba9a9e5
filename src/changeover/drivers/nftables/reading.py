"""Reading `nft -j list table`: what of a gate a host has, whoever has changed it since."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from changeover.drivers.nftables.ruleset import Chain, Gate, Network, chains, sets


@dataclass
class Table:
    """A table as nftables lists it: the elements of each set, the comments of each chain's rules, and its hook."""

    sets: dict[str, frozenset[str]] = field(default_factory=dict)
    rules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hooks: dict[str, tuple[str, str, int] | None] = field(default_factory=dict)

    @property
    def conductor(self) -> tuple[Network, ...]:
        """The addresses that come in everywhere."""
        return tuple(
            ip_network(address)
            for name in ("conductor4", "conductor6")
            for address in sorted(self.sets.get(name, ()))
        )


def parse_table(text: str) -> Table:
    """The table; `ValueError` if that is not what nftables lists."""
    table = Table()
    try:
        for item in json.loads(text)["nftables"]:
            _read(item, table)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a listing of nftables: {error!r}") from None
    return table


def differences(gate: Gate, table: Table) -> tuple[str, ...]:
    """What is not as the closed gate has it, the conductor's addresses aside."""
    found = []
    for name, (_, _, elements) in sets(gate).items():
        if name.startswith("conductor"):
            continue
        there = table.sets.get(name, frozenset())
        found += [f"{element} is no longer in {name}" for element in sorted(elements - there)]
        found += [f"{element} was put into {name}" for element in sorted(there - elements)]
    wanted = {chain.name: chain for chain in chains(gate)}
    for chain in wanted.values():
        found += _chain_differences(chain, table)
    found += [f"a chain {name} was added" for name in table.rules if name not in wanted]
    return tuple(found)


def _chain_differences(chain: Chain, table: Table) -> Iterable[str]:
    if chain.name not in table.rules:
        yield f"the chain {chain.name} is gone"
    elif table.hooks[chain.name] != chain.base:
        yield f"the chain {chain.name} hangs at another place"
    elif table.rules[chain.name] != tuple(comment for _, comment in chain.rules):
        yield f"the rules of the chain {chain.name} were changed"


def _read(item: Mapping[str, Any], table: Table) -> None:
    match item:
        case {"set": it}:
            table.sets[it["name"]] = frozenset(_element(element) for element in it.get("elem", ()))
        case {"chain": it}:
            hook = (
                (it["type"], it["hook"], it["prio"])
                if "hook" in it and it.get("policy") == "accept"
                else None
            )
            table.hooks[it["name"]] = hook
            table.rules.setdefault(it["name"], ())
        case {"rule": it}:
            rules = table.rules.get(it["chain"], ())
            table.rules[it["chain"]] = (*rules, it.get("comment", ""))


def _element(element: object) -> str:
    match element:
        case {"concat": parts}:
            return " . ".join(map(_element, parts))
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case {"elem": {"val": value}}:
            return _element(value)
        case _:
            return str(element)
