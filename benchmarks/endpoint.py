"""Endpoints against a bare client and against rivals: time, memory, faults, host names, kills.

    python benchmarks/endpoint.py                  # everything but rivals, about two minutes
    python benchmarks/endpoint.py --only wall      # one part: wall, faults, name, kills
    python benchmarks/endpoint.py --kills 100
    python benchmarks/endpoint.py --only rivals --its PYTHON --optillm PYTHON

A scripted server runs in a process of its own and answers after 20 ms. 50 questions with 32
samples each are asked by a bare aiohttp client, which keeps nothing, and by dwell, which counts,
votes and records every draw before it is used. Each client is a fresh process; they take turns,
and the medians are compared. The server's own counts are what the clients' accounts are held
against. Rivals (`rivals.py`) run under the PYTHON of an environment of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp
import numpy as np

import serve as proxies
from dwell.driver import Driver, RunPlan
from dwell.generators import Endpoint, FakeServer, Faults, Latency, Scripted
from dwell.ledger import Ledger
from dwell.records import Problem
from dwell.strategies import make

QUESTIONS, SAMPLES = 50, 32
RIVALS = Path(__file__).with_name("rivals.py")
STORM = {"500": 0.5, "reset": 0.05}


# ---- the server, in a process of its own -------------------------------------------------------


async def serve(options: dict[str, Any]) -> None:
    """Answer until standard input ends; each line there asks for the counts."""
    script = Scripted.coin(0.3, latency=Latency(base_seconds=options["seconds"]))
    faults = Faults(rates=options["faults"], seed=3)
    many, record = options["many"], options["record"]
    async with FakeServer(script, faults=faults, many=many, record=record) as server:
        print(server.base_url, flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            found = {f.name: getattr(server.counts, f.name) for f in fields(server.counts)}
            asked = {
                (body["messages"][0]["content"], body["seed"]) for body in found.pop("bodies")
            }
            print(json.dumps({**found, "different": len(asked)}), flush=True)


class Server:
    """Talks to the server's process."""

    def __init__(self, process: subprocess.Popen[str], base_url: str) -> None:
        self.process, self.base_url = process, base_url

    def counts(self) -> dict[str, Any]:
        """What it did so far; `different` counts draws by question and seed, if recorded."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


@contextmanager
def server(
    *, many: str = "ignore", seconds: float = 0.02, faults: Any = None, record: bool = False
) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    options = {"many": many, "seconds": seconds, "faults": faults or {}, "record": record}
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", json.dumps(options)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield Server(process, process.stdout.readline().strip())
        process.kill()


# ---- the clients, each a fresh process ---------------------------------------------------------


async def bare(base_url: str, concurrency: int) -> int:
    """The least that a client can do: send, read, parse."""
    waiting = iter([(q, s) for q in range(QUESTIONS) for s in range(SAMPLES)])
    texts = []

    async def worker(session: aiohttp.ClientSession) -> None:
        for question, seed in waiting:
            content = f"problem {question}"
            body = {"model": "m", "max_tokens": 1024, "n": 1, "seed": seed,
                    "messages": [{"role": "user", "content": content}]}  # fmt: skip
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                reply = json.loads(await response.read())
                texts.append(reply["choices"][0]["message"]["content"])

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(concurrency)))
    return len(texts)


def plans(questions: int, samples: int, name: str = "r") -> list[RunPlan]:
    """A vote on every question."""
    vote = make("majority", n=samples)
    return [
        RunPlan(name=f"{name}{k}", strategy=vote,
                problem=Problem(id=f"{name}{k}", prompt=f"problem {name}{k}"))
        for k in range(questions)
    ]  # fmt: skip


async def dwell(
    base_url: str, concurrency: int, path: Path, asked: list[RunPlan], **options: Any
) -> dict[str, Any]:
    """A study of votes, with a ledger on disk."""
    answered = Counter[bool]()
    with Ledger(path) as ledger:
        generator = Endpoint("m", base_url, concurrency=concurrency, **options)
        driver = Driver(
            ledger,
            generators={"solver": generator},
            on_done=lambda session: answered.update([session.answer is not None]),
        )
        await driver.run(asked)
        await generator.close()
        totals = ledger.totals()
        (attempts,) = ledger._db.execute("SELECT count(*) FROM attempt").fetchone()
    return {"draws": totals.draws, "tokens": totals.spent.output_tokens, "attempts": attempts,
            "answered": answered[True]}  # fmt: skip


def client(kind: str, base_url: str, concurrency: int) -> None:
    """One client's work; prints what it took."""
    with tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), time.process_time()
        if kind == "bare":
            found: dict[str, Any] = {"draws": asyncio.run(bare(base_url, concurrency))}
        else:
            path, asked = Path(folder) / "ledger.db", plans(QUESTIONS, SAMPLES)
            options = {"max_tries": 60, "backoff_seconds": 0.02} if kind == "storm" else {}
            found = asyncio.run(dwell(base_url, concurrency, path, asked, **options))
        found["wall"] = time.perf_counter() - started
        found["cpu"] = time.process_time() - cpu
    found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def asked(kind: str, at: Server, concurrency: int, base_url: str = "") -> dict[str, Any]:
    """What a client in a process of its own reports."""
    return told(
        sys.executable, __file__, "--client", kind, base_url or at.base_url, str(concurrency)
    )


