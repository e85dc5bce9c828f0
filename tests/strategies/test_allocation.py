import math

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.strategies.allocation import Rebase, Resample, Softmax, TopK, Uniform

NAN = math.nan
RULES = (
    TopK(1), TopK(4), Rebase(), Rebase(1.0), Resample(), Resample(weight="exp"),
    Resample(scheme="systematic"), Softmax(), Softmax(2.0), Uniform(),
)  # fmt: skip
COLD = (TopK(64), Rebase(1e-4), Resample(1e-4), Resample(1e-4, "exp", "systematic"), Softmax(1e-4))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def score_tables():
    for seed in range(30):
        random = rng(seed)
        scores = random.random(random.integers(1, 12))
        scores[random.random(len(scores)) < 0.2] = NAN
        yield seed, scores, int(random.integers(0, 20))


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_counts_are_whole_not_negative_and_within_the_width(rule):
    for seed, scores, width in score_tables():
        counts = rule(scores, width, rng(seed))
        assert counts.dtype == np.int64
        assert counts.shape == scores.shape
        assert counts.min() >= 0
        assert counts.sum() <= width
        assert (counts.sum() > 0) == (width > 0)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_permuting_the_scores_permutes_the_counts(rule):
    for seed, scores, width in score_tables():
        if np.isnan(scores).all():
            continue  # all equal: ties
        order = rng(seed + 1).permutation(len(scores))
        counts = rule(scores, width, rng(seed))
        assert rule(scores[order], width, rng(seed)).tolist() == counts[order].tolist()


@pytest.mark.parametrize("rule", COLD, ids=repr)
def test_all_mass_goes_to_the_best_as_the_temperature_falls(rule):
    for seed, scores, width in score_tables():
        if not np.isnan(scores).all():
            counts = rule(scores, width, rng(seed))
            assert counts[np.nanargmax(scores)] == counts.sum() == width


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_unverified_candidates_get_children_only_if_all_are(rule):
    assert rule([NAN, 0.1, NAN], 6, rng())[[0, 2]].tolist() == [0, 0]
    assert rule([NAN, NAN], 6, rng()).sum() > 0


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_infinite_scores_and_no_candidates_are_no_trouble(rule):
    assert rule([-math.inf, math.inf, 0.0], 3, rng()).sum() > 0
    assert rule([-math.inf], 3, rng()).sum() > 0
    assert rule([], 5, rng()).tolist() == []


def test_negative_width_is_refused():
    with pytest.raises(UsageError, match="width=-1"):
        Uniform()([0.5], -1, rng())


def test_beam_gives_the_best_equal_numbers_of_children():
    scores = [0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.6, 0.5]
    assert TopK(4)(scores, 8, rng()).tolist() == [0, 4, 0, 4, 0, 0, 0, 0]
    assert TopK(4)(scores, 7, rng()).tolist() == [0, 4, 0, 3, 0, 0, 0, 0]
    assert TopK(4)(scores, 3, rng()).tolist() == [0, 3, 0, 0, 0, 0, 0, 0]
    assert TopK(4)([0.5], 16, rng()).tolist() == [4]


def test_rebase_matches_the_recursion_by_hand():
    # Masses e^(r/0.2) relative to the best: 1, e^-1, e^-2, e^-4, sum 1.52153. ceil(8/1.52153) = 6,
    # then ceil(2 * 0.36788 / 0.52153) = 2, then nothing is left.
    assert Rebase(0.2)([0.5, 0.9, 0.1, 0.7], 8, rng()).tolist() == [0, 6, 0, 2]
    # Equal scores: ceil(7/3), ceil(4/2), 2.
    assert Rebase(0.2)([0.4, 0.4, 0.4], 7, rng()).tolist() == [3, 2, 2]
    # A width that divides is not rounded up by rounding errors.
    assert Rebase(0.2)([0.4] * 6, 12, rng()).tolist() == [2] * 6


def test_softmax_shares_are_rounded_by_largest_remainders():
    # Shares of 0, -log 2, -log 4 at T = 1: 4/7, 2/7, 1/7 of 10 = 5.71, 2.86, 1.43.
    assert Softmax(1.0)([0.0, -math.log(2), -math.log(4)], 10, rng()).tolist() == [6, 3, 1]


@pytest.mark.parametrize("scheme", ["multinomial", "systematic"])
def test_resampling_is_unbiased_with_the_right_spread(scheme):
    scores = np.array([0.2, 0.5, 0.8])
    odds = scores / (1 - scores)
    prob = odds / odds.sum()
    random, runs, width = rng(5), 4000, 8
    counts = np.array([Resample(scheme=scheme)(scores, width, random) for _ in range(runs)])
    spread = np.sqrt(width * prob * (1 - prob) / runs)
    assert np.all(np.abs(counts.mean(0) - width * prob) < 4 * spread)
    assert np.all(counts.sum(1) == width)
    if scheme == "systematic":
        assert np.all(np.abs(counts - width * prob) < 1)
    else:
        ratio = counts.var(0) / (width * prob * (1 - prob))
        assert np.all(np.abs(ratio - 1) < 4 * np.sqrt(2.5 / runs))


def test_odds_of_certain_scores_stay_finite():
    assert Resample()([1.0, 0.0, 1.0], 100, rng())[1] == 0
    assert Resample()([2.0, -1.0], 5, rng()).tolist() == [5, 0]
