"""Streams of whole answers: what is seen after each draw, against counting one by one."""

from collections import Counter

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.streams import Streams


def random_codes(seed, shape, answers=4):
    return np.random.default_rng(seed).integers(-1, answers, shape)


def streams_of(codes, sizes=None, **scores):
    codes = np.asarray(codes)
    sizes = np.full(codes.shape[:-1], codes.shape[-1]) if sizes is None else np.asarray(sizes)
    return Streams(codes=codes, sizes=sizes, scores={k: np.asarray(v) for k, v in scores.items()})


def test_standing_equals_counting_after_every_draw():
    codes = random_codes(0, (300, 12))
    standing = streams_of(codes).standing
    for row, t in np.ndindex(300, 12):
        counts = Counter(c for c in codes[row, : t + 1].tolist() if c >= 0).most_common()
        leader, votes = counts[0] if counts else (-1, 0)
        assert standing.leader[row, t] == leader
        assert standing.votes[row, t] == votes
        assert standing.runner_up[row, t] == (counts[1][1] if len(counts) > 1 else 0)
        assert standing.distinct[row, t] == len(counts)


def test_the_answer_seen_first_wins_ties():
    standing = streams_of([[2, 0, 0, 2, 1, 1, 1]]).standing
    assert standing.leader.tolist() == [[2, 2, 0, 2, 2, 2, 1]]
    assert standing.runner_up.tolist() == [[0, 1, 1, 2, 2, 2, 2]]


def test_a_streak_is_broken_by_a_draw_without_an_answer():
    assert streams_of([[1, 1, -1, 1, 1, 0]]).standing.streak.tolist() == [[1, 2, 0, 1, 2, 1]]


def test_what_lies_beyond_the_size_is_not_seen():
    long, short = streams_of([[0, 1, 1, 1]]), streams_of([[0, 1, 1, 1]], [2])
    assert long.standing.votes[0, -1] == 3
    assert short.standing.votes.tolist() == [[1, 1, 1, 1]]
    assert short.standing.leader[0, -1] == 0


def test_profiles_count_answers_by_their_votes():
    codes = random_codes(1, (40, 9), answers=3)
    for t, profile in enumerate(streams_of(codes).profiles()):
        for row in range(40):
            votes = Counter(c for c in codes[row, : t + 1].tolist() if c >= 0).values()
            assert profile[row].tolist() == np.bincount([*votes, 9], minlength=10)[:9].tolist() + [
                int(9 in votes)
            ]


def test_best_is_the_first_highest_score_of_a_usable_draw():
    scores = [[0.9, 0.2, np.nan, 0.7, 0.7, 0.8]]
    streams = streams_of([[-1, 0, 1, 2, 3, 4]], v=scores)
    assert streams.best("v").tolist() == [[-1, 1, 1, 3, 3, 5]]


def test_a_missing_score_is_best_only_where_all_are_missing():
    scores = [[np.nan, np.nan, -np.inf, np.nan], [np.nan, np.nan, np.nan, np.nan]]
    streams = streams_of([[0, 1, 2, 3], [-1, 0, 1, 2]], v=scores)
    assert streams.best("v").tolist() == [[0, 0, 2, 2], [-1, 1, 1, 1]]


def test_draws_used_are_the_first_stop_or_all_or_unknown():
    stops = np.array([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]], bool)
    streams = streams_of(np.zeros((4, 4), int), [4, 4, 4, 3])
    assert streams.drawn(stops, 4).tolist() == [2, 4, 4, -1]
    assert streams.drawn(stops, 3).tolist() == [2, 3, 3, 3]
    assert streams.drawn(stops, 9).tolist() == [2, -1, 4, -1]


def test_leading_axes_are_any():
    codes = random_codes(2, (2, 3, 4, 6))
    standing, flat = streams_of(codes).standing, streams_of(codes.reshape(-1, 6)).standing
    one = streams_of(codes[1, 2, 3]).standing
    assert np.array_equal(standing.votes.reshape(-1, 6), flat.votes)
    assert np.array_equal(standing.leader[1, 2, 3], one.leader)


def test_many_streams_are_followed_as_few_are():
    codes = random_codes(3, (5000, 5))
    standing = streams_of(codes).standing
    assert np.array_equal(standing.leader[4000:4100], streams_of(codes[4000:4100]).standing.leader)


def test_values_after_no_draws_are_none():
    streams = streams_of([[3, 3], [4, 5]])
    found = streams.after(streams.standing.leader, np.array([-1, 2]))
    assert found.tolist() == [-1, 4]
    assert streams.codes_at(np.array([1, -1])).tolist() == [3, -1]
    empty = streams_of(np.zeros((2, 0), int))
    assert empty.after(empty.standing.leader, empty.fixed(1)).tolist() == [-1, -1]


def test_a_score_that_was_not_recorded_is_named():
    with pytest.raises(UsageError, match=r"'process' was not recorded \(recorded: tests\)"):
        streams_of([[0]], tests=[[0.5]]).scores_of("process")
