"""An endpoint below a driver: what stops, what is paid, what is kept."""

import asyncio
import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dwell.driver import Driver, RunPlan
from dwell.errors import GeneratorError, SpendLimitReached, UsageError
from dwell.generators.endpoint import Endpoint
from dwell.generators.fake_server import FakeServer, Faults
from dwell.generators.scripted import Latency, Scripted
from dwell.ledger import Ledger
from dwell.records import Problem
from dwell.strategies import make
from dwell.study import Study
from dwell.study_file import parse_study

QUICK = {"backoff_seconds": 0.005, "max_backoff_seconds": 0.02, "max_tries": 40}
STORM = Faults(rates={"500": 0.5, "reset": 0.05}, seed=1)


def coin(seconds=0.0):
    return Scripted.coin(0.3, latency=Latency(base_seconds=seconds))


def plans(problems=6, n=8, strategy="majority"):
    return [
        RunPlan(
            name=f"r{k}",
            strategy=make(strategy, n=n),
            problem=Problem(id=f"p{k}", prompt=f"problem {k}"),
        )
        for k in range(problems)
    ]


def endpoint(base_url, **options):
    return Endpoint("m", base_url, **{**QUICK, **options})


async def run(ledger, base_url, asked=None, *, limits=None, on_done=None, **options):
    """One driver's work on an endpoint of its own."""
    generator = endpoint(base_url, **options)
    driver = Driver(ledger, generators={"solver": generator}, spend_limits=limits, on_done=on_done)
    try:
        return await driver.run(asked or plans())
    finally:
        await generator.close()


def attempts(ledger):
    return [row[0] for row in ledger._db.execute("SELECT outcome FROM attempt").fetchall()]


async def test_half_of_all_calls_may_fail_and_every_account_is_exact():
    async with FakeServer(coin(0.001), faults=STORM, many="ignore") as server:
        with Ledger(":memory:") as ledger:
            sessions = []
            await run(ledger, server.base_url, on_done=sessions.append)
            totals, failed = ledger.totals(), attempts(ledger)
    assert all(session.answer is not None for session in sessions)
    assert totals.draws == server.counts.answers == server.counts.completed == 48
    assert totals.spent.output_tokens == server.counts.output_tokens
    assert len(failed) == sum(server.counts.faults.values()) > 20
    assert server.counts.requests == totals.draws + len(failed)


@pytest.mark.parametrize(
    ("options", "match"), [({"key": "sk-right"}, "401"), ({"model": "another"}, "404")]
)
async def test_a_refusal_stops_the_study_in_one_line(options, match):
    async with FakeServer(coin(), **options) as server:
        with Ledger(":memory:") as ledger:
            with pytest.raises(GeneratorError, match=match) as caught:
                await run(ledger, server.base_url, concurrency=2)
            assert ledger.failed_runs() == []
            assert ledger.totals().draws == 0
        assert "\n" not in str(caught.value)
        assert server.counts.requests <= 4


async def test_a_server_that_goes_away_loses_nothing():
    with Ledger(":memory:") as ledger:
        async with FakeServer(coin(0.005), many="ignore") as server:
            running = asyncio.create_task(run(ledger, server.base_url, max_tries=3, concurrency=4))
            while server.counts.completed < 10:
                await asyncio.sleep(0.001)
        with pytest.raises(GeneratorError, match="reachable"):
            await running
        kept = ledger.totals().draws
        assert kept >= 6  # what was on the wire may be lost
        assert not ledger.failed_runs()
        async with FakeServer(coin(), many="ignore", port=server.port) as again:
            await run(ledger, again.base_url)
            assert again.counts.answers == 48 - kept
        assert ledger.totals().draws == 48


async def test_nobody_there_is_found_out_quickly():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with Ledger(":memory:") as ledger, pytest.raises(GeneratorError, match="reachable"):
        await asyncio.wait_for(run(ledger, base_url), 20.0)


