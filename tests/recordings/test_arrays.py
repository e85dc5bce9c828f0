"""Padding, numbering and orders: the arrays that replay and planning share."""

import numpy as np

from dwell.keys import stream_id
from dwell.recordings import Recording, order_of, orders
from dwell.recordings.arrays import numbered_answers, padded_rows


def test_rows_are_padded_by_question():
    sizes = np.array([2, 0, 1])
    assert padded_rows(np.array([4, 5, 6]), sizes).tolist() == [[4, 5], [-1, -1], [6, -1]]
    assert np.isnan(padded_rows(np.array([4.0]), np.array([0, 1]))[0, 0])


def test_answers_are_numbered_by_first_appearance_within_their_question():
    rng = np.random.default_rng(1)
    sizes = rng.integers(0, 9, 40)
    answer, correct = rng.integers(-1, 5, sizes.sum()), rng.random(sizes.sum())
    codes, texts, values, mixed = numbered_answers(answer, list("abcde"), sizes, correct)
    expected_mixed = 0
    for p, (start, size) in enumerate(zip(np.cumsum(sizes) - sizes, sizes, strict=True)):
        given = ["abcde"[a] if a >= 0 else None for a in answer[start : start + size]]
        known = list(dict.fromkeys(a for a in given if a is not None))
        assert list(texts[p]) == known
        assert codes[start : start + size].tolist() == [
            -1 if a is None else known.index(a) for a in given
        ]
        for code, text in enumerate(known):
            grades = [g for g, a in zip(correct[start:], given, strict=False) if a == text]
            assert np.isclose(values[p, code], np.mean(grades))
            expected_mixed += len(set(grades)) > 1
        assert np.isnan(values[p, len(known) :]).all()
    assert mixed == expected_mixed


def test_orders_are_permutations_that_depend_on_question_and_stream_alone():
    recording = Recording(
        run="r", model="m", dataset="d", questions=("a", "b"), sizes=np.array([3, 5]),
        correct=np.zeros((2, 5)),
    )  # fmt: skip
    found = orders(recording, 4, seed=2)
    assert found.shape == (4, 2, 5)
    for r in range(4):
        assert found[r, 0, :3].tolist() == order_of("a", stream_id(2, r), 3).tolist()
        assert sorted(found[r, 1]) == list(range(5))
    assert len({tuple(row) for row in found[:, 1].tolist()}) > 1
