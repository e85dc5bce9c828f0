"""Stopping at a good score, giving up, abstaining; and what imperfect verifiers allow."""

import math

import numpy as np
import pytest

from dwell.strategies import make
from dwell.streams import Streams
from dwell.testing import PROBLEM, play

#: Two types of problems, a verifier that accepts all right and a quarter of wrong answers.
RATES, PRIOR, COMPLETENESS, SOUNDNESS = (0.87, 0.13), (0.58, 0.42), 1.0, 0.75


def tried(name, drafts, **params):
    """Answer, draws and verifications for (answer, score) drafts."""
    played = play(make(name, **params), PROBLEM, _Serving(drafts))
    kinds = [type(request).__name__ for request in played.requests]
    return played.answer, kinds.count("Generate"), kinds.count("Verify")


class _Serving:
    """Replies from (answer, score) drafts."""

    def __init__(self, drafts):
        self.answers = iter([a for a, _ in drafts])
        self.scores = iter([s for a, s in drafts if a])

    def __call__(self, request):
        return [next(self.answers if type(request).__name__ == "Generate" else self.scores)]


def test_the_first_good_score_ends_it():
    drafts = [("1", 0.3), ("2", 0.95), ("3", 0.99)]
    assert tried("verifier_threshold", drafts) == ("2", 2, 2)


def test_without_a_good_score_the_best_is_given():
    drafts = [("1", 0.3), ("", 0.0), ("2", 0.6), ("3", 0.5)]
    assert tried("verifier_threshold", drafts, n=4) == ("2", 4, 3)


def test_a_missing_score_neither_stops_nor_wins():
    drafts = [("1", math.nan), ("2", 0.1), ("3", math.nan)]
    assert tried("verifier_threshold", drafts, n=3) == ("2", 3, 3)


def test_a_single_answer_is_not_verified():
    assert tried("verifier_threshold", [("1", 0.2)], n=1) == ("1", 1, 0)
    assert tried("verifier_threshold", [("", 0.2), ("1", 0.2)], n=2) == ("1", 2, 0)


def test_the_first_accepted_answer_is_given():
    assert tried("first_accepted", [("1", 0.4), ("2", 0.5), ("3", 0.9)]) == ("2", 2, 2)


def test_nothing_accepted_is_no_answer():
    assert tried("first_accepted", [("1", 0.4), ("", 0.0), ("2", math.nan)], n=3) == (None, 3, 2)
    assert tried("first_accepted", [("1", 0.4)], n=1) == (None, 1, 1)


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        ({"threshold": 0.5}, "7"),
        ({"threshold": 0.51}, None),
        ({"by": "confidence", "threshold": 0.8}, "7"),
        ({"by": "confidence", "threshold": 0.9}, None),
    ],
)
def test_a_vote_is_given_where_it_is_clear(params, answer):
    # 3 : 1 among 6 draws: share 0.5, P(Beta(4, 2) > 1/2) = 0.8125.
    drawn = [["7", "4", "", "7", "", "7"]]
    assert play(make("abstaining_majority", n=6, **params), PROBLEM, drawn).answer == answer


def test_no_vote_is_never_clear():
    assert (
        play(make("abstaining_majority", n=2, threshold=0.1), PROBLEM, [["", ""]]).answer is None
    )


def test_abstaining_answers_more_where_it_demands_less():
    codes = np.random.default_rng(0).integers(0, 4, (500, 16))
    streams = Streams(codes=codes, sizes=np.full(500, 16))
    answered = [
        (make("abstaining_majority", threshold=t).replay(streams).chosen >= 0).mean()
        for t in (0.2, 0.35, 0.5, 0.7)
    ]
    assert answered[0] == 1
    assert answered == sorted(answered, reverse=True)
    assert answered[-1] < 0.05


def resampled(num=40_000, attempts=60, seed=3):
    """Simulated attempts `[P, N]` at both types: (type, right, streams with a verifier)."""
    rng = np.random.default_rng(seed)
    kind = (rng.random(num) < PRIOR[1]).astype(int)
    right = rng.random((num, attempts)) < np.array(RATES)[kind][:, None]
    accept = rng.random((num, attempts)) < np.where(right, COMPLETENESS, 1 - SOUNDNESS)
    return right, Streams(
        codes=right.astype(int),
        sizes=np.full(num, attempts),
        scores={"tests": accept.astype(float)},
    )


def expected(k, right_value, wrong_value):
    """Mean value of at most k attempts, by the closed form of metrics for two types."""
    rate, prior = np.array(RATES), np.array(PRIOR)
    right, fluke = COMPLETENESS * rate, (1 - SOUNDNESS) * (1 - rate)
    stop = right + fluke
    value = right_value * right + wrong_value * fluke
    return float((prior * value * (1 - (1 - stop) ** k) / stop).sum())


def test_resampling_until_accepted_follows_the_closed_form():
    right, streams = resampled()
    for k in (1, 2, 3, 5, 60):
        found = make("first_accepted", n=k, verifier="tests").replay(streams)
        given = found.chosen >= 0
        hit = given & right[np.arange(len(right)), np.maximum(found.place, 0)]
        for values in ((1, 0), (1, -0.7)):
            payoff = np.where(hit, values[0], np.where(given, values[1], 0.0))
            error = payoff.std() / np.sqrt(len(payoff))
            assert payoff.mean() == pytest.approx(expected(k, *values), abs=4 * error)


@pytest.mark.parametrize(("penalty", "best"), [(0.7, 3), (1.0, 2), (2.0, 1)])
def test_more_attempts_than_the_optimum_lose(penalty, best):
    values = [expected(k, 1, -penalty) for k in range(1, 61)]
    assert int(np.argmax(values)) + 1 == best
    right, streams = resampled()
    payoff = {}
    for k in (best, 60):
        found = make("first_accepted", n=k, verifier="tests").replay(streams)
        hit = right[np.arange(len(right)), np.maximum(found.place, 0)]
        payoff[k] = np.where(found.chosen < 0, 0.0, np.where(hit, 1.0, -penalty))
    gain = payoff[best] - payoff[60]
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))


def test_no_number_of_attempts_lifts_a_weak_model_over_the_verifier_s_ceiling():
    # Precision of what is accepted from the weak model: 0.374; the strong one starts at 0.87.
    rng = np.random.default_rng(9)
    right = rng.random((20_000, 200)) < RATES[1]
    accept = np.where(right, 1.0, rng.random(right.shape) < 1 - SOUNDNESS)
    streams = Streams(
        codes=right.astype(int), sizes=np.full(20_000, 200), scores={"tests": accept}
    )
    found = make("first_accepted", n=200, verifier="tests").replay(streams)
    share = right[np.arange(20_000), found.place].mean()
    ceiling = RATES[1] / (RATES[1] + (1 - RATES[1]) * (1 - SOUNDNESS))
    assert share == pytest.approx(ceiling, abs=4 * np.sqrt(0.25 / 20_000))
    assert share < RATES[0]


def test_two_hundred_audited_answers_predict_the_plateau():
    rng = np.random.default_rng(11)
    soundness = 1 - (rng.random(200) < 1 - SOUNDNESS).mean()
    rate, prior = np.array(RATES), np.array(PRIOR)
    predicted = (prior * rate / (rate + (1 - rate) * (1 - soundness))).sum()
    right, streams = resampled()
    found = make("first_accepted", n=60, verifier="tests").replay(streams)
    plateau = (
        right[np.arange(len(right)), np.maximum(found.place, 0)] & (found.place >= 0)
    ).mean()
    assert predicted == pytest.approx(plateau, abs=0.03)
