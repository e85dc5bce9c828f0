import math

import pytest

from dwell.records import Candidate, Problem
from dwell.requests import Generate, Verify
from dwell.strategies import make
from dwell.strategies.sequential import REVISE, choose_over_chains, revision_context
from dwell.testing import PROBLEM, play

MARKED = Problem(id="p", prompt="Q", markers={"wait": "W\n", "revise": "again", "answer": "A"})


def text(added, status="end", answer="1", tokens=10):
    return lambda request: [Candidate(request.context, added, status, answer, 0, tokens)]


def in_turn(*replies):
    waiting = iter(replies)
    return lambda request: next(waiting)(request)


def test_no_forcing_is_a_single_sample():
    played = play(make("budget_forcing", waits=0), MARKED, [["7"]])
    assert played.answer == "7"
    assert played.requests == (Generate(MARKED.context()),)


def test_each_wait_continues_the_whole_text_after_the_marker():
    played = play(make("budget_forcing", waits=2), MARKED, [["a\n1\n"], ["b\n2\n"], ["c\n3\n"]])
    partials = [request.context.partial for request in played.requests]
    assert partials == ["", "a\n1\nW\n", "a\n1\nW\nb\n2\nW\n"]
    assert [request.forbid_end for request in played.requests] == [False, True, True]
    assert (played.answer, played.emitted) == ("3", ("1", "2"))


def test_marker_is_the_word_wait_where_the_problem_has_none():
    played = play(make("budget_forcing"), PROBLEM, [["1"], [" 2"]])
    assert played.requests[1].context.partial == "1Wait"


def test_cap_counts_all_passes_together():
    replies = in_turn(text("x", tokens=30), text("y", tokens=25), text("z", tokens=5))
    played = play(make("budget_forcing", waits=5, max_tokens=60), MARKED, replies)
    assert [request.max_tokens for request in played.requests] == [60, 30, 5]


def test_text_that_met_the_cap_is_left_alone():
    replies = in_turn(text("x", status="cap", answer="1", tokens=60))
    played = play(make("budget_forcing", waits=5, max_tokens=60), MARKED, replies)
    assert (played.answer, len(played.requests)) == ("1", 1)


def test_answer_is_forced_where_the_cap_cut_it_off():
    replies = in_turn(text("x", status="cap", answer=None), text("4", answer="4"))
    played = play(make("budget_forcing", waits=1, max_tokens=10), MARKED, replies)
    assert played.answer == "4"
    assert played.requests[1].context.partial == "xA"


def test_a_pass_without_an_answer_keeps_the_one_before():
    replies = in_turn(text("x", answer="1"), text("y", answer=None, status="failed"))
    assert play(make("budget_forcing"), MARKED, replies).answer == "1"


def test_revision_shows_the_last_attempts_oldest_first():
    played = play(make("revision", n=4, window=2), MARKED, [["1"], ["2"], ["3"], ["3"]])
    ask = ("user", "Q")
    assert played.requests[0].context == MARKED.context()
    assert played.requests[1].context.messages == (ask, ("assistant", "1"), ("user", "again"))
    assert played.requests[3].context.messages == (
        ask, ("assistant", "2"), ("user", "again"), ("assistant", "3"), ("user", "again")
    )  # fmt: skip
    assert played.answer == "3"


def test_revision_asks_in_plain_words_where_the_problem_has_no_marker():
    assert revision_context(PROBLEM, ["1"]).messages[-1] == ("user", REVISE)


def test_last_attempt_is_not_the_answer():
    assert play(make("revision", n=3), MARKED, [["1"], ["1"], ["2"]]).answer == "1"


@pytest.mark.parametrize(("n", "lengths"), [(7, [3, 2, 2]), (3, [1, 1, 1]), (2, [1, 1])])
def test_chains_share_the_attempts_evenly(n, lengths):
    played = play(make("revision", n=n, chains=3), MARKED, [[str(k)] for k in range(n)])
    shown = [(len(request.context.messages) - 1) // 2 for request in played.requests]
    assert shown == [k for length in lengths for k in range(length)]


def test_failed_attempts_are_not_shown():
    replies = in_turn(text("", status="failed", answer=None), text("1"))
    played = play(make("revision", n=2), MARKED, replies)
    assert played.requests[1].context == MARKED.context()


def test_a_full_context_shows_one_attempt_fewer_from_then_on():
    replies = in_turn(text("1"), text("2"), text("", "cap", None), text("3"), text("4"))
    played = play(make("revision", n=5), MARKED, replies)
    shown = [request.context.messages[1::2] for request in played.requests]
    texts = [[text for _, text in messages] for messages in shown]
    assert texts == [[], ["1"], ["1", "2"], ["2"], ["3"]]


def test_verifier_chooses_within_chains_then_across():
    # Chain 1 elects a (0.4 + 0.4 against 0.7), which stands there with its best score, 0.4.
    answers, scores = [["a", "b", "a"], ["b", "c"]], [[0.4, 0.7, 0.4], [0.3, 0.6]]
    assert choose_over_chains("best", answers, scores) == "c"
    assert choose_over_chains("weighted", [["a"], ["b"], ["b"]], [[0.7], [0.4], [0.5]]) == "b"
    assert choose_over_chains("best", [[None], ["b"]], [[math.nan], [math.nan]]) == "b"


def test_majority_over_attempts_asks_no_verifier():
    assert make("revision").verifiers() == frozenset()
    strategy = make("revision", n=2, choose="best")
    assert strategy.verifiers() == {"process"}
    played = play(strategy, MARKED, [["1"], ["2"], [0.2, 0.9]])
    assert isinstance(played.requests[2], Verify)
    assert played.answer == "2"


def test_budget_end_keeps_the_vote_so_far():
    played = play(make("revision", n=5), MARKED, [["1"], ["1"], ["2"]], stop_at=3)
    assert (played.ended, played.answer) == ("out_of_budget", "1")
