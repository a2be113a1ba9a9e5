"""The rolling upgrade of the lab's four nodes: Changeover against Ansible and against a bare asyncssh script.

The script comes in two forms: `bare` trusts exit statuses, `read-back` looks after each change, as Changeover does.

    .venv/bin/python bench/rolling.py                # about seven minutes; needs root, as the lab does
    .venv/bin/python bench/rolling.py --rounds 1     # a quick look
    .venv/bin/python bench/rolling.py --json > rolling.json

Every variant does the same work on the same lab, under the same load, in one run: each node in turn is drained, waited
for until HAProxy and the application count no session, taken out, stopped, switched, started, asked for its health and
version, and brought back until HAProxy reports it up. Beforehand, for every variant alike and outside the measured
time: the lab is reset, the new release is unpacked on every node, the expand migration is applied.
"""

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from changeover.lab import operations
from changeover.lab.cgroup import Cgroup, unified_root
from changeover.lab.cluster import Cluster
from changeover.lab.directory import Directory
from changeover.lab.inside import enter_network
from changeover.lab.layout import Layout
from changeover.lab.paths import cache_dir
from changeover.probe.ledger import read
from rolling_observer import Observer, Turn
from rolling_table import table

HERE = Path(__file__).parent / "rolling"
ANSIBLE = "12.3.0"
"""The package `ansible`: ansible-core 2.19 with the collections, of which community.general is used."""

EXPAND = (Path(operations.__file__).parent / "app/v2/migrations/expand/001_notes_words.sql").read_text()
STAGE = "sudo sh -ec 'mkdir -p /opt/app/releases/v2; tar -xf /srv/releases/v2.tar -C /opt/app/releases/v2'"
LOAD = {"rate": 200, "sessions": 40, "session-length": 8}


@dataclass(frozen=True)
class Variant:
    """One way to upgrade."""

    name: str
    command: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Measured:
    """One upgrade; seconds. `command` is the whole program, `cpu` of it and of all it started, on this machine."""

    variant: str
    command: float
    cpu: float
    began: float
    turns: list[Turn]
    failed: int
    cut: int
    lost: int
    requests: int

    @property
    def rolling(self) -> float:
        """From the first node drained to the last one back."""
        return self.turns[-1].back - self.turns[0].drained

    @property
    def own(self) -> float:
        """What the application itself needed: drain, stop, start."""
        return sum(turn.own for turn in self.turns)

    def figures(self) -> dict[str, float]:
        """Everything that is compared, by name."""
        return {
            "rolling": self.rolling,
            "own": self.own,
            "overhead": self.rolling - self.own,
            "empty_to_stop": sum(turn.stopping - turn.empty for turn in self.turns),
            "stopped_to_start": sum(turn.starting - turn.stopped for turn in self.turns),
            "ready_to_back": sum(turn.back - turn.ready for turn in self.turns),
            "back_to_next": sum(after.drained - before.back for before, after in pairwise(self.turns)),
            "command": self.command,
            "command_overhead": self.command - self.own,
            "before": self.turns[0].drained - self.began,
            "after": self.began + self.command - self.turns[-1].back,
            "cpu": self.cpu,
            "failed": self.failed,
            "cut": self.cut,
            "lost": self.lost,
        }


