"""The demonstration ends well only with a clean receipt."""

import runpy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from changeover.model.plan import Promise
from changeover.report.receipt import Cost, Loss, Window, cost

DEMO = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "rolling" / "demo.py"))
WINDOW = Window(0, 60)
CLEAN = Cost(
    (WINDOW,),
    Loss("requests failed", 0, 0),
    Loss("sessions cut", 0, 0),
    Loss("acknowledged writes lost", 0, 0),
    sent=1,
    opened=1,
    acknowledged=1,
)


def blemishes(receipt: Cost) -> list[str]:
    """What the demonstration finds in the report's JSON."""
    found: list[str] = DEMO["blemishes"](msgspec.to_builtins(receipt))
    return found


def test_a_receipt_without_loss_is_clean() -> None:
    """Everything measured, nothing lost."""
    assert blemishes(CLEAN) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"writes": Loss("acknowledged writes lost", 2, 0)}, ["acknowledged writes lost: 2"]),
        ({"requests": Loss("requests failed", 0, 0, "3 s of 60 s")}, ["requests failed: not wholly measured (3 s of 60 s)"]),
        ({"sent": 0}, ["sent: none at all"]),
    ],
    ids=["lost", "measured in part", "nothing sent"],
)  # fmt: skip
def test_a_loss_or_a_gap_is_told(change: dict[str, Any], said: list[str]) -> None:
    """Each is a blemish of its own."""
    assert blemishes(msgspec.structs.replace(CLEAN, **change)) == said


def test_a_receipt_without_a_ledger_is_not_clean() -> None:
    """Where nobody looked nothing counts as zero."""
    assert len(blemishes(cost([], [WINDOW], Promise()))) == 6
