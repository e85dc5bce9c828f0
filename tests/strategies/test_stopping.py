"""Stopping rules against closed forms, independent integrals and recursion."""

from functools import cache

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammainc, gammaln
from scipy.stats import beta

from dwell.strategies.posteriors import confidences, leader_confidence, log_densities
from dwell.strategies.stopping import (
    BetaRule,
    DirichletRule,
    GainRule,
    PprRule,
    WindowRule,
    tally_of,
)
from dwell.streams import Streams


def votes(*counts):
    """Answers with these votes, one after another."""
    return [str(k) for k, count in enumerate(counts) for _ in range(count)]


def first_stop(rule, answers):
    return next(k for k in range(1, len(answers) + 1) if rule.settled(tally_of(answers[:k])))


def test_table_of_confidences_is_the_tail_of_the_beta_posterior():
    a, b = np.arange(40)[:, None], np.arange(40)
    assert np.allclose(confidences(64)[:40, :40], beta.sf(0.5, a + 1, b + 1), atol=1e-14)


def test_table_of_densities_is_that_of_the_beta_posterior():
    a, b = np.arange(40)[:, None], np.arange(40)
    assert np.allclose(log_densities(64)[:40, :40], beta.logpdf(0.5, a + 1, b + 1), atol=1e-10)


def test_tables_do_not_depend_on_their_size():
    assert np.array_equal(confidences(16), confidences(64)[:16, :16])
    assert np.array_equal(log_densities(16), log_densities(64)[:16, :16])


@pytest.mark.parametrize("counts", [(4, 2, 1), (9, 8, 8, 3), (1, 1, 1, 1, 1), (30, 22, 5), (6,)])
def test_dirichlet_confidence_equals_an_independent_integral(counts):
    others = np.array(counts[1:] or (0,))

    def density(x):
        leader = np.exp(counts[0] * np.log(x) - x - gammaln(counts[0] + 1))
        return leader * np.prod(gammainc(others + 1, x))

    wanted = quad(density, 0, 200, points=[counts[0]], limit=400, epsabs=1e-13)[0]
    tally = tally_of(votes(*counts))
    assert leader_confidence(tally.votes, tally.profile) == pytest.approx(wanted, abs=1e-10)


def test_with_two_answers_dirichlet_is_beta():
    for a, b in [(1, 0), (5, 3), (20, 19)]:
        tally = tally_of(votes(a, b))
        assert leader_confidence(tally.votes, tally.profile) == pytest.approx(
            confidences(64)[a, b], abs=1e-10
        )


def test_third_answers_make_dirichlet_stop_later():
    answers = [*votes(1, 1, 1, 1), *["0"] * 12]
    assert first_stop(BetaRule(0.95), answers) < first_stop(DirichletRule(0.95), answers)


def test_a_threshold_that_is_met_exactly_stops():
    assert confidences(16)[3, 0] == 0.9375
    assert first_stop(BetaRule(0.9375), votes(5)) == 3
    assert first_stop(DirichletRule(0.9375), votes(5)) == 3


def test_windows_do_not_overlap():
    answers = ["0", "1", "1", "1", "1", "1", "1", "1", "1"]
    assert first_stop(WindowRule(3), answers) == 6
    assert first_stop(WindowRule(4), answers) == 8
    assert not WindowRule(3).settled(tally_of([None, None, None]))


def test_ppr_needs_seven_equal_answers():
    # The density of Beta(a+1, 1) at 1/2 is (a+1) / 2^a: 0.109 for a = 6 and 0.0625 for a = 7.
    assert first_stop(PprRule(delta=0.1), votes(9)) == 7
    assert first_stop(PprRule(delta=0.1, num_answers=10), votes(12)) == 10
    assert first_stop(PprRule(delta=0.9), votes(9)) == 4


@pytest.mark.parametrize("prob", [(0.51, 0.49), (0.6, 0.4), (0.8, 0.2), (0.4, 0.35, 0.25)])
def test_ppr_stops_at_a_wrong_leader_with_probability_at_most_delta(prob):
    codes = np.random.default_rng(7).choice(len(prob), (10_000, 100), p=prob)
    streams = Streams(codes=codes, sizes=np.full(10_000, 100))
    stops = PprRule(0.1, num_answers=len(prob)).stops(streams, 100)
    at = streams.drawn(stops, 100)
    wrong = stops.any(axis=1) & (streams.after(streams.standing.leader, at) != 0)
    assert wrong.mean() <= 0.1 + 4 * np.sqrt(0.1 * 0.9 / 10_000)


def worth_going_on(n, cost, left, a, b):
    """`GainRule` by plain recursion."""

    @cache
    def value(left, a, b):
        stop = max(beta.sf(0.5, a + 1, b + 1), beta.cdf(0.5, a + 1, b + 1))
        return max(stop, go(left, a, b)) if left else stop

    def go(left, a, b):
        up = (a + 1) / (a + b + 2)
        return up * value(left - 1, a + 1, b) + (1 - up) * value(left - 1, a, b + 1) - cost

    return go(left, a, b) > value(0, a, b) + 1e-9


@pytest.mark.parametrize("cost", [0.001, 0.01, 0.04])
def test_gain_rule_is_backward_induction(cost):
    n = 9
    for a in range(n):
        for b in range(min(a, n - 1 - a) + 1):
            going_on = worth_going_on(n, cost, n - a - b, a, b)
            assert GainRule(n, cost).settled(tally_of(votes(a, b))) != going_on, (a, b)


def test_gain_rule_looks_further_than_one_draw():
    # No single draw can change the leader after one vote: looking one draw ahead would stop.
    assert not GainRule(40, 0.005).settled(tally_of(["7"]))


def test_gain_rule_gives_up_near_the_end():
    near_tie = votes(6, 5)
    assert not GainRule(40, 0.002).settled(tally_of(near_tie))
    assert GainRule(12, 0.002).settled(tally_of([*near_tie, None]))


def test_a_dearer_draw_never_stops_later():
    answers = ["0", "1", *["0"] * 30]
    stops = [first_stop(GainRule(40, cost), answers) for cost in (0.05, 0.01, 0.003, 0.0005)]
    assert stops == sorted(stops)
    assert stops[0] < stops[-1]


def test_rules_on_many_streams_say_what_they_say_on_one():
    codes = np.random.default_rng(5).integers(-1, 4, (60, 15))
    streams = Streams(codes=codes, sizes=np.full(60, 15))
    for rule in (BetaRule(0.8), DirichletRule(0.8), WindowRule(2), PprRule(0.5), GainRule(15)):
        stops = rule.stops(streams, 15)
        for row in range(60):
            answers = [None if c < 0 else str(c) for c in codes[row]]
            said = [bool(rule.settled(tally_of(answers[: t + 1]))) for t in range(15)]
            end = said.index(True) + 1 if any(said) else 15
            assert stops[row, :end].tolist() == said[:end]


def test_a_rule_asked_for_one_budget_after_another_says_the_same():
    codes = np.random.default_rng(6).integers(0, 5, (50, 12))
    streams = Streams(codes=codes, sizes=np.full(50, 12))
    whole = DirichletRule(0.7).stops(Streams(codes=codes, sizes=np.full(50, 12)), 12)
    first = whole.argmax(axis=1) + np.where(whole.any(axis=1), 0, 12)
    for n in (3, 12, 7):
        stops = DirichletRule(0.7).stops(streams, n)
        assert stops.shape == (50, n)
        assert np.array_equal(stops.argmax(axis=1)[first < n], first[first < n])
