"""Conformance suites for strategies, generators and verifiers, and a player for strategies.

Inherit a suite, give it one fixture, and run pytest:

    class TestMine(StrategySuite):
        @pytest.fixture
        def strategy(self):
            return Mine(n=4)

`play` runs a strategy against canned replies, synchronously and in memory: no driver, no ledger,
no model. `ToyWorld` answers any request with draws that are a function of a seed alone. Nothing
here imports pytest or any implementation. For readable failures put
``pytest.register_assert_rewrite("dwell.testing")`` into your conftest.py.
"""

from __future__ import annotations

from dwell.testing.generator_suite import GeneratorSuite
from dwell.testing.player import PROBLEM, Played, candidates, play
from dwell.testing.strategy_suite import StrategySuite
from dwell.testing.toy import ToyWorld
from dwell.testing.verifier_suite import VerifierSuite

__all__ = [
    "PROBLEM",
    "GeneratorSuite",
    "Played",
    "StrategySuite",
    "ToyWorld",
    "VerifierSuite",
    "candidates",
    "play",
]
