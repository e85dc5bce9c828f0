"""The server in front of a scripted one: start, memory, added latency, deadlines, many clients.

    python benchmarks/serve.py                  # start, memory, pass-through, deadlines
    python benchmarks/serve.py --clients 1000 --seconds 60

Server, upstream and client are three processes on this machine and share its cores. Latency added
is the median of requests through the server minus the median of the same requests sent straight
to the upstream, taken in turn. A reply is late by what the client waited beyond its deadline.
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
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from dwell.generators.fake_server import FakeServer
from dwell.generators.scripted import Latency, Scripted

CHAT = {"model": "m", "messages": [{"role": "user", "content": "what is it"}]}
STRATEGY = "majority:n=8"
CLAIMS = {"start": 2.0, "memory": 120.0, "added": 3.0, "late": 50.0}


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
        for k in range(count + 20):
            for url in (direct, through):
                seconds, status, _ = await timed(session, url, CHAT)
                assert status == 200
                if k >= 20:
                    times[url].append(seconds)
    straight, served_ = (1e3 * float(np.median(times[url])) for url in (direct, through))
    return {"direct_ms": straight, "through_ms": served_, "added_ms": served_ - straight}


async def deadlines(url: str, count: int, spread: float, ms: float) -> dict[str, float]:
    """How late replies are, in milliseconds; requests arrive evenly over `spread` seconds."""
    late, within, drawn, statuses = [], [], [], Counter()
    body = {**CHAT, "dwell": {"ms": ms}}

    async def one(session: aiohttp.ClientSession, k: int) -> None:
        await asyncio.sleep(k / count * spread)
        seconds, status, reply = await timed(session, url, body)
        late.append(max(0.0, 1e3 * seconds - ms))
        statuses[status] += 1
        drawn.append(reply["dwell"]["draws"])
        within.append(1e3 * (seconds - reply["dwell"]["seconds"]))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        health = url.removesuffix("v1") + "health"  # the connections are there before
        for response in await asyncio.gather(*(session.get(health) for _ in range(count))):
            await response.read()
        await asyncio.gather(*(one(session, k) for k in range(count)))
    p50, p99, most = np.quantile(late, [0.5, 0.99, 1.0])
    return {
        "outside_p99_ms": np.quantile(within, 0.99),
        "late_p50_ms": p50, "late_p99_ms": p99, "late_max_ms": most, "draws": np.mean(drawn),
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
    print(
        f"{name:14}", "  ".join(f"{key}={value:.4g}" for key, value in found.items()), flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--deadline-ms", type=float, default=5000.0)
    parser.add_argument("--clients", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--port", type=int, default=18765)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--upstream", nargs=2, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upstream:
        asyncio.run(be_upstream(*options.upstream))
        return
    found: dict[str, dict[str, float]] = {}
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    if options.clients:
        process, address = upstream(0.5, 0.3)
        server, _ = served(address, options.port, "--most-in-flight", str(2 * options.clients))
        with process, server:
            url = f"http://127.0.0.1:{options.port}/v1"
            before = server.megabytes()
            load = asyncio.run(many_clients(url, options.clients, options.seconds))
            found["clients"] = {**load, "before_mb": before, "after_mb": server.megabytes()}
            show("many clients", found["clients"])
    else:
        process, address = upstream(0.02, 0.0)
        server, start = served(address, options.port)
        with process, server:
            url = f"http://127.0.0.1:{options.port}/v1"
            found["pass"] = asyncio.run(pass_through(address, url, options.requests))
            found["start"] = {"seconds": start, "megabytes": server.megabytes()}
        show("pass-through", found["pass"])
        show("start", found["start"])
        mean = options.deadline_ms / 1e3
        process, address = upstream(mean, 1.0)
        more = ("--strategy", STRATEGY, "--concurrency", str(20 * options.in_flight))
        server, _ = served(address, options.port + 1, *more)
        with process, server:
            url = f"http://127.0.0.1:{options.port + 1}/v1"
            count = options.in_flight
            steady = deadlines(url, 3 * count, 3 * mean, options.deadline_ms)
            found["deadlines"] = asyncio.run(steady)
            burst = deadlines(url, count, 0.0, options.deadline_ms)
            found["burst"] = {**asyncio.run(burst), "megabytes": server.megabytes()}
        show("deadlines", found["deadlines"])
        show("all at once", found["burst"])
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
