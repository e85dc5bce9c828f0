"""Exact estimates against brute force over all subsets, and against hand-worked turns."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import replay_world
from dwell.recordings import NO_ANSWER, Recording
from dwell.replays.asking import asked
from dwell.replays.estimates import CALLS, OUTPUT, VERIFIER, exact

BUDGETS = (1, 2, 3, 5, 6)
RECORDING = replay_world.random_recording(num=6, draws=6, silent=0.2, seed=3)


def estimate(word, recording=RECORDING, budgets=BUDGETS):
    (one,) = asked(word)
    return exact(one.on(recording), recording, budgets)


def by_enumeration(function, recording, budgets):
    """Mean of a function of (question, draws) over all subsets of k draws, `[P, K]`."""
    return np.array(
        [
            [
                np.mean([function(p, list(draws)) for draws in combinations(range(size), k)])
                for k in budgets
            ]
            for p, size in enumerate(recording.sizes)
        ]
    )


def plurality(p, draws):
    codes = RECORDING.codes[p, draws]
    counts = np.bincount(codes[codes >= 0], minlength=RECORDING.values.shape[1])
    if not counts.any():
        return 0.0
    return RECORDING.values[p, counts == counts.max()].mean()


def highest(p, draws):
    usable = [draw for draw in draws if RECORDING.codes[p, draw] != NO_ANSWER]
    if not usable:
        return 0.0
    best = max(usable, key=lambda draw: RECORDING.columns["score"][p, draw])
    return RECORDING.correct[p, best]


@pytest.mark.parametrize(
    ("word", "function"),
    [
        ("sample", lambda p, draws: RECORDING.correct[p, draws].mean()),
        ("average", lambda p, draws: RECORDING.correct[p, draws].mean()),
        ("majority", plurality),
        ("best_of_n", highest),
        ("coverage", lambda p, draws: RECORDING.correct[p, draws].max()),
        ("best", lambda p, draws: RECORDING.correct[p, draws].max()),
        ("worst", lambda p, draws: RECORDING.correct[p, draws].min()),
    ],
)
def test_an_estimate_is_the_mean_over_all_subsets(word, function):
    found = estimate(word)
    assert found.estimator == "exact"
    np.testing.assert_allclose(
        found.values, by_enumeration(function, RECORDING, BUDGETS), atol=1e-12
    )


def test_weights_that_are_no_logarithms_give_an_exact_weighted_vote():
    weights = np.exp(RECORDING.columns["score"])
    recording = replace(RECORDING, columns={"score": weights})

    def heaviest(p, draws):
        codes = recording.codes[p, draws]
        sums = np.bincount(
            codes[codes >= 0], weights[p, draws][codes >= 0], recording.values.shape[1]
        )
        return recording.values[p, sums.argmax()] if sums.any() else 0.0

    found = estimate("weighted_majority", recording)
    assert found.estimator == "exact"
    np.testing.assert_allclose(
        found.values, by_enumeration(heaviest, recording, BUDGETS), atol=1e-12
    )


def test_weights_that_depend_on_the_draws_at_hand_are_left_to_random_orders():
    assert estimate("weighted_majority") is None  # negative: logarithms of weights
    scores = np.abs(RECORDING.columns["score"])
    scores[0, :2] = 0.0  # where only these are drawn the plain vote decides
    assert estimate("weighted_majority", replace(RECORDING, columns={"score": scores})) is None
    many = replay_world.random_recording(num=4, draws=30)
    many = replace(many, columns={"score": np.ones(many.correct.shape)})
    assert estimate("weighted_majority", many, (1, 2)).estimator == "exact"
    assert estimate("weighted_majority", many, (15,)) is None


def test_a_question_with_too_few_draws_has_no_value():
    short = replay_world.recording([[0, 0, 1], [0]], [0, 0], tokens=[[1, 2, 3], [4]])
    found = estimate("majority", short, (1, 2, 3))
    assert np.isnan(found.values).tolist() == [[False] * 3, [False, True, True]]
    assert found.charged[0, :, OUTPUT].tolist() == [2, 4, 6]
    assert np.isnan(found.charged[1, 1:, CALLS]).all()


def test_recorded_verifiers_cost_nothing_and_their_recorded_tokens_count():
    free = estimate("best_of_n")
    assert np.all(free.charged[..., VERIFIER] == 0)
    charged = replace(RECORDING, score_tokens={"score": np.full(RECORDING.correct.shape, 7.0)})
    found = estimate("best_of_n", charged)
    assert found.charged[0, :, VERIFIER].tolist() == [0, 14, 21, 35, 42]


def test_turns_count_until_the_first_full_grade():
    # Two samples of one question: right at turn 2, and never; then one question right at once.
    recording = Recording(
        run="t", model="m", dataset="d", questions=("a", "b"), sizes=np.array([5, 1]),
        correct=np.array([[0, 1, 0, 0.5, 0], [1, *[np.nan] * 4]]),
        turns=np.array([[0, 1, 0, 1, 2], [0, -1, -1, -1, -1]]),
        tokens=np.array([[10, 10, 10, 10, 10], [5, *[np.nan] * 4]]),
    )  # fmt: skip
    found = estimate("turns", recording, (1, 2, 3))
    assert found.values.tolist() == [[0, 0.5, 0.5], [1, 1, 1]]
    assert found.charged[:, :, CALLS].tolist() == [[1, 2, 2.5], [1, 1, 1]]
    assert found.charged[:, :, OUTPUT].tolist() == [[10, 20, 25], [5, 5, 5]]


def test_fractional_grades_count_as_they_are():
    graded = Recording(
        run="g", model="m", dataset="d", questions=("a",), sizes=np.array([3]),
        correct=np.array([[0.2, 0.5, 0.9]]),
    )  # fmt: skip
    best = estimate("coverage", graded, (1, 2, 3)).values[0]
    worst = estimate("worst", graded, (1, 2, 3)).values[0]
    np.testing.assert_allclose(best, [1.6 / 3, (0.5 + 0.9 + 0.9) / 3, 0.9])
    np.testing.assert_allclose(worst, [1.6 / 3, (0.2 + 0.2 + 0.5) / 3, 0.2])
