"""Votes predicted from few draws: simulated questions, bands, edges."""

import doctest
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from dwell.errors import UsageError
from dwell.laws import answer_rates, success_rates
from dwell.laws.answer_rates import _SLOPES, fit_answer_rates
from dwell.laws.answer_repeats import log_partition
from dwell.metrics import vote_at_k


def shares_of(rng, num, width=8):
    """`[P, A]` answer shares, the first answer right: rates beta, wrong ones Dirichlet."""
    right = rng.beta(0.8, 0.8, num)[:, None]
    wrong = rng.dirichlet(np.full(width - 1, 0.4), num)
    return np.concatenate([right, (1 - right) * wrong], axis=1)


def payoff_of(counts):
    payoff = np.zeros(counts.shape)
    payoff[:, 0] = 1
    return payoff


def observed_vote(counts):
    size = int(counts[0].sum())
    return vote_at_k(counts, payoff_of(counts), np.full(len(counts), size), size).mean()


def test_bands_hold_as_often_as_they_say_and_the_value_is_not_biased():
    rng = np.random.default_rng(0)
    held, errors = [], []
    for _ in range(15):
        shares = shares_of(rng, 50)
        seen = rng.multinomial(5, shares)
        target = observed_vote(seen + rng.multinomial(20, shares))
        found = fit_answer_rates(seen, payoff_of(seen), np.full(50, 5)).predict(25)
        held.append(found.low - 1e-9 <= target <= found.high + 1e-9)
        errors.append(found.value - target)
    assert np.mean(held) >= 0.9 - 4 * np.sqrt(0.09 / len(held))
    assert abs(np.mean(errors)) < 0.01 + 4 * np.std(errors) / np.sqrt(len(errors))


def tempted(rng, slope, num=45, draws=16):
    """`[P, draws]` answers, 0 the right one: wrong ones repeat more where rates are high, or low.

    Rates are beta; wrong answers come from Chinese restaurants, whose concentration falls with
    `slope` times the normal score of the rate.
    """
    rates = np.sort(rng.beta(0.3, 1.5, num))
    score = norm.ppf((np.arange(num) + 0.5) / num)
    theta = 2.0 * np.exp(1.3 * (rng.standard_normal(num) - slope * score))
    drawn = np.zeros((num, draws), int)
    for question, place in np.argwhere(rng.random((num, draws)) >= rates[:, None]):
        wrong = drawn[question, :place]
        before = wrong[wrong > 0]
        if rng.random() * (theta[question] + len(before)) < theta[question]:
            drawn[question, place] = before.max(initial=0) + 1
        else:
            drawn[question, place] = rng.choice(before)
    return drawn


def tally(drawn):
    return (drawn[:, :, None] == np.arange(drawn.max() + 1)).sum(axis=1)


@pytest.mark.parametrize("slope", [-0.7, 0.0, 0.7])
def test_it_is_learned_whether_wrong_answers_repeat_where_draws_are_seldom_right(slope):
    counts = tally(tempted(np.random.default_rng(3), slope, num=200, draws=40))
    rates = fit_answer_rates(counts, payoff_of(counts), np.full(200, 40))
    mean = rates.slopes @ _SLOPES
    deviation = np.sqrt(rates.slopes @ (_SLOPES - mean) ** 2)
    assert abs(mean - slope) < 4 * deviation
    assert deviation < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("slope", [-0.7, 0.7])
def test_bands_hold_more_often_for_not_taking_repeats_as_independent_of_rates(slope):
    rng, held = np.random.default_rng(0), []
    for _ in range(40):
        drawn = tempted(rng, slope)
        whole, seen = tally(drawn), (drawn[:, :4, None] == np.arange(drawn.max() + 1)).sum(axis=1)
        target = observed_vote(whole)
        rates = fit_answer_rates(seen, payoff_of(seen), np.full(45, 4))
        independent = replace(rates, slopes=(_SLOPES == 0).astype(float))
        bands = [one.predict(16) for one in (rates, independent)]
        held.append([one.low - 1e-9 <= target <= one.high + 1e-9 for one in bands])
    learned, assumed = np.mean(held, axis=0)
    print(f"slope {slope}: {learned:.2f} of bands hold, {assumed:.2f} if independent")
    assert learned >= max(assumed, 0.9 - 4 * np.sqrt(0.09 / len(held)))


