"""The import rules leave out nothing by oversight; `lint-imports` holds the code to them."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

import changeover

ROOT = Path(__file__).parents[2]

CONTRACTS: dict[str, dict[str, Any]] = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}

MODULES = frozenset(
    f"changeover.{found.stem}"
    for found in Path(changeover.__file__).parent.iterdir()
    if (found.suffix == ".py" or (found / "__init__.py").exists()) and not found.stem.startswith("_")
)

EXCEPTED = {
    "Data flows one way: terminal, conductor, engine, actions, ports, model": {"lab", "packs"},
    "The lab knows nothing of the rest": set(),
    "Only the terminal and the rehearsal on a lab know the lab": {"cli", "labrehearsal"},
    "Spec, strategies, interlocks and the way back are made of the model alone": {"errors", "model", "packs"},
    "Drivers and the simulation know ports and model, not what is done with them": {"errors", "model", "ports"},
    "The probe depends on nothing that it measures": {"errors", "model"},
    "A rehearsal takes a plan as it is, and never leaves the simulated site": {
        "actions", "checks", "engine", "errors", "fallback", "foresight", "interlocks", "model", "ports", "simulation",
    },
    "The engine knows no strategy, no spec and no driver": {
        "actions", "checks", "errors", "fallback", "foresight", "interlocks", "model", "ports",
    },
}  # fmt: skip
"""Contract → the modules that it does not speak of, on purpose."""


def _spoken_of(contract: dict[str, Any]) -> set[str]:
    layers = {name.strip() for layer in contract.get("layers", ()) for name in layer.split("|")}
    return layers.union(contract.get("source_modules", ()), contract.get("forbidden_modules", ()))


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_module_is_in_each_contract_or_excepted_by_name(name: str) -> None:
    """A new module is not forgotten in one of them, and none of what they name has gone."""
    excepted = {f"changeover.{module}" for module in EXCEPTED[name]}
    spoken_of = _spoken_of(CONTRACTS[name])
    assert spoken_of | excepted == MODULES
    assert not spoken_of & excepted


def test_every_contract_says_what_it_leaves_out() -> None:
    """One that has gone is not excepted from."""
    assert EXCEPTED.keys() == CONTRACTS.keys()
