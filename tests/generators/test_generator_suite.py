"""Every generator keeps the promises that the conformance suite checks."""

import asyncio
import threading
from contextlib import contextmanager
from typing import ClassVar

import pytest

from dwell.generators import Endpoint, FakeServer, Latency, Scripted, TinyGenerator
from dwell.records import Problem
from dwell.testing import GeneratorSuite


@contextmanager
def served(script):
    """A fake server in a thread of its own: the suite opens an event loop for each call."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FakeServer(script)
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(60)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class TestCoin(GeneratorSuite):
    @pytest.fixture
    def generator(self):
        return Scripted.coin(0.3, steps=3, flops_per_token=2.0, latency=Latency(base_seconds=1.0))


class TestFailingScript(GeneratorSuite):
    @pytest.fixture
    def generator(self):
        length = {"length": lambda context, text: float(len(text))}
        return Scripted.from_list(["one two\nthree", "four"], failure_rate=0.5, stats=length)


class TestEndpoint(GeneratorSuite):
    reproducible: ClassVar[bool] = False

    @pytest.fixture(params=["chat", "completions"])
    def generator(self, request):
        with served(Scripted.from_list(["one two\nthree"])) as server:
            yield Endpoint("m", server.base_url, api=request.param)


class TestTiny(GeneratorSuite):
    problem: ClassVar[Problem] = Problem(id="p", prompt="C47+38*3-29\n", task="chain")

    @pytest.fixture
    def generator(self, tiny_folder):
        return TinyGenerator(tiny_folder)