def told(*command: str, seconds: float = 300.0) -> dict[str, Any]:
    """The JSON object that a command prints last."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=True, cwd=RIVALS.parent
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# ---- what is shown -----------------------------------------------------------------------------


def wall(rounds: int) -> None:
    """Wall time and memory beside the bare client."""
    code = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    for what in ("import dwell", "import dwell.driver; from dwell.generators import Endpoint"):
        command = [sys.executable, "-c", code.format(what)]
        seconds = min(float(subprocess.check_output(command, timeout=60)) for _ in range(8))
        print(f"{what}: {seconds:.2f} s (0.3 wanted)")
    for concurrency, wanted in ((32, 1.05), (256, 1.2)):
        with server() as at:
            found: dict[str, list[dict[str, Any]]] = {"bare": [], "dwell": []}
            for _ in range(rounds):
                for kind, results in found.items():
                    results.append(asked(kind, at, concurrency))
        times = {kind: [r["wall"] for r in results] for kind, results in found.items()}
        middle = {kind: statistics.median(values) for kind, values in times.items()}
        ratios = [b / a for a, b in zip(times["bare"], times["dwell"], strict=True)]
        memory = max(r["megabytes"] for r in found["dwell"])
        cpu = {k: statistics.median(r["cpu"] for r in found[k]) for k in found}
        print(f"n ignored, {concurrency} at once: bare {middle['bare']:.3f} s, dwell "
              f"{middle['dwell']:.3f} s; ratio {middle['dwell'] / middle['bare']:.3f}, pairs "
              f"{min(ratios):.3f} to {max(ratios):.3f} (at most {wanted} wanted); "
              f"CPU {cpu['bare']:.2f} and {cpu['dwell']:.2f} s; "
              f"{memory:.0f} MB (80 wanted)")  # fmt: skip
    with server(many="honour") as at:
        result = asked("dwell", at, 32)
        print(f"n honoured: {at.counts()['requests']} requests for {result['draws']} draws, "
              f"{result['wall']:.3f} s")  # fmt: skip


def rivals(its: str | None, optillm: str | None, rounds: int) -> None:
    """The same work by other projects, in turns; each in an environment of its own."""
    pythons = {name: path for name, path in (("its", its), ("optillm", optillm)) if path}
    for verb, concurrency in (("ignored", 32), ("ignored", 256), ("honoured", 32)):
        with server(many={"ignored": "ignore", "honoured": "honour"}[verb]) as at:
            found: dict[str, list[dict[str, Any]]] = {"dwell": [], **{n: [] for n in pythons}}
            requests = dict.fromkeys(found, 0)
            for name, results in ((n, r) for _ in range(rounds) for n, r in found.items()):
                before = at.counts()["requests"]
                if name == "dwell":
                    results.append(asked("dwell", at, concurrency))
                else:
                    rival = (pythons[name], str(RIVALS), name, at.base_url, str(concurrency))
                    results.append(told(*rival))
                requests[name] = at.counts()["requests"] - before
                assert results[-1]["draws"] == QUESTIONS * SAMPLES
        own = statistics.median(r["wall"] for r in found["dwell"])
        for name, results in found.items():
            middle = {k: statistics.median(r[k] for r in results) for k in ("wall", "cpu")}
            most = max(r["megabytes"] for r in results)
            loads = ""
            if name != "dwell":
                loads = f", import {min(r['import'] for r in results):.2f} s"
            print(f"n {verb}, {concurrency} at once: {name} {middle['wall']:.2f} s, "
                  f"dwell / {name} {own / middle['wall']:.2f}; CPU {middle['cpu']:.2f} s, "
                  f"{most:.0f} MB, {requests[name]} requests{loads}")  # fmt: skip
    if its:
        _its_by_name(its)
    if optillm:
        _passed_through(optillm)


def _its_by_name(python: str) -> None:
    """its_hub with a host name as address: its waits and the name's look-up share threads."""
    with server() as at:
        base_url = at.base_url.replace("127.0.0.1", "localhost")
        for concurrency in (4, 40):
            try:
                found = told(python, str(RIVALS), "its", base_url, str(concurrency), seconds=20)
                print(f"its, a host name, {concurrency} at once: {found['wall']:.2f} s")
            except subprocess.TimeoutExpired:
                print(f"its, a host name, {concurrency} at once: no end within 20 s, "
                      f"{at.counts()['requests']} requests")  # fmt: skip


