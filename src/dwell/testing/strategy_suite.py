"""What every strategy must do, as a class of tests to inherit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.records import Answer, Problem
from dwell.requests import Generate, Verify
from dwell.testing.player import PROBLEM, Played, play
from dwell.testing.replaying import POOL_SIZE, play_streams, random_streams
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
        """Play in a toy world; a pooled strategy on three questions like `problem`."""
        problem = self.problem
        if strategy.pooled and not problem.members:
            members = (replace(problem, id=f"{i}", prompt=f"{problem.prompt}{i}") for i in "012")
            problem = Problem(id="pool", prompt="", members=tuple(members))
        return play(strategy, problem, world or ToyWorld(), **options)

    def answers(self, played: Played) -> list[Answer]:
        """The answer, or the answers of a pool."""
        given: Any = played.answer
        return list(given.values()) if isinstance(given, Mapping) else [given]

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
            assert set(self.answers(played)) <= {None, "0", "1", "2"}

    def test_budget_may_end_at_any_yield(self, strategy: Strategy) -> None:
        """An answer or a clean `OutOfBudget`, never another exception, and no endless asking."""
        total = self.play(strategy).num_yields
        assert total > 0
        for stop_at in range(total):
            for starve in ("all", "generate"):
                played = self.play(strategy, stop_at=stop_at, starve=starve)
                assert all(isinstance(a, str | None) for a in self.answers(played))

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
            answers = self.answers(self.play(strategy, ToyWorld(score=score)))
            assert any(answer is not None for answer in answers) or strategy.abstains

    def test_nan_scores_are_no_trouble(self, strategy: Strategy) -> None:
        """NaN means "not verified": there is still an answer, but from those that abstain."""
        answers = self.answers(self.play(strategy, ToyWorld(score=math.nan)))
        assert any(answer is not None for answer in answers) or strategy.abstains

    def test_missing_answers_never_win(self, strategy: Strategy) -> None:
        """Texts without an answer give no answer."""
        assert set(self.answers(self.play(strategy, ToyWorld(answers=0)))) == {None}

    def test_failed_draws_are_no_trouble(self, strategy: Strategy) -> None:
        """Some or all draws may fail."""
        assert set(self.answers(self.play(strategy, ToyWorld(failing=1.0)))) == {None}
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

    def test_a_pool_charges_its_members(self, strategy: Strategy) -> None:
        """Every draw and score of a pool names its member; an ordinary run names none."""
        for request in self.play(strategy).requests:
            if isinstance(request, Generate | Verify):
                assert (request.problem is not None) == strategy.pooled

    def test_capabilities_are_declared(self, strategy: Strategy) -> None:
        """What is asked of the generator beyond whole answers is in `needs`."""
        for request in self.play(strategy).requests:
            if isinstance(request, Generate):
                assert not request.context.partial or "partial" in strategy.needs
                assert request.until == "end" or "step" in strategy.needs
                assert not request.forbid_end or "forbid_end" in strategy.needs

    def test_replay_equals_playing_the_same_streams(self, strategy: Strategy) -> None:
        """Where whole answers suffice: the same draws used and the same answer, stream by stream.

        Streams have ties, draws without an answer, missing scores and unequal lengths.
        """
        for scale in self.scales:
            scaled = replace(strategy, **{strategy.scale: scale})  # type: ignore[type-var]
            # One question may take all that a pool may draw.
            length = POOL_SIZE * scale if strategy.pooled else 5 * scale + 5
            streams = random_streams(scale, strategy.verifiers(), num=4, length=length)
            replayed = scaled.replay(streams)
            if replayed is None:
                return
            played = play_streams(scaled, streams)
            assert np.array_equal(replayed.drawn, played.drawn)
            known = played.drawn >= 0
            assert known.any()
            assert np.array_equal(replayed.chosen[known], played.chosen[known])
            if replayed.place is not None:
                named = streams.codes_at(np.where(known, replayed.place, -1))
                assert np.array_equal(named, np.where(known, replayed.chosen, -1))
