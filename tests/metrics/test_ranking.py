"""Ranking, selective answering and tau: printed oracles, enumeration, other libraries."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from dwell.errors import UsageError
from dwell.metrics import (
    auroc,
    kendall_tau,
    resample_problems,
    risk_coverage,
    selective_accuracy,
    wilson,
    within_question_auroc,
)

P = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
Y = [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]


def test_auroc_gives_the_printed_values():
    assert auroc(P, Y) == pytest.approx(0.895833, abs=1e-6)
    confidence, right = [0.9, 0.8, 0.7, 0.6, 0.9, 0.5, 0.4], [1, 1, 0, 1, 0, 0, 1]
    assert auroc(confidence, right) == pytest.approx(0.458333, abs=1e-6)


def test_auroc_agrees_with_scikit_learn_question_by_question():
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 5, (30, 12)).astype(float), rng.integers(0, 2, (30, 12))
    right[0] = 1
    found = within_question_auroc(scores, right)
    assert np.isnan(found[0])
    expected = [roc_auc_score(y, s) for s, y in zip(scores[1:], right[1:], strict=True)]
    np.testing.assert_allclose(found[1:], expected)


def test_missing_scores_are_left_out_of_the_ranking():
    scores, right = [[0.9, np.nan, 0.2, 0.5]], [[1, 1, 0, np.nan]]
    assert within_question_auroc(scores, right).tolist() == [1.0]
    assert np.isnan(auroc([np.nan, 0.5], [1, 0]))


def test_soft_labels_count_as_that_many_draws():
    rng = np.random.default_rng(1)
    p, c = rng.integers(0, 4, 15) / 4, rng.integers(0, 6, 15)
    hard = np.concatenate([[1] * k + [0] * (5 - k) for k in c])
    assert auroc(p, c / 5) == pytest.approx(roc_auc_score(hard, np.repeat(p, 5)))


def test_risk_coverage_averages_over_the_orders_of_ties():
    # Breaking the tie at 0.3 in favour of the right answer would give 0.149286.
    assert risk_coverage(P, Y).aurc == pytest.approx(0.156429, abs=1e-6)
    assert risk_coverage([0.5] * 4, [1, 0, 0, 1]).accuracy.tolist() == [0.5] * 4


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=6))
def test_risk_coverage_equals_enumeration_of_tie_orders(data):
    score, y = np.array(data, float).T
    running = [
        np.cumsum(y[list(order)]) / np.arange(1, len(y) + 1)
        for order in permutations(range(len(y)))
        if np.all(np.diff(score[list(order)]) <= 0)
    ]
    np.testing.assert_allclose(risk_coverage(score, y).accuracy, np.mean(running, axis=0))


def test_risk_coverage_ends_at_the_accuracy():
    found = risk_coverage([*P, np.nan], [*Y, 1])
    assert found.accuracy[-1] == pytest.approx(0.6)
    assert found.coverage[-1] == 1.0
    assert np.isnan(risk_coverage([], []).aurc)


def test_selective_accuracy_is_a_ratio_over_resampled_problems():
    rng = np.random.default_rng(2)
    right, said = rng.integers(0, 2, 80).astype(float), rng.random(80) < 0.6
    resamples = resample_problems(80)
    found = selective_accuracy(right, said, resamples)
    ratios = (resamples.weights @ (right * said)) / (resamples.weights @ said)
    assert float(found.accuracy.value) == pytest.approx(right[said].mean())
    assert float(found.accuracy.low) == pytest.approx(np.quantile(ratios, 0.025))
    assert float(found.coverage.value) == pytest.approx(said.mean())


def test_selective_accuracy_of_few_right_answers_is_not_certain():
    found = selective_accuracy([1, 1, 1, 0, 0], [1, 1, 1, 0, 0], resample_problems(5))
    assert float(found.accuracy.value) == 1.0
    assert float(found.accuracy.low) == pytest.approx(float(wilson(3, 3).low))


def test_answering_nothing_has_no_accuracy():
    found = selective_accuracy([1, 0], [0, 0], resample_problems(2))
    assert np.isnan(found.accuracy.value)
    assert float(found.coverage.value) == 0.0


def test_tau_agrees_with_scipy():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 4, (40, 7)), rng.integers(0, 4, (40, 7))
    expected = [kendalltau(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(kendall_tau(a, b), expected)


def test_tau_without_order_or_with_missing_scores_is_undefined():
    assert np.isnan(kendall_tau([1, 1, 1], [1, 2, 3]))
    assert np.isnan(kendall_tau([1, np.nan, 3], [1, 2, 3]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: auroc([0.5], [2]),
        lambda: auroc([0.5], [1, 0]),
        lambda: within_question_auroc([0.5], [1]),
        lambda: kendall_tau([1, 2], [1, 2, 3]),
        lambda: selective_accuracy([1], [1, 0], resample_problems(2)),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()