def _passed_through(python: str, port: int = 18775, count: int = 200) -> None:
    """Latency that each server adds to a request that it passes on, and its memory."""
    process, address = proxies.upstream(0.02, 0.0)
    with process:
        own, start = proxies.served(address, port)
        with own:
            _show_proxy("dwell serve", own.child.pid, address, port, start, count)
        begun = time.perf_counter()
        command = (python, str(RIVALS), "proxy", address, str(port + 1))
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=RIVALS.parent
        ) as rival:
            _wait_for(f"http://127.0.0.1:{port + 1}/health")
            start = time.perf_counter() - begun
            _show_proxy("optillm", rival.pid, address, port + 1, start, count)
            rival.kill()


def _wait_for(url: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            urlopen(url, timeout=1.0).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{url} did not come up")


def _show_proxy(name: str, pid: int, address: str, port: int, start: float, count: int) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    found = asyncio.run(proxies.pass_through(address, url, count))
    status = Path(f"/proc/{pid}/status").read_text()
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(f"{name}: adds {found['added_ms']:.1f} ms to {found['direct_ms']:.1f} ms, "
          f"starts in {start:.1f} s, {int(peak) / 1024:.0f} MB")  # fmt: skip


def faults() -> None:
    """Half of all calls fail with 500, one in twenty is reset."""
    with server(seconds=0.002, faults=STORM) as at:
        found, counted = asked("storm", at, 64), at.counts()
    failed = sum(counted["faults"].values())
    assert found["answered"] == QUESTIONS
    assert found["draws"] == counted["completed"]
    assert found["tokens"] == counted["output_tokens"]
    assert found["attempts"] == failed
    assert counted["requests"] == found["draws"] + failed
    print(f"half 500, 5 % resets: {found['answered']} of {QUESTIONS} answered; "
          f"{counted['requests']} calls = {found['draws']} draws + {failed} failed, "
          f"{found['tokens']:.0f} tokens: equal to the server's own counts")  # fmt: skip


def name() -> None:
    """A host name as address, at several widths."""
    with server(seconds=0.002) as at:
        base_url = at.base_url.replace("127.0.0.1", "localhost")
        for concurrency in (1, 40, 100, 400):
            found = asked("dwell", at, concurrency, base_url)
            assert found["draws"] == QUESTIONS * SAMPLES
    print("a host name as address: 1, 40, 100 and 400 at once, none blocks")


def kills(count: int, *, seed: int = 0) -> None:
    """SIGKILL at random moments, then the same again."""
    dice, concurrency = np.random.default_rng(seed), 16
    hits = studies = again = 0
    with tempfile.TemporaryDirectory() as folder, server(seconds=0.005, record=True) as at:
        before = at.counts()
        while hits < count:
            path, work = Path(folder) / f"{studies}.db", plans(15, 16, name=f"s{studies}-")
            deadlines = [*dice.uniform(0.02, 0.25, 8)[: count - hits], None]
            here = sum(_killed(at, path, work, concurrency, seconds) for seconds in deadlines)
            after = at.counts()
            with Ledger(path, read_only=True) as ledger:
                assert ledger.totals().draws == 15 * 16
            twice = after["requests"] - before["requests"] - 15 * 16
            assert after["different"] - before["different"] == 15 * 16
            # On the wire, and read in the turn of the loop that the kill cut short.
            assert twice <= 2 * concurrency * here, f"{twice} draws paid twice in {here} kills"
            before, again = after, again + twice
            hits, studies = hits + here, studies + 1
    print(f"{hits} kills in {studies} studies of 240 draws, {concurrency} in flight: all resumed; "
          f"{again / max(hits, 1):.1f} draws a kill were paid twice")  # fmt: skip


def _killed(
    at: Server, path: Path, work: list[RunPlan], concurrency: int, seconds: float | None
) -> bool:
    """Run in a child process and kill it after some time; False if it was done before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(dwell(at.base_url, concurrency, path, work))
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=["wall", "rivals", "faults", "name", "kills"])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each client")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--its", metavar="PYTHON", help="of an environment with its_hub[lm]")
    parser.add_argument("--optillm", metavar="PYTHON", help="of an environment with optillm")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        asyncio.run(serve(json.loads(chosen.serve)))
    elif chosen.client:
        kind, base_url, concurrency = chosen.client
        client(kind, base_url, int(concurrency))
    else:
        parts = {"wall": lambda: wall(chosen.rounds), "faults": faults, "name": name,
                 "kills": lambda: kills(chosen.kills)}  # fmt: skip
        if chosen.its or chosen.optillm:
            parts["rivals"] = lambda: rivals(chosen.its, chosen.optillm, chosen.rounds)
        for part, show in parts.items():
            if chosen.only in (None, part):
                show()


if __name__ == "__main__":
    main()