def bench(
    *,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="How often each variant upgrades the lab.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the order within each round.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Only this variant; may be repeated.")] = None,
    name: Annotated[str, typer.Option(help="Of the lab; one that is up already stays up.")] = "bench",
    as_json: Annotated[bool, typer.Option("--json", help="Every round and the medians as JSON.")] = False,
) -> None:
    """Measure, and print medians and ratios."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    variants = _variants(only)
    order = random.Random(seed)
    results: list[Measured] = []
    with _lab(name) as lab, tempfile.TemporaryDirectory(dir=lab.directory.path) as scratch:
        enter_network(lab.world.network())
        for number in range(1, rounds + 1):
            for variant in order.sample(variants, len(variants)):
                results.append(_measure(lab, variant, Path(scratch) / f"{variant.name}-{number}"))
                figures = results[-1].figures()
                _say(
                    f"round {number} of {rounds}: {variant.name:10} {figures['rolling']:6.2f} s, overhead "
                    f"{figures['overhead']:6.2f} s, load average {os.getloadavg()[0]:.1f}"
                )
    medians = {variant.name: _medians(results, variant.name) for variant in variants}
    if as_json:
        rows = [{**asdict(result), **result.figures()} for result in results]
        about = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "rounds": rounds,
            "seed": seed,
            "load": LOAD,
        }
        print(json.dumps({**about, "medians": medians, "runs": rows}, indent=2))
    else:
        load = f"{LOAD['rate']} requests/s, {LOAD['sessions']} sessions of {LOAD['session-length']} requests"
        print(f"Rolling upgrade of 4 nodes, one at a time, under {load}; medians of {rounds} rounds.\n")
        print(table(medians))
        counts = ", ".join(f"{result.variant} {result.requests}" for result in results)
        print(f"\nrequests sent in each upgrade: {counts}")


def _variants(only: list[str] | None) -> list[Variant]:
    changeover = str(Path(sys.executable).with_name("changeover"))
    ansible = _ansible() if not only or "ansible" in only else "ansible-playbook"
    told = HERE / "ansible"
    variants = [
        Variant(
            "changeover",
            [changeover, "run", "--file", str(HERE / "changeover.yaml"), "--yes", "--on-stop", "return"],
            {},
        ),
        Variant(
            "ansible",
            [str(ansible), "--inventory", str(told / "inventory.yml"), str(told / "rolling.yml")],
            {"ANSIBLE_CONFIG": str(told / "ansible.cfg")},
        ),
        Variant("bare", [sys.executable, str(HERE / "bare.py")], {}),
        Variant("read-back", [sys.executable, str(HERE / "bare.py"), "--read-back"], {}),
    ]
    return [variant for variant in variants if not only or variant.name in only]


def _ansible() -> Path:
    """Return `ansible-playbook` of an environment of its own, made where there is none yet."""
    environment = cache_dir() / f"bench-ansible-{ANSIBLE}"
    playbook = environment / "bin" / "ansible-playbook"
    if not playbook.exists():
        _say(f"installing ansible {ANSIBLE} into {environment}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([environment / "bin/pip", "install", "--quiet", f"ansible=={ANSIBLE}"], check=True)
    return playbook


@contextmanager
def _lab(name: str) -> Iterator[Cluster]:
    """The lab: the one that is up, or a new one that is taken down at the end."""
    ours = not Directory(name).exists()
    lab = operations.up(Layout(name=name, startup_seconds=2.0), _say) if ours else operations.find(name)
    try:
        if not isinstance(lab, Cluster) or len(lab.layout.apps()) != 4:
            raise SystemExit(f"lab {name} is not one of four hosts; use another --name")
        yield lab
    finally:
        if ours:
            operations.down(name)


def _measure(lab: Cluster, variant: Variant, directory: Path) -> Measured:
    """Upgrade a fresh lab once."""
    directory.mkdir()
    _prepare(lab)
    environment = {
        "CHANGEOVER_LAB_DIRECTORY": str(lab.directory.path),
        "CHANGEOVER_BENCH_DIRECTORY": str(directory),
        **variant.environment,
    }
    log = directory / "output.log"
    with _load(lab.site()["balancer"]["url"], directory) as summary:
        with Observer(lab.site(), lambda host, line: lab.host_command(host, [line])) as observer:
            began, seconds, cpu = _run(variant.command, os.environ | environment, log)
        turns = observer.turns()
    lost = summary["writes"]["missing"] + summary["writes"]["unverified"]
    requests, sessions = summary["requests"], summary["sessions"]
    return Measured(
        variant.name, seconds, cpu, began, turns, requests["failed"], sessions["cut"], lost, requests["sent"]
    )


def _prepare(lab: Cluster) -> None:
    """A lab of v1 on which v2 is staged, with a schema for both."""
    lab.reset()
    for node in lab.layout.apps():
        subprocess.run(lab.host_command(node.name, [STAGE]), check=True, stdin=subprocess.DEVNULL)
    psql = "sudo -u postgres psql --quiet --set=ON_ERROR_STOP=1 --dbname=app"
    statements = f"SET ROLE app;\n{EXPAND}"
    subprocess.run(lab.host_command("db1", [psql]), check=True, input=statements, text=True)


@contextmanager
def _load(url: str, directory: Path) -> Iterator[dict[str, Any]]:
    """The probe at work; its summary is there after the end."""
    ledger = directory / "probe.jsonl"
    options = [f"--{name}={value}" for name, value in LOAD.items()]
    command = [
        sys.executable,
        "-m",
        "changeover.probe",
        url,
        "--profile=lab",
        "--json",
        f"--ledger={ledger}",
        *options,
    ]
    summary: dict[str, Any] = {}
    with (
        (directory / "probe.log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as probe,
    ):
        try:
            # Sessions have begun and ended: they are spread over their length.
            _wait(lambda: _ended(ledger) >= LOAD["sessions"], "the sessions of the probe", probe)
            yield summary
        finally:
            probe.send_signal(signal.SIGINT)
            said, _ = probe.communicate()
    summary |= json.loads(said)


def _ended(ledger: Path) -> int:
    return read(ledger).summary().sessions.ended if ledger.exists() and ledger.stat().st_size else 0


def _wait(condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        if process.poll() is not None or time.monotonic() > limit:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.1)


def _run(command: list[str], environment: dict[str, str], log: Path) -> tuple[float, float, float]:
    """Run it; when it began, and the seconds and CPU seconds it took, with all that it started."""
    root = unified_root()
    if root is None:
        raise SystemExit("there is no cgroup-v2 tree here, by which CPU time is measured")
    group = Cgroup(root / f"changeover-bench-{os.getpid()}")
    group.create()
    try:
        into = f'echo $$ >{group.path}/cgroup.procs && exec "$@"'
        with log.open("wb") as output:
            began = time.monotonic()
            code = subprocess.run(
                ["sh", "-c", into, "sh", *command],
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            ).returncode
            seconds = time.monotonic() - began
        stat = dict(line.split() for line in (group.path / "cpu.stat").read_text().splitlines())
    finally:
        group.kill()
    if code:
        shutil.copy(log, Path(tempfile.gettempdir()) / "bench-rolling-failed.log")
        raise SystemExit(f"it ended with {code}:\n{log.read_text()[-2000:]}")
    return began, seconds, int(stat["usage_usec"]) / 1e6


def _medians(results: list[Measured], variant: str) -> dict[str, float]:
    rows = [result.figures() for result in results if result.variant == variant]
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    typer.run(bench)
