"""The MLflow example, run as its README says: refused and taken back, then there to stay. Slow to install: on demand."""

import os
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "mlflow"

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(
        "CHANGEOVER_MLFLOW" not in os.environ,
        reason="its releases take minutes to install; CHANGEOVER_MLFLOW=1 runs it",
    ),
]


@pytest.mark.parametrize("arguments", [["--refuse"], []], ids=["there and back", "there"])
def test_the_example_ends_as_it_should(arguments: list[str]) -> None:
    """It ends with an error where a write is lost, or where anything is not as it was after a way back."""
    done = subprocess.run(
        [str(EXAMPLE / "run"), *arguments],
        env=os.environ | {"CHANGEOVER_LAB": f"mlflow-{os.getpid()}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    said = "the site is as it was" if arguments else "every node runs 3.17.2 and is well"
    assert said in done.stdout
