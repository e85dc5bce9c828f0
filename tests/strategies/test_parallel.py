import math

import pytest

from dwell.records import Candidate
from dwell.requests import Generate, Verify
from dwell.strategies import make
from dwell.testing import PROBLEM, play

TEXTS = ["7", "4", "4", "9"]
SCORES = [0.3, 0.4, 0.4, 0.7]


@pytest.mark.parametrize(
    ("name", "answer"),
    [("sample", "7"), ("majority", "4"), ("weighted_majority", "4"), ("best_of_n", "9")],
)
def test_strategies_differ_in_the_choice_alone(name, answer):
    played = play(make(name, n=4), PROBLEM, [TEXTS, SCORES])
    assert played.answer == answer
    assert played.requests[0] == Generate(PROBLEM.context(), n=4)


def test_weighted_majority_can_overrule_the_vote():
    assert (
        play(make("weighted_majority", n=4), PROBLEM, [TEXTS, [0.1, 0.1, 0.1, 0.5]]).answer == "9"
    )


def test_best_of_n_verifies_only_what_can_be_chosen():
    played = play(make("best_of_n", n=3), PROBLEM, [["7", "", "4"], [0.2, 0.6]])
    assert played.answer == "4"
    assert [c.answer for c in played.requests[1].candidates] == ["7", "4"]


def test_nothing_is_verified_where_there_is_nothing_to_choose():
    played = play(make("best_of_n", n=3), PROBLEM, [["", "4", ""]])
    assert played.answer == "4"
    assert len(played.requests) == 1


def test_unverified_candidates_rank_last():
    scores = [math.nan, -5.0, math.nan, -9.0]
    assert play(make("best_of_n", n=4), PROBLEM, [TEXTS, scores]).answer == "4"


def test_verifiers_that_compare_answers_see_them_together():
    played = play(make("best_of_n", n=4, verifier="agreement"), PROBLEM, [TEXTS, SCORES])
    assert played.requests[1].mode == "group"
    assert len(played.requests[1].candidates) == 4


def test_best_of_n_chooses_among_what_the_budget_allowed():
    replies = [TEXTS, [0.3, 0.4]]
    played = play(make("best_of_n", n=4), PROBLEM, replies, stop_at=0, starve="generate")
    assert (played.ended, played.answer) == ("out_of_budget", "4")
    assert isinstance(played.requests[1], Verify)


def test_vote_stands_if_verification_is_not_affordable():
    played = play(make("best_of_n", n=4), PROBLEM, [TEXTS], stop_at=1)
    assert (played.ended, played.answer) == ("out_of_budget", "4")


def test_failed_draws_do_not_vote():
    failed = Candidate(PROBLEM.context(), "", "failed", None, 0)
    assert play(make("majority", n=3), PROBLEM, [[failed, failed, "4"]]).answer == "4"
