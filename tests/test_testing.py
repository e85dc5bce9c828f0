"""The shipped suites accept what keeps the contract, and catch what breaks it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from dwell.errors import OutOfBudget, StrategyError, UsageError
from dwell.protocols import GenerateWork, Outcome, Strategy, VerifyWork
from dwell.records import Draw, Usage
from dwell.requests import Cancel, Emit, Generate, Next, Remaining, Run, Start, Verify
from dwell.testing import (
    PROBLEM,
    GeneratorSuite,
    StrategySuite,
    ToyWorld,
    VerifierSuite,
    candidates,
    play,
)

ASK = Generate(PROBLEM.context())


def strategy_of(solution):
    """A strategy whose `solve` is the given generator function of no arguments."""

    class Inline(Strategy):
        def solve(self, problem, rng):
            return solution()

    return Inline()


# ---- the player -----------------------------------------------------------------------------


def test_texts_become_candidates_with_answers():
    step, end, blank = candidates(Generate(PROBLEM.context(), 3, "step"), ["a\n", "a\n7", " \n "])
    assert (step.status, step.answer, step.finished) == ("step", None, False)
    assert (end.status, end.answer, end.index) == ("end", "7", 1)
    assert (blank.answer, blank.text) == (None, " \n ")


def test_lists_and_sub_strategies_are_answered_in_place():
    def sub(tag):
        (drawn,) = yield ASK
        return tag + drawn.answer

    def solution():
        replies = yield [ASK, sub("x"), [ASK, sub("y")], []]
        return repr([replies[0][0].answer, replies[1], replies[2][1], replies[3]])

    played = play(strategy_of(solution), PROBLEM, [["1"], ["2"], ["3"], ["4"]])
    assert played.answer == "['1', 'x2', 'y4', []]"


def test_next_delivers_started_work_oldest_first_or_shuffled():
    def solution():
        for tag in range(6):
            yield Start(ASK, tag=tag)
        yield Cancel(3)
        tags = []
        for _ in range(5):
            tag, _reply = yield Next()
            tags.append(tag)
        return str(tags)

    texts = [["1"]] * 6
    assert play(strategy_of(solution), PROBLEM, texts).answer == "[0, 1, 2, 4, 5]"
    shuffled = {
        play(strategy_of(solution), PROBLEM, texts, seed, order="shuffled").answer
        for seed in range(9)
    }
    assert len(shuffled) > 1


def test_control_requests_are_free_and_answered():
    def solution():
        yield Emit("1")
        left = yield Remaining()
        result = yield Run("2+2")
        return f"{left.output_tokens} {result.text}"

    played = play(strategy_of(solution), PROBLEM, [Draw(text="4")])
    assert (played.answer, played.num_yields) == ("inf 4", 1)


def test_reference_answer_is_hidden():
    class Peeking(Strategy):
        def solve(self, problem, rng):
            return problem.reference
            yield

    assert PROBLEM.reference == "1"
    assert play(Peeking(), PROBLEM, []).answer is None


def test_budget_end_delivers_half_and_then_nothing():
    seen = []

    def solution():
        for _ in range(2):
            try:
                yield Generate(PROBLEM.context(), n=4)
            except OutOfBudget as stop:
                seen.append(len(stop.partial))
        yield ASK

    played = play(strategy_of(solution), PROBLEM, ToyWorld(), stop_at=0)
    assert seen == [2, 0]
    assert played.ended == "out_of_budget"
    assert played.answer in {"0", "1", "2"}  # the plurality of what was delivered


def test_budget_end_in_a_list_keeps_what_came_before():
    def solution():
        try:
            yield [ASK, ASK]
        except OutOfBudget as stop:
            return stop.partial[0][0].answer + str(stop.partial[1])

    assert play(strategy_of(solution), PROBLEM, [["7"]], stop_at=1).answer == "7()"


def test_last_emitted_answer_stands_when_the_budget_ends():
    def solution():
        yield ASK
        yield Emit("5")
        yield ASK

    assert play(strategy_of(solution), PROBLEM, [["7"]], stop_at=1).answer == "5"


def test_player_refuses_broken_strategies_and_wrong_replies():
    def garbage():
        yield "please"

    def waiting():
        yield Next()

    def asking():
        yield Generate(PROBLEM.context(), n=2)

    with pytest.raises(StrategyError, match="str"):
        play(strategy_of(garbage), PROBLEM, [])
    with pytest.raises(StrategyError, match="Next"):
        play(strategy_of(waiting), PROBLEM, [])
    with pytest.raises(UsageError, match="2 entries, but got 1"):
        play(strategy_of(asking), PROBLEM, [["7"]])
    with pytest.raises(UsageError, match="0 were used up"):
        play(strategy_of(asking), PROBLEM, [])


def test_toy_world_is_a_function_of_its_seed_and_counts_draws():
    once, again = ToyWorld(4), ToyWorld(4)
    request = Generate(PROBLEM.context(), n=3, until="step")
    first, second = once(request), once(request)
    assert [c.index for c in second] == [3, 4, 5]
    assert (again(request), again(request)) == (first, second)
    assert ToyWorld(5)(request) != first


# ---- the strategy suite ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Careful(Strategy):
    name = "careful"
    n: int = 3

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UsageError(f"`n` must be at least 1, but got n={self.n}.")

    def verifiers(self) -> frozenset[str]:
        return frozenset({"process"})

    def solve(self, problem, rng):
        drawn = yield Generate(problem.context(), n=self.n)
        scores = yield Verify(drawn)
        ranked = sorted(zip(np.nan_to_num(scores), range(self.n), drawn, strict=True))
        answers = [c.answer for _, _, c in ranked if c.answer is not None]
        return answers[-1] if answers else None


class TestCareful(StrategySuite):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return Careful()


class Impure(Careful):
    calls = 0

    def solve(self, problem, rng):
        Impure.calls += 1
        return (yield Generate(problem.context(), n=1 + Impure.calls % 3))[0].answer


class Insisting(Careful):
    def solve(self, problem, rng):
        while True:
            try:
                return (yield Generate(problem.context()))[0].answer
            except OutOfBudget:
                continue


class Brittle(Careful):
    def solve(self, problem, rng):
        try:
            return (yield Generate(problem.context()))[0].answer
        except OutOfBudget as stop:
            return stop.partial[0].answer


class ElectsNothing(Careful):
    def solve(self, problem, rng):
        drawn = yield Generate(problem.context(), n=self.n)
        return str(drawn[0].answer)


class Trusting(Careful):
    def solve(self, problem, rng):
        drawn = yield Generate(problem.context(), n=self.n)
        scores = yield Verify(drawn)
        above = [c.answer for c, s in zip(drawn, scores, strict=True) if s > 0.0]
        return above[0] if above else None


class Undeclared(Careful):
    def verifiers(self) -> frozenset[str]:
        return frozenset()


class Stepping(Careful):
    def solve(self, problem, rng):
        return (yield Generate(problem.context(), until="step"))[0].answer


class Unchecked(Careful):
    def __post_init__(self) -> None:
        pass


class Forgetful(Careful):
    def params(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Impure, "same_replies_and_seed_give_the_same_requests"),
        (Insisting, "budget_may_end_at_any_yield"),
        (Brittle, "budget_may_end_at_any_yield"),
        (ElectsNothing, "missing_answers_never_win"),
        (Trusting, "nan_scores_are_no_trouble"),
        (Trusting, "equal_scores_are_no_trouble"),
        (Undeclared, "only_named_verifiers_are_asked"),
        (Stepping, "capabilities_are_declared"),
        (Unchecked, "scale_below_its_range_is_refused"),
        (Forgetful, "parameters_make_the_strategy_again"),
    ],
)
def test_strategy_suite_catches(broken, check):
    with pytest.raises((AssertionError, StrategyError, IndexError, TypeError)):
        getattr(StrategySuite(), f"test_{check}")(broken(n=4))


# ---- the generator and verifier suites ------------------------------------------------------


@dataclass
class Echo:
    """A generator whose draw is its seed in words; options break it."""

    fingerprint: str = "echo"
    info: dict[str, str] = field(default_factory=dict)
    provides: frozenset[str] = frozenset({"partial", "step", "length"})
    max_batch: int = 8
    concurrency: int = 2
    slots: int = 4
    default_max_tokens: int = 16
    broken: str = ""
    calls: int = 0

    async def generate(self, work: list[GenerateWork]) -> list[Outcome]:
        self.calls += 1
        return [Outcome([self.draw(w, seed, len(work)) for seed in w.seeds]) for w in work]

    def draw(self, work: GenerateWork, seed: int, neighbours: int) -> Draw:
        text = f"{seed}"
        if self.broken == "batch":
            text += f" of {neighbours}"
        if self.broken == "memory":
            text += f" after {self.calls}"
        steps = work.request.until == "step"
        cap = work.request.max_tokens or self.default_max_tokens
        return Draw(
            status="cap" if cap < 4 else "step" if steps else "end",
            text=text[:cap],
            output_tokens=9 if self.broken == "cap" else min(len(text), cap),
            seconds=-1.0 if self.broken == "charge" else 0.0,
            stats=None if self.broken == "stats" else {"length": len(text)},
        )

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        return Usage(flops=float(prompt_tokens))

    async def close(self) -> None:
        pass


class TestEcho(GeneratorSuite):
    @pytest.fixture
    def generator(self) -> Echo:
        return Echo()


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        ("batch", "draws_do_not_depend_on_their_batch"),
        ("memory", "same_seed_gives_the_same_draw"),
        ("cap", "cap_on_tokens_is_obeyed"),
        ("charge", "charges_are_finite_and_not_negative"),
        ("stats", "wanted_statistics_come_back"),
    ],
)
def test_generator_suite_catches(broken, check):
    with pytest.raises(AssertionError):
        getattr(GeneratorSuite(), f"test_{check}")(Echo(broken=broken))


@dataclass
class Length:
    """A verifier that prefers short answers; options break it."""

    name: str = "length"
    fingerprint: str = "length"
    wants: frozenset[str] = frozenset()
    derived: bool = True
    oracle: bool = False
    max_batch: int = 8
    concurrency: int = 1
    broken: str = ""

    async def score(self, work: list[VerifyWork]) -> list[Outcome]:
        return [Outcome([self.draw(w, seed, len(work)) for seed in w.seeds]) for w in work]

    def draw(self, work: VerifyWork, seed: int, neighbours: int) -> Draw:
        value: float | None = 1.0 / (1 + len(work.candidates[0].text)) + 1e-9 * (seed % 7)
        if self.broken == "batch":
            value = float(neighbours)
        if self.broken == "peeking":
            value = float(work.candidates[0].answer == work.problem.reference)
        if self.broken == "zero":
            return Draw(status="failed", value=0.0)
        return Draw(value=math.nan if self.broken == "nan" else value)


class TestLength(VerifierSuite):
    @pytest.fixture(params=["", "nan"])
    def verifier(self, request) -> Length:
        return Length(broken=request.param)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        ("batch", "scores_do_not_depend_on_order_or_batch"),
        ("peeking", "only_an_oracle_reads_the_reference"),
        ("zero", "one_score_per_seed_or_per_candidate"),
    ],
)
def test_verifier_suite_catches(broken, check):
    with pytest.raises(AssertionError):
        getattr(VerifierSuite(), f"test_{check}")(Length(broken=broken))
