import math

import pytest

from dwell.requests import Generate, Verify
from dwell.strategies import make
from dwell.strategies.tree import MAX_STEPS
from dwell.testing import PROBLEM, ToyWorld, play


def scripted(steps, scores):
    """Replies from the steps drawn after each prefix, and the score of each text."""
    given: dict[str, int] = {}

    def reply(request):
        if isinstance(request, Verify):
            return [scores[candidate.text] for candidate in request.candidates]
        prefix = request.context.partial
        first = given.get(prefix, 0)
        given[prefix] = first + request.n
        return steps[prefix][first : first + request.n]

    return reply


def asked(played):
    return [(r.context.partial, r.n) for r in played.requests if isinstance(r, Generate)]


def test_beam_follows_the_hand_worked_tree():
    # Width 4, two children each: of a b c d the best two, b and d; of their children the best two.
    steps = {"": ["a\n", "b\n", "c\n", "d\n"], "b\n": ["e\n", "f\n"], "d\n": ["g\n", "h\n"],
             "b\nf\n": ["1", "2"], "d\ng\n": ["2", "3"]}  # fmt: skip
    scores = {"a\n": 0.1, "b\n": 0.9, "c\n": 0.4, "d\n": 0.8, "b\ne\n": 0.2, "b\nf\n": 0.7,
              "d\ng\n": 0.6, "d\nh\n": 0.1, "b\nf\n1": 0.9, "b\nf\n2": 0.5, "d\ng\n2": 0.6,
              "d\ng\n3": 0.1}  # fmt: skip
    played = play(make("beam", n=4, m=2), PROBLEM, scripted(steps, scores))
    assert asked(played) == [("", 4), ("b\n", 2), ("d\n", 2), ("b\nf\n", 2), ("d\ng\n", 2)]
    assert played.answer == "2"  # 0.5 + 0.6 against 0.9
    best = play(make("beam", n=4, m=2, choose="best"), PROBLEM, scripted(steps, scores))
    assert best.answer == "1"


def test_prefixes_and_outcomes_are_verified_as_such():
    steps = {"": ["a\n", "7"], "a\n": ["8"]}
    scores = {"a\n": 0.5, "7": 0.6, "a\n8": 0.9}
    played = play(make("beam", n=2, m=2), PROBLEM, scripted(steps, scores))
    modes = [(r.mode, len(r.candidates)) for r in played.requests if isinstance(r, Verify)]
    assert sorted(modes[:2]) == [("outcome", 1), ("prefix", 1)]
    assert modes[2:] == [("outcome", 1)]
    assert all(r.until == "step" for r in played.requests if isinstance(r, Generate))


@pytest.mark.parametrize("name", ["beam", "rebase"])
def test_finished_candidates_leave_the_frontier_with_their_width(name):
    steps = {"": ["1", "1", "a\n", "b\n"], "a\n": ["2", "2"], "b\n": ["3", "3"]}
    scores = {"1": 0.3, "a\n": 0.5, "b\n": 0.5, "a\n2": 0.2, "b\n3": 0.1}
    played = play(make(name, n=4), PROBLEM, scripted(steps, scores))
    assert sum(n for _, n in asked(played)[1:]) == 2
    assert played.answer == "1"
    assert played.emitted[0] == "1"


def test_rebase_shares_the_width_by_its_rule():
    # The worked counts of the allocation rule: 6 for the best, 2 for the second, none below.
    steps = {"": ["a\n", "b\n", "c\n", "d\n"] * 2, "b\n": ["5"] * 7, "d\n": ["6"]}
    scores = {"a\n": 0.1, "b\n": 0.9, "c\n": 0.1, "d\n": 0.6, "b\n5": 0.2, "d\n6": 0.9}
    played = play(make("rebase", n=8), PROBLEM, scripted(steps, scores))
    # b, b, d, d visited first: masses 1, 1, e^-1.5 twice (and 4 e^-4): ceil(8/2.5195) = 4,
    # ceil(4/1.5195) = 3, then the one that is left goes to the first d.
    assert asked(played)[1:] == [("b\n", 4), ("d\n", 1), ("b\n", 3)]
    assert played.answer == "5"


def test_one_beam_is_one_sample_and_is_not_verified():
    played = play(make("beam", n=1), PROBLEM, [["a\n"], ["b\n"], ["7"]])
    assert played.answer == "7"
    assert asked(played) == [("", 1), ("a\n", 1), ("a\nb\n", 1)]


def test_search_gives_up_after_forty_steps():
    def endless(request):
        return ["x\n"] * request.n if isinstance(request, Generate) else [0.5, 0.5]

    played = play(make("beam", n=2), PROBLEM, endless)
    assert played.answer is None
    assert max(prefix.count("\n") for prefix, _ in asked(played)) == MAX_STEPS - 1


@pytest.mark.parametrize("name", ["beam", "rebase", "particle"])
def test_width_is_never_exceeded(name):
    for seed in range(20):
        played = play(make(name, n=7), PROBLEM, ToyWorld(seed), seed=seed)
        assert max(n for _, n in asked(played)) <= 7
        assert asked(played)[0] == ("", 7)


def test_unverified_prefixes_die_while_others_live():
    steps = {"": ["a\n", "b\n"], "b\n": ["7", "7"]}
    scores = {"a\n": math.nan, "b\n": 0.01, "b\n7": 0.5}
    assert play(make("rebase", n=2), PROBLEM, scripted(steps, scores)).answer == "7"
