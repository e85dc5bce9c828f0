"""Expected gains of further draws, and sharing a budget by them."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import beta

from dwell.strategies.gains import concave_slopes, coverage_gains, greedy, next_gain, vote_gains


def test_vote_gains_sum_to_the_expected_confidence_of_a_longer_vote():
    # By simulation of the model: share p of the leader from its posterior, then ten more votes.
    rng = np.random.default_rng(0)
    a, b, more = 2, 1, 10
    share = rng.beta(a + 1, b + 1, 200_000)
    up = rng.binomial(more, share)
    sure = beta.sf(0.5, a + up + 1, b + more - up + 1)
    after = np.maximum(sure, 1 - sure)
    now = beta.sf(0.5, a + 1, b + 1)
    gain = vote_gains(4, more)[a, b].sum()
    assert gain == pytest.approx(after.mean() - now, abs=4 * after.std() / np.sqrt(len(after)))


def test_vote_gains_are_symmetric_and_largest_at_a_tie():
    gains = vote_gains(4, 20)
    assert np.allclose(gains, gains.swapaxes(0, 1))
    assert gains[2, 2, 0] > gains[2, 1, 0] > gains[3, 1, 0] > gains[4, 0, 0] > 0


def test_the_next_gain_is_the_first_slope():
    assert np.allclose(next_gain(12), vote_gains(12, 12)[..., 0], atol=1e-15)


def test_slopes_never_rise_and_reach_the_end():
    values = np.cumsum(np.random.default_rng(1).random((50, 9)) - 0.3, axis=1)
    slopes = concave_slopes(values)
    assert (np.diff(slopes, axis=1) <= 0).all()
    assert np.allclose(slopes.sum(axis=1), values[:, -1] - values[:, 0])
    above = values[:, :1] + np.cumsum(slopes, axis=1) - values[:, 1:]
    assert above.min() > -1e-12


def test_slopes_of_concave_values_are_their_differences():
    values = np.sqrt(np.arange(8.0))
    assert np.allclose(concave_slopes(values), np.diff(values))


@pytest.mark.parametrize("scores", [[0.0, 0.0, 0.0], [0.2, np.nan, 0.7], [1.0, 0.0, 0.0]])
def test_coverage_gains_are_expectations_under_the_posterior(scores):
    known = np.nan_to_num(scores)
    posterior = beta(1 + known.sum(), 1 + len(known) - known.sum())
    wanted = [np.prod(1 - known) * posterior.expect(lambda p, j=j: p * (1 - p) ** j)
              for j in range(6)]  # fmt: skip
    assert np.allclose(coverage_gains(np.array([scores]), 6)[0], wanted, atol=1e-7)


def test_scores_outside_zero_and_one_are_clipped():
    assert np.array_equal(
        coverage_gains(np.array([[-3.0, 0.5]]), 4), coverage_gains(np.array([[0.0, 0.5]]), 4)
    )
    assert not coverage_gains(np.array([[7.0]]), 4).any()


def test_greedy_is_optimal_for_falling_gains():
    rng = np.random.default_rng(2)
    for _ in range(20):
        gains = -np.sort(-rng.random((3, 4)), axis=1)
        totals = np.concatenate([np.zeros((3, 1)), np.cumsum(gains, axis=1)], axis=1)
        for total in range(13):
            best = max(
                sum(totals[q, k] for q, k in enumerate(counts))
                for counts in product(range(5), repeat=3)
                if sum(counts) <= total
            )
            counts = greedy(gains, total)
            assert counts.sum() == total
            assert totals[np.arange(3), counts].sum() == pytest.approx(best)


def test_greedy_gives_nothing_where_nothing_is_gained():
    gains = np.array([[0.0, 0.0], [0.4, 0.1]])
    assert greedy(gains, 4).tolist() == [0, 2]
    assert greedy(gains, 0).tolist() == [0, 0]


def test_greedy_shares_many_budgets_at_once():
    gains = -np.sort(-np.random.default_rng(3).random((5, 4, 6)), axis=-1)
    each = [greedy(pool, 7).tolist() for pool in gains]
    assert greedy(gains, 7).tolist() == each
