"""PassUntil and chains of revisions: printed oracles, exact sums and simulation."""

from math import comb

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.metrics import Revisions, fit_revisions, pass_until


def test_pass_until_gives_the_printed_values():
    two = pass_until([137], [2], 2)
    values = [float(x[0]) for x in (two.value, two.unbiased, two.low, two.high)]
    np.testing.assert_allclose(values, [0.014599, 0.007353, 0.001773, 0.040286], atol=1e-6)
    one = pass_until([50], [1], 1)
    values = [float(x[0]) for x in (one.value, one.low, one.high)]
    np.testing.assert_allclose(values, [0.02, 0.000506, 0.072519], atol=1e-6)
    assert np.isnan(one.unbiased[0])


def test_no_success_at_the_limit_is_a_bound():
    none = pass_until([1000], [0], 2)
    assert float(none.high[0]) == pytest.approx(0.0029912, abs=1e-7)
    assert float(none.low[0]) == 0.0
    assert none.censored.tolist() == [True]


def outcomes(p, target, limit):
    """(draws, successes, probability) of every end of sampling."""
    for k in range(target, limit + 1):
        yield k, target, comb(k - 1, target - 1) * p**target * (1 - p) ** (k - target)
    for s in range(target):
        yield limit, s, comb(limit, s) * p**s * (1 - p) ** (limit - s)


@pytest.mark.parametrize("limit", [12, 400])
def test_the_unbiased_estimate_is_unbiased_with_or_without_a_limit(limit):
    draws, successes, weight = np.array(list(outcomes(0.1, 2, limit))).T
    rate = pass_until(draws, successes, 2)
    assert weight.sum() == pytest.approx(1.0)
    assert weight @ rate.unbiased == pytest.approx(0.1, abs=1e-12)
    if limit == 400:
        assert weight @ rate.value == pytest.approx(0.165369, abs=1e-6)


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9])
def test_intervals_cover_at_least_their_level(p):
    draws, successes, weight = np.array(list(outcomes(p, 3, 60))).T
    rate = pass_until(draws, successes, 3, level=0.9)
    assert weight @ ((rate.low <= p) & (p <= rate.high)) >= 0.9


def test_success_at_every_draw_leaves_one_possible():
    assert float(pass_until([2], [2], 2).high[0]) == 1.0
    assert float(pass_until([2], [2], 2).unbiased[0]) == 1.0


def test_revisions_give_the_printed_values():
    chain = Revisions(first=0.4, gained=0.3, lost=0.1)
    np.testing.assert_allclose(chain.accuracy(np.arange(5)), [0.4, 0.54, 0.624, 0.6744, 0.70464])
    assert chain.limit == pytest.approx(0.75)
    assert Revisions(first=0.4, gained=0.0, lost=0.0).accuracy(9) == 0.4


def test_revisions_are_recovered_from_rounds():
    rng = np.random.default_rng(0)
    rounds = np.empty((20_000, 5))
    rounds[:, 0] = rng.random(20_000) < 0.4
    for t in range(1, 5):
        change = rng.random(20_000) < np.where(rounds[:, t - 1] == 1, 0.1, 0.3)
        rounds[:, t] = np.where(change, 1 - rounds[:, t - 1], rounds[:, t - 1])
    found = fit_revisions(rounds)
    assert found.gained == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 30_000))
    assert found.lost == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 40_000))
    np.testing.assert_allclose(found.accuracy(np.arange(5)), rounds.mean(axis=0), atol=0.015)


def test_rounds_that_were_not_run_do_not_count():
    found = fit_revisions([[0, np.nan, 1], [0, 1, np.nan]])
    assert (found.first, found.gained) == (0.0, 1.0)
    assert np.isnan(found.lost)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pass_until([0], [0], 1),
        lambda: pass_until([5], [3], 2),
        lambda: pass_until([5], [1], 0),
        lambda: fit_revisions([0, 1]),
        lambda: fit_revisions([[0.5, 1]]),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()
