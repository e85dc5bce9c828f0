"""Every verifier keeps the promises that the conformance suite checks."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from dwell.records import Candidate, Problem
from dwell.testing import VerifierSuite
from dwell.verifiers import make_verifier

PROBLEM = Problem(id="p", prompt="C1+2\n", task="sums", reference="3")
STATS = {
    "surprisal": np.array([0.5, 0.1, 0.2, 0.3, 2.0, 0.1], dtype=np.float32),
    "self_certainty": 1.5,
    "step_value": np.array([0.7], dtype=np.float32),
}
CANDIDATES = (
    Candidate(PROBLEM.context(), "1+2=3\n", "end", "3", 0, 6, STATS),
    Candidate(PROBLEM.context(), "1+2=4\n", "end", "4", 1, 6, {**STATS, "self_certainty": 0.5}),
    Candidate(PROBLEM.context(), "reason", "failed", None, 2, 0),
)


class Sums:
    name = "sums"

    def check(self, problem, answer):
        return answer == problem.reference


class Scorer:
    fingerprint = "scorer"

    def logits(self, texts):
        return [([float(len(text)) - 5.5], len(text)) for _, text in texts]

    def flops(self, tokens):
        return 2.0 * tokens

    def seconds(self, tokens):
        return 0.1 * tokens


class Suite(VerifierSuite):
    problem: ClassVar[Problem] = PROBLEM
    candidates: ClassVar[tuple[Candidate, ...]] = CANDIDATES


@pytest.fixture(params=["exact", "process", "process_weak", "self_certainty", "worst_surprisal"])
def single(request):
    return make_verifier(request.param, tasks={"sums": Sums()}, scorer=Scorer)


class TestOutcomes(Suite):
    @pytest.fixture
    def verifier(self, single):
        return single


class TestPrefixes(Suite):
    mode = "prefix"
    candidates = tuple(replace(c, status="step") if c.status == "end" else c for c in CANDIDATES)

    @pytest.fixture
    def verifier(self, single):
        return single


class TestGroups(Suite):
    mode = "group"

    @pytest.fixture
    def verifier(self, single):
        return single


class TestAgreement(Suite):
    mode = "group"

    @pytest.fixture
    def verifier(self):
        return make_verifier("agreement")
