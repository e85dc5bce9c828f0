import math

import pytest
from scipy.stats import beta

from dwell.strategies import make
from dwell.strategies.adaptive import confidence
from dwell.testing import PROBLEM, play


def drawn(answers, **params):
    played = play(make("adaptive_consistency", **params), PROBLEM, [[text] for text in answers])
    return played.answer, len(played.requests)


def test_confidence_is_the_tail_of_the_beta_posterior():
    for a, b in [(0, 0), (1, 0), (4, 0), (5, 3), (20, 20), (30, 12)]:
        assert confidence(a, b) == pytest.approx(beta.sf(0.5, a + 1, b + 1), abs=1e-12)


def test_four_equal_answers_are_enough():
    assert drawn(["5"] * 8) == ("5", 4)


def test_one_dissenter_costs_two_more_draws():
    # P(Beta(a+1, b+1) > 1/2): (4, 1) 0.891, (5, 1) 0.9375, (6, 1) 0.965.
    assert drawn(["5", "2", "5", "5", "5", "5", "5", "5"]) == ("5", 7)


def test_the_cap_ends_a_split_vote():
    assert drawn(["1", "2"] * 3, n=6) == ("1", 6)


def test_missing_answers_do_not_settle_the_vote():
    assert drawn(["", "5", "", "5", "5", "5", "5"]) == ("5", 6)


def test_a_higher_threshold_never_stops_earlier():
    counts = [drawn(["5"] * 20, threshold=t)[1] for t in (0.6, 0.9, 0.95, 0.99, 0.999)]
    assert counts == sorted(counts)
    assert counts[-1] == math.ceil(math.log2(1000)) - 1
