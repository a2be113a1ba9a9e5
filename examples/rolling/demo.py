"""The demonstration: the commands that an operator would type, under load, with a receipt at the end.

It upgrades the lab from v1 to v2 twice; the second time the conductor is killed in the middle and resumed.
It leaves nothing running, however it is interrupted.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

CHANGEOVER = str(Path(sys.executable).with_name("changeover"))
RATE = 200
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
KILL_AFTER = 31
"""How many steps are done when the conductor is killed: in the middle of the second node."""


class Interruption:
    """Ctrl-C, SIGTERM, a closed terminal: whatever runs is told to end, nothing more is begun, and cleaning up goes on undisturbed."""

    def __init__(self) -> None:
        self._came = False
        self._running: set[subprocess.Popen[Any]] = set()

    def came(self) -> bool:
        """Whether it has."""
        return self._came

    def listen(self) -> None:
        """Take over the signals."""
        for number in INTERRUPTS:
            signal.signal(number, self._interrupt)

    @contextmanager
    def process(self, line: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
        """Begin a process; on the way out of the block it is ended if it still runs."""
        if self.came():
            raise typer.Exit(INTERRUPTED)
        # In a session of its own: Ctrl-C reaches it through us alone, once.
        process = subprocess.Popen(line, start_new_session=True, **options)
        self._running.add(process)
        try:
            if self.came():
                process.terminate()
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)
            self._running.discard(process)

    def _interrupt(self, *_: object) -> None:
        for number in INTERRUPTS:
            signal.signal(number, signal.SIG_IGN)
        self._came = True
        for process in self._running:
            process.terminate()


interruption = Interruption()


def demo(*, embedded: bool = False, name: str = "demo", nodes: int = 4) -> None:
    """Upgrade a small cluster under load, twice: once undisturbed, once with the conductor killed."""
    interruption.listen()
    if os.environ.get("CHANGEOVER_DEMO"):
        inside()
        return
    begun = time.monotonic()
    form = ["--embedded"] if embedded else []
    try:
        command("lab", "up", "--name", name, "--nodes", str(nodes), *form)
        environment = os.environ | {"CHANGEOVER_DEMO": "inside"}
        line = [CHANGEOVER, "lab", "exec", "--name", name, "--", sys.executable, __file__]
        with interruption.process(line, env=environment) as process:
            ended = process.wait()
    finally:
        with suppress(OSError):
            said("lab", "down", "--name", name)
        subprocess.run([CHANGEOVER, "lab", "down", "--name", name], check=True, start_new_session=True)
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
        crashing = ["run", "--yes", "--reason", "demonstration of a crash"]
        said(*crashing)
        with interruption.process([CHANGEOVER, *crashing]) as conductor:
            wait(lambda: steps_done() >= KILL_AFTER, "the second node's turn", conductor)
            conductor.send_signal(signal.SIGKILL)
        print(f"\n*** the conductor, process {conductor.pid}, was killed with SIGKILL ***")
        command("status", allowed=(0, 3))
        command("resume")
    receipt()


def title(text: str) -> None:
    """Say what comes next."""
    print(f"\n{'=' * 78}\n{text}\n{'=' * 78}", flush=True)


def said(*arguments: str, more: str = "") -> None:
    """Print a command as an operator would type it."""
    print(f"\n$ changeover {' '.join(arguments)}{more}", flush=True)


def command(*arguments: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run one command as an operator would; another exit code than those allowed ends the demonstration."""
    said(*arguments)
    with interruption.process([CHANGEOVER, *arguments]) as process:
        code = process.wait()
    if interruption.came() or code not in allowed:
        raise typer.Exit(INTERRUPTED if interruption.came() else code)


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


@contextmanager
def load(url: str, ledger: Path) -> Iterator[None]:
    """Sessions and writes at a constant rate, whatever the site does, until the block ends."""
    ledger.parent.mkdir(exist_ok=True)
    line = ["probe", url, "--profile", "lab", "--rate", str(RATE), "--ledger", str(ledger)]
    said(*line, more=" &")
    with (
        ledger.with_suffix(".log").open("wb") as log,
        interruption.process([CHANGEOVER, *line], stdout=log, stderr=log) as probe,
    ):
        wait(lambda: ledger.exists() and ledger.stat().st_size > 0, "the probe to send", probe)
        yield


def steps_done() -> int:
    """How many steps of the run under way are done, by what `status` says."""
    out = subprocess.run([CHANGEOVER, "status", "--json"], check=False, capture_output=True).stdout
    status: dict[str, Any] = json.loads(out) if out else {}
    if status.get("state") != "running":
        return 0
    return sum(step["state"] == "done" for step in status["steps"].values())


def wait(condition: Callable[[], bool], what: str, process: subprocess.Popen[Any]) -> None:
    """Return when it holds; end the demonstration if the process ends before, or after a minute."""
    for _ in range(600):
        if interruption.came():
            raise typer.Exit(INTERRUPTED)
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
