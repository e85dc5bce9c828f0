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


def asked(name, answers, **params):
    waiting = iter(answers)
    played = play(make(name, **params), PROBLEM, lambda r: [next(waiting) for _ in range(r.n)])
    return played.answer, [request.n for request in played.requests]


def test_early_stopping_draws_a_window_at_once():
    assert asked("early_stopping", ["5"] * 9) == ("5", [5])
    assert asked("early_stopping", ["4", "5", "5", "5", "5", *["4"] * 5]) == ("4", [5, 5])
    assert asked("early_stopping", list("12345678"), n=8, window=3) == ("1", [3, 3, 2])


def test_early_stopping_votes_over_what_the_budget_allowed():
    played = play(
        make("early_stopping"), PROBLEM, [["4", "5", "6", "6", "5"]], stop_at=0, starve="generate"
    )
    assert (played.ended, played.answer) == ("out_of_budget", "4")


def test_dirichlet_asks_for_more_where_there_are_many_answers():
    answers = ["1", "2", "3", "4", *["5"] * 20]
    num = {rule: sum(asked("adaptive_consistency", answers, rule=rule)[1])
           for rule in ("beta", "dirichlet")}  # fmt: skip
    assert 9 < num["beta"] < num["dirichlet"] <= 24


def test_marginal_gain_stops_at_four_equal_answers_by_default():
    assert asked("marginal_gain", ["5"] * 9) == ("5", [1] * 4)
    assert asked("marginal_gain", ["5"] * 9, cost=0.2) == ("5", [1])


def test_ppr_pays_for_its_guarantee():
    assert asked("ppr", ["5"] * 9) == ("5", [1] * 7)
    assert asked("ppr", ["5"] * 40, num_answers=10) == ("5", [1] * 10)
