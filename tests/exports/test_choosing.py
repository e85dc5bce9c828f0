"""Which texts of a question become rows."""

from collections import Counter

import pytest

from dwell.exports import Choice, Tally
from dwell.exports.choosing import both_labels, pairs, right_ones, usable


def many(right, wrong):
    """Right and wrong samples; of the wrong ones every third says 8, the others 9."""
    good = [{"text": f"r{i}", "correct": True, "answer": "7", "tokens": i} for i in range(right)]
    bad = [
        {"text": f"w{i}", "correct": False, "answer": "8" if i % 3 == 0 else "9"}
        for i in range(wrong)
    ]
    return good + bad


def test_what_cannot_be_trained_on_is_left_out_and_counted(question):
    asked = question(
        {"text": "a", "correct": True}, {"text": "a", "correct": True},
        {"text": "b", "correct": True, "cut": True}, {"text": " \n", "correct": False},
        {"text": "c", "correct": None}, {"text": "d", "correct": False},
    )  # fmt: skip
    tally = Tally()
    assert [one.text for one in usable(asked, tally)] == ["a", "d"]
    assert sorted(tally.samples.values()) == [1, 1, 1, 1]
    assert [one.text for one in usable(asked, Tally(), graded=False)] == ["a", "c", "d"]


def test_right_texts_are_chosen_and_no_more_than_asked_for(question):
    asked = question(*many(5, 5))
    for most, count in ((None, 5), (3, 3), (9, 5)):
        chosen = right_ones(asked, asked.samples, Choice(most=most))
        assert len(chosen) == len({one.text for one in chosen}) == count
        assert all(one.correct for one in chosen)
    assert len(both_labels(asked, asked.samples, Choice(most=2))) == 4


def test_the_shortest_and_the_best_come_first(question):
    asked = question(*many(5, 0))
    shortest = right_ones(asked, asked.samples, Choice(most=2, select="shortest"))
    assert [one.text for one in shortest] == ["r1", "r2"]  # 0 tokens = not recorded
    scores = (0.1, float("nan"), 0.9)
    scored = question(*[{"text": f"{s}", "correct": True, "score": s} for s in scores])
    best = right_ones(scored, scored.samples, Choice(select="best"))
    assert [one.text for one in best] == ["0.9", "0.1", "nan"]


def test_what_is_random_depends_on_the_question_and_the_seed_alone(question):
    samples = many(30, 0)

    def chosen(id_, seed):
        asked = question(*samples, id=id_)
        return [s.text for s in right_ones(asked, asked.samples, Choice(most=5, seed=seed))]

    assert chosen("q", 0) == chosen("q", 0)
    assert chosen("q", 0) != chosen("q", 1)
    assert chosen("q", 0) != chosen("other", 0)


@pytest.mark.parametrize(("right", "wrong"), [(3, 5), (4, 6), (5, 5), (1, 7), (6, 1)])
def test_all_pairs_come_once_and_texts_are_used_evenly(question, right, wrong):
    asked = question(*many(right, wrong))
    found = [(c.text, r.text) for c, r in pairs(asked, asked.samples, Choice())]
    assert len(found) == len(set(found)) == right * wrong
    for most in range(1, right * wrong):
        part = [(c.text, r.text) for c, r in pairs(asked, asked.samples, Choice(most=most))]
        assert part == found[:most]
        for side, count in ((0, right), (1, wrong)):
            uses = Counter(pair[side] for pair in part)
            assert max(uses.values()) - (min(uses.values()) if len(uses) == count else 0) <= 1


def test_no_pair_where_one_side_is_missing(question):
    for right, wrong in ((0, 4), (4, 0), (0, 0)):
        asked = question(*many(right, wrong))
        assert list(pairs(asked, asked.samples, Choice())) == []
        assert list(pairs(asked, asked.samples, Choice(by=True))) == []


def test_hard_pairs_reject_first_what_most_wrong_texts_say(question):
    asked = question(*many(9, 9))
    found = pairs(asked, asked.samples, Choice(pairing="hard", most=6))
    assert {rejected.answer for _, rejected in found} == {"9"}


def test_pairs_by_score_keep_the_gap(question):
    scores = [0.0, 0.1, 0.5, 0.5, 0.9, float("nan")]
    asked = question(*[{"text": f"t{i}", "correct": None, "score": s} for i, s in
                       enumerate(scores)])  # fmt: skip
    every = {(a, b) for a in scores for b in scores if a > b}
    found = [(c.score, r.score) for c, r in pairs(asked, asked.samples, Choice(by=True))]
    assert set(found) == every
    assert len(found) == 9  # of ten, the two of 0.5 are equal
    wide = list(pairs(asked, asked.samples, Choice(by=True, gap=0.45)))
    assert len(wide) == 3 + 1
    assert all(c.score - r.score >= 0.45 - 1e-9 for c, r in wide)
    (close,) = pairs(asked, asked.samples, Choice(by=True, pairing="hard", most=1))
    assert close[0].score - close[1].score == pytest.approx(0.1)


def test_pairs_by_score_are_drawn_evenly(question):
    asked = question(*[{"text": f"{i}", "correct": None, "score": i / 4} for i in range(5)])
    counts = Counter()
    for seed in range(400):
        for chosen, rejected in pairs(asked, asked.samples, Choice(by=True, most=3, seed=seed)):
            counts[chosen.text, rejected.text] += 1
    assert len(counts) == 10  # each pair has 3 chances of 10: 4 standard errors of 400 draws
    assert all(abs(n - 120) < 4 * (400 * 0.3 * 0.7) ** 0.5 for n in counts.values())
