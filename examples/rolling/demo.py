"""The demonstration: the commands that an operator would type, under load, with a receipt at the end.

It upgrades the lab from v1 to v2 twice; the second time the conductor is killed in the middle and resumed.
It leaves nothing running, after Ctrl-C neither.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

HERE = Path(__file__).parent
CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
RATE = 200
KILL_AFTER = 31
"""How many steps are done when the conductor is killed: in the middle of the second node."""


def demo(*, embedded: bool = False, name: str = "demo", nodes: int = 4) -> None:
    """Upgrade a small cluster under load, twice: once undisturbed, once with the conductor killed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if os.environ.get("CHANGEOVER_DEMO"):
        inside()
        return
    begun = time.monotonic()
    form = ["--embedded"] if embedded else []
    try:
        command("lab", "up", "--name", name, "--nodes", str(nodes), *form)
        environment = os.environ | {"CHANGEOVER_DEMO": "inside"}
        line = [CHANGEOVER, "lab", "exec", "--name", name, "--", sys.executable, __file__]
        ended = subprocess.run(line, check=False, env=environment).returncode
    except KeyboardInterrupt:
        ended = 130
    finally:
        command("lab", "down", "--name", name)
    print(f"\nThe demonstration took {time.monotonic() - begun:.0f} s and has left nothing running.")
    raise typer.Exit(ended)


def inside() -> None:
    """Both upgrades, from within the lab's network."""
    directory = Path(os.environ["CHANGEOVER_LAB_DIRECTORY"])
    lab = json.loads(subprocess.run([CHANGEOVER, "lab", "site"], check=True, capture_output=True).stdout)
    url = lab["balancer"]["url"]

    title("An upgrade of four nodes under load")
    with load(url, directory / "probes" / "undisturbed.jsonl"):
        command("check")
        plan = str(directory / "plan.json")
        command("plan", "-o", plan)
        command("run", plan, "--reason", "demonstration")
    receipt()
    command("finalize", "--reason", "the receipt is clean")

    title("The same, with the conductor killed in the middle")
    command("lab", "reset")
    with load(url, directory / "probes" / "killed.jsonl"):
        with begin("run", "--yes", "--reason", "demonstration of a crash") as conductor:
            wait(lambda: steps_done() >= KILL_AFTER, "the second node's turn", conductor)
            conductor.send_signal(signal.SIGKILL)
        print(f"\n*** the conductor, process {conductor.pid}, was killed with SIGKILL ***")
        command("status", allowed=(0, 3))
        command("resume")
    receipt()


def title(text: str) -> None:
    """Say what comes next."""
    print(f"\n{'=' * 78}\n{text}\n{'=' * 78}", flush=True)


def command(*arguments: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run one command as an operator would; another exit code than those allowed ends the demonstration."""
    print(f"\n$ changeover {' '.join(arguments)}", flush=True)
    code = subprocess.run([CHANGEOVER, *arguments], check=False).returncode
    if code not in allowed:
        raise typer.Exit(code)


def receipt() -> None:
    """Print the report; anything that was lost, or that nobody measured, ends the demonstration."""
    command("report")
    line = [CHANGEOVER, "report", "--json"]
    report = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
    problems = blemishes(report["total"])
    if problems:
        raise SystemExit(f"demo: the receipt is not clean: {'; '.join(problems)}")


def blemishes(cost: dict[str, Any]) -> list[str]:
    """What keeps a receipt from being clean, a sentence each; in the JSON, what is zero or empty is left out."""
    found: list[str] = []
    for loss in (cost["requests"], cost["sessions"], cost["writes"]):
        if loss["seen"] is None or "note" in loss:
            found.append(f"{loss['what']}: not wholly measured ({loss.get('note', 'no ledger')})")
        if loss["seen"]:
            found.append(f"{loss['what']}: {loss['seen']}")
    found += [f"{what}: none at all" for what in ("sent", "opened", "acknowledged") if not cost.get(what)]
    return found


class begin:  # noqa: N801 - reads as what it does
    """Begin a command; on the way out it is ended if it still runs."""

    def __init__(self, *arguments: str, quiet: Path | None = None) -> None:
        print(f"\n$ changeover {' '.join(arguments)}{' &' if quiet else ''}", flush=True)
        output = quiet.open("wb") if quiet else None
        self._process = subprocess.Popen([CHANGEOVER, *arguments], stdout=output, stderr=output)

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)


class load(begin):  # noqa: N801 - reads as what it does
    """Sessions and writes at a constant rate, whatever the site does, until the block ends."""

    def __init__(self, url: str, ledger: Path) -> None:
        ledger.parent.mkdir(exist_ok=True)
        log = ledger.with_suffix(".log")
        super().__init__(
            "probe", url, "--profile", "lab", "--rate", str(RATE), "--ledger", str(ledger), quiet=log
        )
        wait(lambda: ledger.exists() and ledger.stat().st_size > 0, "the probe to send", self._process)


def steps_done() -> int:
    """How many steps of the run under way are done, by what `status` says."""
    out = subprocess.run([CHANGEOVER, "status", "--json"], check=False, capture_output=True).stdout
    status: dict[str, Any] = json.loads(out) if out else {}
    if status.get("state") != "running":
        return 0
    return sum(step["state"] == "done" for step in status["steps"].values())


def wait(condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes]) -> None:
    """Return when it holds; end the demonstration if the process ends before, or after a minute."""
    for _ in range(600):
        if condition():
            return
        if process.poll() is not None:
            raise SystemExit(
                f"demo: waited for {what}, but process {process.pid} ended with {process.returncode}"
            )
        time.sleep(0.1)
    raise SystemExit(f"demo: waited a minute for {what}")


if __name__ == "__main__":
    typer.run(demo)
