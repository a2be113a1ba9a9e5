"""CPU cost and latency of HTTP clients sending at a constant rate: why the probe uses the one it uses.

Run: python bench/probe_clients.py   (needs `pip install aiohttp`; loopback only, about half a minute)
"""

import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import httpx

SESSIONS = 40
SECONDS = 4
RATES = (200, 500, 1000)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"hits": 12345}'
)

Get = Callable[[int], Awaitable[int]]


class Server(asyncio.Protocol):
    """Answers every request at once with the same bytes."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that has come whole."""
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


def serve(port: "multiprocessing.Queue[int]") -> None:
    """Serve in a process of its own, and tell the port."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


async def load(get: Get, rate: int) -> tuple[float, float, float]:
    """Sends open-loop; returns CPU milliseconds a request, p50 and p99 in milliseconds from the schedule."""
    latencies: list[float] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(due: float, number: int) -> None:
        assert await get(number % SESSIONS) == 200
        latencies.append(time.monotonic() - due)

    await asyncio.gather(*(get(n) for n in range(SESSIONS)))
    begin, cpu = time.monotonic(), time.process_time()
    for number in range(rate * SECONDS):
        due = begin + number / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        tasks.add(task := asyncio.create_task(one(due, number)))
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    cpu = time.process_time() - cpu
    cuts = statistics.quantiles(latencies, n=100)
    return cpu * 1000 / len(latencies), cuts[49] * 1000, cuts[98] * 1000


async def with_httpx(url: str, rate: int) -> tuple[float, float, float]:
    """An httpx client for each session."""
    context = httpx.create_ssl_context()
    clients = [httpx.AsyncClient(trust_env=False, verify=context) for _ in range(SESSIONS)]

    async def get(session: int) -> int:
        answer = await clients[session].get(url, headers={"Cookie": "id=1"})
        return answer.status_code

    try:
        return await load(get, rate)
    finally:
        for client in clients:
            await client.aclose()


async def with_httpx_transport(url: str, rate: int) -> tuple[float, float, float]:
    """The transport under httpx alone: no cookies, no redirects, no events."""
    context = httpx.create_ssl_context()
    pools = [httpx.AsyncHTTPTransport(verify=context) for _ in range(SESSIONS)]

    async def get(session: int) -> int:
        answer = await pools[session].handle_async_request(
            httpx.Request("GET", url, headers={"Cookie": "id=1"})
        )
        await answer.aread()
        return answer.status_code

    try:
        return await load(get, rate)
    finally:
        for pool in pools:
            await pool.aclose()


async def with_aiohttp(url: str, rate: int) -> tuple[float, float, float]:
    """An aiohttp session for each session."""
    clients = [aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) for _ in range(SESSIONS)]

    async def get(session: int) -> int:
        async with clients[session].get(url, headers={"Cookie": "id=1"}) as answer:
            await answer.read()
            return answer.status

    try:
        return await load(get, rate)
    finally:
        for client in clients:
            await client.close()


def main() -> None:
    """Print a line for each client and rate."""
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port.get()}/session"
    print(f"python {sys.version.split()[0]} httpx {httpx.__version__} aiohttp {aiohttp.__version__}")
    print(f"{'client':<18} {'rate/s':>7} {'cpu ms/req':>11} {'core %':>7} {'p50 ms':>7} {'p99 ms':>7}")
    for name, client in (
        ("aiohttp", with_aiohttp),
        ("httpx", with_httpx),
        ("httpx transport", with_httpx_transport),
    ):
        for rate in RATES:
            cpu, p50, p99 = asyncio.run(client(url, rate))
            print(
                f"{name:<18} {rate:>7} {cpu:>11.3f} {cpu * rate / 10:>7.1f} {p50:>7.2f} {p99:>7.2f}",
                flush=True,
            )
    server.terminate()


if __name__ == "__main__":
    main()