async def test_draws_of_a_request_are_recorded_as_they_come():
    async with FakeServer(coin(0.02), many="ignore") as server:
        with Ledger(":memory:") as ledger:
            running = asyncio.create_task(
                run(ledger, server.base_url, plans(1, 64), concurrency=4)
            )
            while server.counts.completed < 20:
                await asyncio.sleep(0.002)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            kept = ledger.totals().draws
            assert kept >= 16
            assert 1 <= attempts(ledger).count("cancelled on the wire") <= 4
            await run(ledger, server.base_url, plans(1, 64))
            assert ledger.totals().draws == 64
            assert server.counts.answers <= 64 + 4  # paid twice: those on the wire alone


async def test_dollars_are_a_hard_limit_and_the_study_goes_on_later():
    prices = {"usd_per_million_prompt_tokens": 1e4, "usd_per_million_output_tokens": 1e6}
    options = {"max_tokens": 4, **prices}
    async with FakeServer(coin(), many="ignore") as server:
        with Ledger(":memory:") as ledger:
            with pytest.raises(SpendLimitReached, match="usd"):
                await run(ledger, server.base_url, plans(40, 8), limits={"usd": 200.0}, **options)
            assert 100.0 < ledger.totals().spent.usd <= 200.0
            await run(ledger, server.base_url, plans(40, 8), **options)
            assert ledger.totals().draws == 320


async def test_seconds_are_a_hard_limit():
    async with FakeServer(coin(0.05), many="ignore") as server:
        with Ledger(":memory:") as ledger:
            started = asyncio.get_running_loop().time()
            with pytest.raises(SpendLimitReached, match="seconds"):
                await run(ledger, server.base_url, limits={"seconds": 0.4}, concurrency=1)
            assert asyncio.get_running_loop().time() - started < 2.0
            assert 1 <= ledger.totals().draws < 48


STUDY = """
budgets = [2]
[[models]]
name = "openai:m"
base_url = "{base_url}"
concurrency = 4
{options}
[[tasks]]
name = "chain"
problems = 2
[[strategies]]
name = "{strategy}"
"""


async def study(server, folder, strategy="majority", options=""):
    text = STUDY.format(base_url=server.base_url, strategy=strategy, options=options)
    return await asyncio.to_thread(Study(parse_study(text), folder).run)


@pytest.mark.parametrize("continues", ["flags", "never"])
async def test_a_study_finds_out_whether_a_chat_continues(continues, tmp_path):
    def script(context, index, rng):
        if "France" in context.messages[0][1]:
            return "is." if context.partial else "Paris."
        return "1+1=2\n"

    async with FakeServer(Scripted.from_function(script), continues=continues) as server:
        if continues == "never":
            with pytest.raises(UsageError, match="partial"):
                await study(server, tmp_path, 'beam"\nverifier = "exact')
        else:
            progress = await study(server, tmp_path, 'beam"\nverifier = "exact')
            assert (progress.runs_done, progress.runs_failed) == (2, 0)


async def test_a_study_file_takes_what_an_endpoint_takes(tmp_path):
    options = "requests_per_minute = 6000\nusd_per_million_output_tokens = 1e6"
    async with FakeServer(coin()) as server:
        await study(server, tmp_path, options=options)
        tokens = server.counts.output_tokens
    with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
        assert ledger.totals().spent.usd == tokens > 0


@pytest.mark.slow
def test_a_killed_study_pays_no_draw_twice_beyond_those_in_flight(capsys):
    home = Path(__file__).parents[2] / "benchmarks" / "endpoint.py"
    spec = importlib.util.spec_from_file_location("endpoint_benchmark", home)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.kills(5, seed=3)  # asserts
    assert "5 kills" in capsys.readouterr().out


def test_embedded_models_do_not_load_the_web_client():
    code = "import sys, dwell.study, dwell.cli; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
