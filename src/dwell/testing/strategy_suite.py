"""What every strategy must do, as a class of tests to inherit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, ClassVar

from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.records import Problem
from dwell.requests import Generate, Verify
from dwell.testing.player import PROBLEM, Played, play
from dwell.testing.toy import ToyWorld


class StrategySuite:
    """What every strategy must do. Subclasses give a fixture `strategy`.

    Attributes:
        problem: what is solved; override where a strategy needs certain markers.
        scales: values of the scale parameter that must be accepted.
    """

    problem: ClassVar[Problem] = PROBLEM
    scales: ClassVar[tuple[int, ...]] = (1, 2, 5, 8)

    def play(self, strategy: Strategy, world: ToyWorld | None = None, **options: Any) -> Played:
        """Play in a toy world."""
        return play(strategy, self.problem, world or ToyWorld(), **options)

    def test_same_replies_and_seed_give_the_same_requests(self, strategy: Strategy) -> None:
        """A strategy is a pure function of its replies and its seed."""
        for seed in range(3):
            first = self.play(strategy, ToyWorld(seed), seed=seed)
            assert first == self.play(strategy, ToyWorld(seed), seed=seed)

    def test_answer_comes_from_what_was_drawn(self, strategy: Strategy) -> None:
        """With a budget and answers it gives one of the answers, or None."""
        for seed in range(5):
            played = self.play(strategy, ToyWorld(seed), seed=seed)
            assert played.ended == "answer"
            assert played.answer in {None, "0", "1", "2"}

    def test_budget_may_end_at_any_yield(self, strategy: Strategy) -> None:
        """An answer or a clean `OutOfBudget`, never another exception, and no endless asking."""
        total = self.play(strategy).num_yields
        assert total > 0
        for stop_at in range(total):
            for starve in ("all", "generate"):
                played = self.play(strategy, stop_at=stop_at, starve=starve)
                assert played.answer is None or isinstance(played.answer, str)

    def test_started_work_may_finish_in_any_order(self, strategy: Strategy) -> None:
        """Delivery by completion changes what is asked, never whether there is an answer."""
        for seed in range(3):
            assert self.play(strategy, seed=seed, order="shuffled").ended == "answer"

    def test_scale_parameter_is_accepted(self, strategy: Strategy) -> None:
        """Budgets sweep `scale`, from 1 up."""
        for value in self.scales:
            scaled = replace(strategy, **{strategy.scale: value})  # type: ignore[type-var]
            assert self.play(scaled).ended == "answer"
            assert scaled.params()[strategy.scale] == value

    def test_scale_below_its_range_is_refused(self, strategy: Strategy) -> None:
        """Parameters are checked when the strategy is made."""
        message = ""
        try:
            replace(strategy, **{strategy.scale: -1})  # type: ignore[type-var]
        except UsageError as error:
            message = str(error)
        assert strategy.scale in message

    def test_equal_scores_are_no_trouble(self, strategy: Strategy) -> None:
        """All scores may be equal, at any level."""
        for score in (0.0, 0.5, 1.0):
            assert self.play(strategy, ToyWorld(score=score)).answer is not None

    def test_nan_scores_are_no_trouble(self, strategy: Strategy) -> None:
        """NaN means "not verified": there is still an answer."""
        assert self.play(strategy, ToyWorld(score=math.nan)).answer is not None

    def test_missing_answers_never_win(self, strategy: Strategy) -> None:
        """Texts without an answer give no answer."""
        assert self.play(strategy, ToyWorld(answers=0)).answer is None

    def test_failed_draws_are_no_trouble(self, strategy: Strategy) -> None:
        """Some or all draws may fail."""
        assert self.play(strategy, ToyWorld(failing=1.0)).answer is None
        for seed in range(5):
            assert self.play(strategy, ToyWorld(seed, failing=0.3)).ended == "answer"

    def test_parameters_make_the_strategy_again(self, strategy: Strategy) -> None:
        """`params` is JSON-able and complete; `spec` names the strategy and every parameter."""
        params = json.loads(json.dumps(strategy.params()))
        assert type(strategy)(**params) == strategy
        assert strategy.spec().startswith(strategy.name)
        assert all(f"{key}=" in strategy.spec() for key in params)

    def test_only_named_verifiers_are_asked(self, strategy: Strategy) -> None:
        """`verifiers` tells a study what must be there before it starts."""
        asked = {r.verifier for r in self.play(strategy).requests if isinstance(r, Verify)}
        assert asked <= strategy.verifiers()

    def test_capabilities_are_declared(self, strategy: Strategy) -> None:
        """What is asked of the generator beyond whole answers is in `needs`."""
        for request in self.play(strategy).requests:
            if isinstance(request, Generate):
                assert not request.context.partial or "partial" in strategy.needs
                assert request.until == "end" or "step" in strategy.needs
                assert not request.forbid_end or "forbid_end" in strategy.needs
