"""The same rolling upgrade as a script of one's own: connections kept open, the same order, nothing besides.

python bare.py                 # trusts the exit status of what it tells a node to do
python bare.py --read-back     # looks after each change whether it is there, as Changeover does
"""

import asyncio
import csv
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncssh

LAB = Path(os.environ["CHANGEOVER_LAB_DIRECTORY"])
BALANCER = "10.77.0.11"
NODES = {f"app{n}": f"10.77.0.{20 + n}" for n in range(1, 5)}
POLL_SECONDS = 0.05
CHANGES = (
    ("systemctl stop lab-app", "systemctl is-active lab-app", "inactive"),
    ("ln -sfn releases/v2 /opt/app/current", "readlink /opt/app/current", "releases/v2"),
    ("systemctl start lab-app", "systemctl is-active lab-app", "active"),
)


class Pool:
    """HAProxy's runtime API, on one connection that stays open."""

    def __init__(self, reader: asyncssh.SSHReader[str], writer: asyncssh.SSHWriter[str]) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, command: str) -> str:
        """What it replies."""
        self.writer.write(f"{command}\n")
        return (await self.reader.readuntil("\n> ")).removesuffix("\n> ").strip()

    async def set_state(self, server: str, state: str) -> None:
        """Tell it; end the script if it refuses."""
        if refused := await self.ask(f"set server app/{server} state {state}"):
            raise SystemExit(f"{server} {state}: {refused}")

    async def look(self, server: str) -> tuple[str, int]:
        """Its status, and how many sessions it has."""
        rows = csv.DictReader((await self.ask("show stat app 4 -1")).removeprefix("# ").splitlines())
        row = next(row for row in rows if row["svname"] == server)
        return row["status"], int(row["scur"]) + int(row["qcur"])


async def get(address: str, path: str) -> Any:
    """What a node answers; None unless it is a 200."""
    try:
        reader, writer = await asyncio.open_connection(address, 8000)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    except OSError:
        return None
    return json.loads(body) if head.split()[1:2] == [b"200"] else None


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Ask until it holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is on another host
            await asyncio.sleep(POLL_SECONDS)


async def replace(ssh: asyncssh.SSHClientConnection, *, read_back: bool) -> None:
    """Stop, switch, start."""
    if not read_back:
        together = "; ".join(change for change, _, _ in CHANGES)
        await ssh.run(f"sudo sh -ec '{together}'", check=True)
        return
    for change, question, expected in CHANGES:
        await ssh.run(f"sudo {change}", check=True)
        answer = (await ssh.run(question)).stdout
        if answer != f"{expected}\n":
            raise SystemExit(f"{change}: {question} says {answer!r}")


async def upgrade(node: str, address: str, ssh: asyncssh.SSHClientConnection, pool: Pool) -> None:
    """One node's turn."""

    async def nobody() -> bool:
        return (await pool.look(node))[1] == 0 and (await get(address, "/sessions"))["sessions"] == 0

    async def healthy() -> bool:
        return await get(address, "/health") is not None

    async def in_rotation() -> bool:
        return (await pool.look(node))[0].startswith("UP")

    await pool.set_state(node, "drain")
    await until(nobody)
    await pool.set_state(node, "maint")
    await replace(ssh, read_back="--read-back" in sys.argv)
    await until(healthy)
    if (await get(address, "/version"))["version"] != "v2":
        raise SystemExit(f"{node} does not run v2")
    await pool.set_state(node, "ready")
    await until(in_rotation)


async def main() -> None:
    """All nodes, one after another."""
    options = asyncssh.SSHClientConnectionOptions(
        username="deploy", client_keys=[str(LAB / "operator_key")], known_hosts=str(LAB / "known_hosts")
    )
    async with AsyncExitStack() as stack:
        opening = (asyncssh.connect(address, options=options) for address in (BALANCER, *NODES.values()))
        balancer, *nodes = await asyncio.gather(*map(stack.enter_async_context, opening))
        pool = Pool(*await balancer.open_unix_connection("/run/haproxy/admin.sock", encoding="utf-8"))
        await pool.ask("prompt")
        for (node, address), ssh in zip(NODES.items(), nodes, strict=True):
            await upgrade(node, address, ssh, pool)


asyncio.run(main())