def test_the_limit_is_the_share_of_questions_whose_mode_is_right():
    rng = np.random.default_rng(1)
    shares = shares_of(rng, 300)
    seen = rng.multinomial(60, shares)
    found = fit_answer_rates(seen, payoff_of(seen), np.full(300, 60)).predict(3000, level=0.99)
    assert found.low <= np.mean(shares.argmax(axis=1) == 0) <= found.high


def test_votes_of_seen_draws_are_exact():
    counts, n = np.array([[3, 1], [1, 3], [2, 2]]), np.array([4, 4, 4])
    rates = fit_answer_rates(counts, payoff_of(counts), n)
    for k in (1, 3, 4):
        found = rates.predict(k)
        exact = vote_at_k(counts, payoff_of(counts), n, k).mean()
        assert found.low == found.value == found.high == pytest.approx(exact)
    assert rates.predict(0).value == 0


def test_a_wide_margin_stays_and_a_narrow_one_is_open():
    counts = np.array([[12, 0, 0], [6, 6, 0], [0, 12, 0]] * 10)
    rates = fit_answer_rates(counts, payoff_of(counts), np.full(30, 12))
    found = rates.predict(48)
    assert 1 / 3 + 0.08 < found.value < 2 / 3 - 0.08
    assert 1 / 3 <= found.low < found.high <= 2 / 3


def test_abstentions_use_draws_but_win_no_vote():
    counts = np.array([[1, 0]] * 20)
    silent = fit_answer_rates(counts, payoff_of(counts), np.full(20, 10)).predict(40)
    loud = fit_answer_rates([[1, 9]] * 20, payoff_of(counts), np.full(20, 10)).predict(40)
    assert silent.value > 0.8
    assert loud.value < 0.1


def test_several_right_answers_split_their_votes():
    together = fit_answer_rates([[6, 0, 4]] * 30, [[1, 1, 0]] * 30, [10] * 30).predict(20)
    split = fit_answer_rates([[3, 3, 4]] * 30, [[1, 1, 0]] * 30, [10] * 30).predict(20)
    assert together.value > split.value + 0.2


def test_partition_probabilities_of_three_draws_sum_to_one():
    """Sizes 3, 2+1 in three ways, 1+1+1: every way to group three draws."""
    log_prob = log_partition(np.array([[3, 0, 0], [2, 1, 0], [1, 1, 1]]))
    total = np.exp(log_prob[0]) + 3 * np.exp(log_prob[1]) + np.exp(log_prob[2])
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)


def test_budgets_may_differ_by_question():
    counts, n = np.array([[2, 0], [1, 1], [0, 1]]), np.array([2, 2, 1])
    found = fit_answer_rates(counts, payoff_of(counts), n).predict([2, 1, 9])
    assert found.low >= (1 + 0.5) / 3
    assert found.high <= (1 + 0.5 + 1) / 3


def test_one_question_and_all_right():
    one = fit_answer_rates([[1]], [[1]], [1]).predict(9)
    assert (one.low, one.high) == (0, 1)
    sure = fit_answer_rates([[8]] * 30, [[1]] * 30, [8] * 30).predict(64)
    assert sure.value > 0.97


@pytest.mark.parametrize(
    ("counts", "payoff", "n", "says"),
    [
        ([[1, 2]], [[1]], [3], "tables of one row"),
        ([[1, 2]], [[1, 0]], [3, 3], "tables of one row"),
        ([[3, 2]], [[1, 0]], [4], "add up to at most"),
        ([[-1, 2]], [[1, 0]], [4], "add up to at most"),
        ([[0, 0]], [[1, 0]], [0], "at least one draw"),
        (np.zeros((0, 2)), np.zeros((0, 2)), [], "at least one draw"),
    ],
)
def test_bad_counts_are_refused(counts, payoff, n, says):
    with pytest.raises(UsageError, match=says):
        fit_answer_rates(counts, payoff, n)


def test_bad_budgets_are_refused():
    rates = fit_answer_rates([[1, 2]], [[1, 0]], [3])
    for k, level in ((-1, 0.9), (2.5, 0.9), ([1, 2], 0.9), (4, 1.0)):
        with pytest.raises(UsageError):
            rates.predict(k, level=level)


@pytest.mark.parametrize("module", [answer_rates, success_rates], ids=lambda m: m.__name__)
def test_examples_print_what_they_say(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
