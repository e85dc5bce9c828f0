"""Thresholds with a guarantee: exact p-values, the order of tests, and the rate of violations."""

from math import comb

import numpy as np
import pytest
from mapie.risk_control.fwer_control import control_fwer
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

from dwell.errors import UsageError
from dwell.metrics import controlled_threshold, least_answered


def test_the_p_value_is_the_binomial_tail():
    sure, right = np.full(60, 0.9), np.r_[np.zeros(2), np.ones(58)]
    found = controlled_threshold(sure, right, [0.5], risk=0.1)
    tail = sum(comb(60, k) * 0.1**k * 0.9 ** (60 - k) for k in range(3))
    assert found.p_value == pytest.approx(tail, rel=1e-12)
    assert (found.answered, found.wrong) == (60, 2)


@pytest.mark.parametrize(("risk", "delta"), [(0.05, 0.1), (0.01, 0.05), (0.2, 0.3)])
def test_so_many_answers_are_needed_and_no_fewer(risk, delta):
    least = least_answered(risk, delta)
    for count, certain in ((least - 1, False), (least, True)):
        ones = np.ones(count)
        found = controlled_threshold(ones, ones, [0.5], risk=risk, delta=delta)
        assert np.isfinite(found.threshold) == certain


def test_tests_end_at_the_first_that_fails():
    sure = np.repeat([0.9, 0.5, 0.1], 50)
    right = np.r_[np.ones(50), np.zeros(50), np.ones(50)]
    falling = controlled_threshold(sure, right, [0.9, 0.5, 0.1], risk=0.3)
    assert falling.threshold == 0.9
    assert controlled_threshold(sure, right, [0.5, 0.9], risk=0.3).threshold == np.inf


def test_no_answer_is_never_given():
    sure, right = np.r_[np.full(50, 0.9), np.full(50, np.nan)], np.r_[np.ones(50), np.zeros(50)]
    assert controlled_threshold(sure, right, [0.0], risk=0.05).answered == 50


def test_a_grade_below_one_counts_as_wrong():
    found = controlled_threshold(np.ones(50), np.full(50, 0.5), [0.5], risk=0.4)
    assert found.threshold == np.inf


def test_an_answer_without_a_grade_counts_as_wrong():
    found = controlled_threshold(np.ones(50), np.full(50, np.nan), [0.5], risk=0.4)
    assert found.threshold == np.inf


def test_the_tests_are_those_of_mapie():
    rng = np.random.default_rng(4)
    sure, edges = rng.random(400), np.linspace(0.9, 0.0, 10)
    right = (rng.random(400) < sure).astype(float)
    found = controlled_threshold(sure, right, edges, risk=0.25)
    given = sure >= edges[:, None]
    size = given.sum(axis=1).astype(float)
    wrong = (given & (right < 1)).sum(axis=1)
    # wrong/size times size is no whole number again, and MAPIE rounds it up
    p_values = compute_hoeffding_bentkus_p_value((wrong - 1e-9) / size, size, 0.25, binary=True)
    held = control_fwer(p_values[:, 0], 0.1, "fixed_sequence")
    assert found.threshold == edges[held[-1]]
    assert found.p_value >= p_values[held[-1], 0] - 1e-12  # MAPIE takes Hoeffding's if smaller


def test_the_limit_is_broken_no_more_often_than_said():
    """Confidence u is right with chance u: the risk above t is (1 - t) / 2, known exactly."""
    rng, repeats, delta = np.random.default_rng(0), 2000, 0.1
    edges = np.linspace(0.95, 0.0, 20)
    broken = np.zeros(repeats)
    for i in range(repeats):
        sure = rng.random(200)
        right = rng.random(200) < sure
        found = controlled_threshold(sure, right, edges[8:], risk=0.3, delta=delta)
        broken[i] = found.threshold < 1 - 2 * 0.3 - 1e-9
    spread = np.sqrt(delta * (1 - delta) / repeats)
    assert 0.01 < broken.mean() < delta + 4 * spread


@pytest.mark.parametrize("options", [{"risk": 0}, {"risk": 1.0}, {"risk": 0.1, "delta": 0}])
def test_limits_are_shares(options):
    with pytest.raises(UsageError, match="between 0 and 1"):
        controlled_threshold([0.5], [1], [0.5], **options)
