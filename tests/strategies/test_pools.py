"""One budget over many questions: who gets the draws, and what that saves."""

from collections import Counter

import numpy as np
import pytest

from dwell.records import Problem
from dwell.requests import Generate, Next, Start, Verify
from dwell.strategies import make
from dwell.streams import Streams
from dwell.testing import play


def pool(num):
    members = tuple(Problem(id=f"q{k}", prompt=f"Q{k}") for k in range(num))
    return Problem(id="pool", prompt="", members=members)


class Model:
    """Question k answers in turn what its text says; scores are 1 for answer "1"."""

    def __init__(self, *texts):
        self.texts, self.used = texts, Counter()

    def __call__(self, request):
        if isinstance(request, Verify):
            return [float(c.answer == "1") for c in request.candidates]
        place = int(request.context.messages[0][1][1:])
        first = self.used[place]
        self.used[place] += request.n
        text = self.texts[place]
        return [text[i % len(text)] for i in range(first, first + request.n)]


def solved(name, *texts, **params):
    """Answers and draws by question."""
    model = Model(*texts)
    played = play(make(name, **params), pool(len(texts)), model)
    return list(played.answer.values()), [model.used[k] for k in range(len(texts))]


def easy_and_hard(rng, num_easy, num_hard, num_draws):
    """Streams of one pool: easy questions answer 0 with 0.95, hard ones with 0.4."""
    prob = np.repeat([0.95, 0.4], [num_easy, num_hard])[:, None]
    draws = rng.random((num_easy + num_hard, num_draws))
    codes = np.where(draws < prob, 0, 1 + (rng.random(draws.shape) * 4).astype(int))
    return Streams(codes=codes, sizes=np.full(len(codes), num_draws))


def test_every_question_gets_a_draw_before_any_gets_two():
    assert solved("pool_vote", "1", "2", "3", n=1) == (["1", "2", "3"], [1, 1, 1])


def test_the_unsettled_vote_gets_the_draws():
    # 2 : 0 is 0.875; question 2 stands at 1 : 1, 1 : 1, 2 : 1 and 3 : 1 (0.8125) and goes on.
    assert solved("pool_vote", "1", "1", "2132", n=3) == (["1", "1", "2"], [2, 2, 5])


def test_no_question_gets_more_than_the_cap():
    assert solved("pool_vote", "1", "12", n=5, cap=4) == (["1", "1"], [4, 4])


def test_by_gain_a_vote_that_stays_tied_is_left_alone():
    tied, other = "12" * 20, "1"
    _, by_gain = solved("pool_vote", tied, other, n=10, order="gain")
    _, by_confidence = solved("pool_vote", tied, other, n=10, order="asc")
    assert by_gain[0] < by_confidence[0]
    assert sum(by_gain) == sum(by_confidence) == 20


def test_missing_answers_leave_a_vote_unsettled():
    answers, draws = solved("pool_vote", "1", " ", n=3)
    assert answers == ["1", None]
    assert draws == [1, 5]


@pytest.mark.parametrize("order", ["asc", "gain", "ppr", "blend"])
def test_the_whole_budget_is_spent_and_no_more(order):
    texts = ["12", "1", "1112", "123", "11", "122", "1", "31"] * 3
    _, draws = solved("pool_vote", *texts, n=4, order=order)
    assert sum(draws) == 4 * len(texts)


def test_draws_in_flight_are_as_many_as_the_window_allows():
    for num, window, wanted in ((64, 5, 5), (64, 100, 8), (3, 64, 1)):
        solution = make("pool_vote", n=2, window=window).solve(pool(num), None)
        item, flying = solution.send(None), 0
        while isinstance(item, Start):
            flying += 1
            item = solution.send(None)
        assert isinstance(item, Next)
        assert flying == wanted


def test_a_question_has_one_draw_in_flight():
    solution = make("pool_vote", n=3).solve(pool(32), None)
    started = [solution.send(None).tag for _ in range(4)]
    assert started == [0, 1, 2, 3]


def test_requests_name_the_member_that_is_charged():
    played = play(make("pool_vote", n=2), pool(2), Model("1", "12"))
    assert all(isinstance(request, Generate) for request in played.requests)
    assert {request.problem for request in played.requests} == {"q0", "q1"}


def test_pool_beats_the_same_vote_for_all():
    rng = np.random.default_rng(4)
    right = {"majority": [], "pool_vote": []}
    for _ in range(20):
        streams = easy_and_hard(rng, 60, 15, 40)
        for name, found in right.items():
            replayed = make(name, n=5).replay(streams)
            assert replayed.drawn.mean() == 5
            found.append((replayed.chosen == 0).mean())
    gain = np.subtract(right["pool_vote"], right["majority"])
    assert gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(len(gain))


def test_a_pool_whose_stream_ends_says_nothing():
    codes = np.array([[0, 1, 0, 1], [0, 0, 0, 0]])
    long = Streams(codes=codes, sizes=np.array([4, 4]))
    assert make("pool_vote", n=2).replay(long).drawn.tolist() == [3, 1]
    short = Streams(codes=codes, sizes=np.array([2, 4]))
    assert make("pool_vote", n=2).replay(short).drawn.tolist() == [-1, -1]


def test_allocation_gives_the_rest_to_ties():
    answers, draws = solved("pool_allocation", "11", "12222", "1", n=4, probe=2, cap=10)
    assert answers == ["1", "2", "1"]
    assert draws[1] == 2 + 6 - (draws[0] - 2) - (draws[2] - 2)
    assert draws[1] > draws[0] == draws[2]


def test_allocation_by_coverage_leaves_what_is_solved():
    answers, draws = solved(
        "pool_allocation", "1", "2222221", "1", "21",
        n=3, probe=2, objective="coverage", verifier="exact",
    )  # fmt: skip
    assert draws == [2, 6, 2, 2]
    assert answers == ["1", "2", "1", "1"]


def test_allocation_verifies_each_answer_once():
    played = play(
        make("pool_allocation", n=3, probe=2, objective="coverage", verifier="exact"),
        pool(2), Model("1", "2"),
    )  # fmt: skip
    verified = Counter()
    for request in played.requests:
        if isinstance(request, Verify):
            verified[request.problem] += len(request.candidates)
    assert verified == {"q0": 2, "q1": 4}


def test_only_coverage_needs_a_verifier():
    assert make("pool_allocation").verifiers() == frozenset()
    assert make("pool_allocation", objective="coverage").verifiers() == {"process"}


def test_a_probe_of_all_draws_is_a_plain_vote():
    streams = easy_and_hard(np.random.default_rng(5), 10, 10, 8)
    vote = make("majority", n=4).replay(streams)
    found = make("pool_allocation", n=4, probe=4).replay(streams)
    assert np.array_equal(found.chosen, vote.chosen)
    assert (found.drawn == 4).all()


def test_when_the_budget_ends_the_votes_so_far_stand():
    model = Model("1", "2", "3")
    played = play(make("pool_vote", n=2), pool(3), model, stop_at=4)
    assert played.ended == "out_of_budget"
    assert played.answer == {"q0": "1", "q1": "2", "q2": None}
