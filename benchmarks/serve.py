"""The server in front of a scripted one: start, memory, added latency, deadlines, many clients.

    python benchmarks/serve.py                                        # all but the many clients
    python benchmarks/serve.py --parts burst --rounds 5
    python benchmarks/serve.py --parts clients --clients 1000 --seconds 60

Server, upstream and client are three processes on this machine and share its cores; the load that
is printed says how much else did. Latency added is the median of requests through the server minus
the median of the same requests sent straight to the upstream, taken in turn. A reply is late by
what the client waited beyond its deadline, and early by what it did not wait. Deadlines are
measured by a client that does next to nothing (`Bare`), whose processor time is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from dwell.generators.fake_server import FakeServer
from dwell.generators.scripted import Latency, Scripted

CHAT = {"model": "m", "messages": [{"role": "user", "content": "what is it"}]}
STRATEGY = "majority:n=8"
#: Requests that come before those that are measured.
WARM = 20
PARTS = ("pass", "spread", "burst", "clients")


def write(context: Any, index: int, rng: np.random.Generator) -> str:
    return f"thought {index}\nAnswer: {(7, 7, 8)[index % 3]}"


async def be_upstream(seconds: float, sigma: float) -> None:
    """Serve the script until killed; the address is the first line of output."""
    latency = Latency(base_seconds=seconds, sigma=sigma)
    async with FakeServer(Scripted.from_function(write, name="s", latency=latency)) as server:
        print(server.base_url, flush=True)
        await asyncio.Event().wait()


class Process:
    """A child process that is ended with the block."""

    def __init__(self, *arguments: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()

    def megabytes(self) -> float:
        """The most memory it has held."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def cpu_ms(self) -> float:
        """Milliseconds of processor time that it has used."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return 1e3 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def upstream(seconds: float, sigma: float) -> tuple[Process, str]:
    process = Process(__file__, "--upstream", str(seconds), str(sigma))
    assert process.child.stdout is not None
    return process, process.child.stdout.readline().strip()


def served(base_url: str, port: int, *options: str) -> tuple[Process, float]:
    """`dwell serve`, and how long it took until it said that it was well."""
    begun = time.perf_counter()
    process = Process(
        "-m", "dwell", "serve", "--upstream", base_url, "--model", "m", "--port", str(port),
        *options,
    )  # fmt: skip
    asyncio.run(_until_well(port))
    return process, time.perf_counter() - begun


async def _until_well(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(1000):
            try:
                async with session.get(f"http://127.0.0.1:{port}/health") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
    raise SystemExit("the server did not start")


async def timed(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any]
) -> tuple[float, int, dict[str, Any]]:
    begun = time.perf_counter()
    async with session.post(f"{url}/chat/completions", json=body) as response:
        reply = await response.json()
        return time.perf_counter() - begun, response.status, reply


async def pass_through(direct: str, through: str, count: int) -> dict[str, float]:
    """Median milliseconds straight, through the server, and their difference."""
    times: dict[str, list[float]] = {direct: [], through: []}
    async with aiohttp.ClientSession() as session:
        for k in range(count + WARM):
            for url in (direct, through):
                seconds, status, _ = await timed(session, url, CHAT)
                assert status == 200
                if k >= WARM:
                    times[url].append(seconds)
    straight, served_ = (1e3 * float(np.median(times[url])) for url in (direct, through))
    return {"direct_ms": straight, "through_ms": served_, "added_ms": served_ - straight}


class Bare(asyncio.Protocol):
    """A connection that sends prepared bytes and notes when the whole reply is there."""

    def __init__(self, request: bytes) -> None:
        self._request, self._got = request, b""
        self._transport: Any = None
        self._reply: asyncio.Future[tuple[float, int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, _, body = self._got.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if length and len(body) >= int(length) and self._reply is not None:
            self._reply.set_result((time.perf_counter(), int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(exc or ConnectionError("closed without a reply"))

    async def ask(self) -> tuple[float, int, dict[str, Any]]:
        """(seconds, status, body) of one request."""
        self._reply = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        self._transport.write(self._request)
        ended, status, body = await self._reply
        self._transport.close()
        return ended - begun, status, json.loads(body)


async def deadlines(url: str, count: int, spread: float, ms: float) -> dict[str, float]:
    """How late replies are, in milliseconds; requests arrive evenly over `spread` seconds."""
    address = urlsplit(url)
    host, port = str(address.hostname), int(address.port or 80)
    body = json.dumps({**CHAT, "dwell": {"ms": ms}}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"
    request = f"{head}\r\n\r\n".encode() + body
    loop = asyncio.get_running_loop()
    start = loop.time() + 1.0  # until then everybody who asks in the first second is connected

    async def one(k: int) -> tuple[float, int, dict[str, Any]]:
        await asyncio.sleep(k / count * spread)
        _, bare = await loop.create_connection(lambda: Bare(request), host, port)
        await asyncio.sleep(max(0.0, start + k / count * spread - loop.time()))
        return await bare.ask()

    begun = time.process_time()
    replies = await asyncio.gather(*(one(k) for k in range(count)))
    own = time.process_time() - begun
    cut = [r for r in replies if r[2]["dwell"]["status"] == "deadline"]
    late = np.array([1e3 * seconds - ms for seconds, _, _ in cut])
    outside = np.array([1e3 * (r[0] - r[2]["dwell"]["seconds"]) for r in cut])
    p1, p50, p99, most = np.quantile(late, [0.01, 0.5, 0.99, 1.0])
    statuses = Counter(status for _, status, _ in replies)
    return {
        "at_deadline": float(len(cut)), "p1_ms": p1, "p50_ms": p50, "p99_ms": p99, "max_ms": most,
        "outside_p50_ms": float(np.median(outside)), "client_cpu_ms": 1e3 * own / count,
        "draws": float(np.mean([reply["dwell"]["draws"] for _, _, reply in replies])),
        **{f"status_{status}": float(n) for status, n in statuses.items()},
    }  # fmt: skip


async def many_clients(url: str, clients: int, seconds: float) -> dict[str, float]:
    """So many clients that ask without a pause."""
    until = time.perf_counter() + seconds
    times: list[float] = []
    statuses: Counter[str] = Counter()

    async def client(session: aiohttp.ClientSession, k: int) -> None:
        await asyncio.sleep(k / clients)
        while time.perf_counter() < until:
            try:
                took, status, _ = await timed(session, url, CHAT)
                times.append(took)
                statuses[str(status)] += 1
            except (aiohttp.ClientError, OSError) as error:
                statuses[type(error).__name__] += 1

    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(client(session, k) for k in range(clients)))
    p50, p99 = np.quantile(times, [0.5, 0.99])
    counts = {f"replies_{status}": float(n) for status, n in statuses.items()}
    return {"p50_s": p50, "p99_s": p99, "per_second": len(times) / seconds, **counts}


def show(name: str, found: dict[str, float]) -> None:
    values = "  ".join(f"{key}={value:.4g}" for key, value in found.items())
    print(f"{name:12} load={os.getloadavg()[0]:.1f}  {values}", flush=True)


def measure_pass(options: argparse.Namespace) -> dict[str, float]:
    """Start, memory and added latency."""
    process, address = upstream(0.02, 0.0)
    server, start = served(address, options.port)
    with process, server:
        url, before = f"http://127.0.0.1:{options.port}/v1", server.cpu_ms()
        found = asyncio.run(pass_through(address, url, options.requests))
        used = (server.cpu_ms() - before) / (options.requests + WARM)
        return {**found, "cpu_ms": used, "start_s": start, "megabytes": server.megabytes()}


def measure_deadlines(options: argparse.Namespace, spread: float) -> Iterator[dict[str, float]]:
    """Lateness, round by round: a server knows how long replies take after its first hundreds."""
    mean = options.deadline_ms / 1e3
    process, address = upstream(mean, 1.0)
    more = ("--strategy", options.strategy, "--concurrency", str(20 * options.in_flight))
    server, _ = served(address, options.port, *more)
    count = options.in_flight * (3 if spread else 1)
    with process, server:
        url = f"http://127.0.0.1:{options.port}/v1"
        for _ in range(1 if spread else options.rounds):
            found = asyncio.run(deadlines(url, count, spread * mean, options.deadline_ms))
            yield {**found, "megabytes": server.megabytes()}
            time.sleep(1.0)


def measure_clients(options: argparse.Namespace) -> dict[str, float]:
    """Many clients that ask without a pause."""
    process, address = upstream(0.5, 0.3)
    server, _ = served(address, options.port, "--most-in-flight", str(2 * options.clients))
    with process, server:
        url = f"http://127.0.0.1:{options.port}/v1"
        before = server.megabytes()
        load = asyncio.run(many_clients(url, options.clients, options.seconds))
        return {**load, "before_mb": before, "after_mb": server.megabytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-1])
    parser.add_argument("--requests", type=int, default=300, help="of the pass-through")
    parser.add_argument("--in-flight", type=int, default=200, help="with a deadline")
    parser.add_argument("--deadline-ms", type=float, default=5000.0)
    parser.add_argument("--strategy", default=STRATEGY)
    parser.add_argument("--rounds", type=int, default=3, help="of requests at one instant")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--port", type=int, default=18765)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--upstream", nargs=2, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upstream:
        asyncio.run(be_upstream(*options.upstream))
        return
    found: list[dict[str, Any]] = []

    def note(part: str, values: dict[str, float]) -> None:
        show(part, values)
        found.append({"part": part, "load": os.getloadavg()[0], **values})

    print(f"{os.cpu_count()} processors")
    for part in options.parts:
        if part == "pass":
            note(part, measure_pass(options))
        elif part == "clients":
            note(part, measure_clients(options))
        else:
            for values in measure_deadlines(options, 3.0 if part == "spread" else 0.0):
                note(part, values)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
