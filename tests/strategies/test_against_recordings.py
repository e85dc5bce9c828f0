"""Stopping rules on real recorded answers; runs only beside the shared data."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dwell.strategies import parse
from dwell.streams import Streams

TABLE = Path(__file__).parents[3] / "shared/data/samples/esc_last_letters_gpt35.parquet"
pytestmark = pytest.mark.skipif(not TABLE.is_file(), reason="needs the shared data")
ORDERS = 40


@pytest.fixture(scope="module")
def recording():
    """Streams `[R, P, N]` in random orders, grades `[P, A]` of answers, the plurality `[P]`."""
    rows = pq.read_table(TABLE, columns=["question_id", "answer", "correct"]).to_pylist()
    found = {}
    for row in rows:
        found.setdefault(row["question_id"], []).append((row["answer"], row["correct"]))
    codes, grades = np.zeros((len(found), 40), int), np.zeros((len(found), 40))
    for place, draws in enumerate(found.values()):
        known = {}
        for i, (answer, correct) in enumerate(draws):
            codes[place, i] = known.setdefault(answer, len(known))
            grades[place, codes[place, i]] = correct
    modes = [np.bincount(row).argmax() for row in codes]
    order = np.random.default_rng(0).random((ORDERS, *codes.shape)).argsort(axis=-1)
    dealt = np.take_along_axis(np.broadcast_to(codes, order.shape), order, axis=-1)
    streams = Streams(codes=dealt, sizes=np.full(dealt.shape[:2], 40))
    return streams, grades, np.array(modes)


@pytest.mark.parametrize(
    ("spec", "accuracy", "draws"),
    [
        ("majority:n=40", 81.5, 40),
        ("early_stopping", 81.3, 9.6),
        ("adaptive_consistency", 81.3, 6.8),
    ],
)
def test_known_numbers_of_last_letters_are_reproduced(recording, spec, accuracy, draws):
    streams, grades, _ = recording
    found = parse(spec).replay(streams)
    value = grades[np.arange(len(grades)), found.chosen].mean()
    assert 100 * value == pytest.approx(accuracy, abs=0.4)
    assert found.drawn.mean() == pytest.approx(draws, abs=0.2)


def test_a_third_of_the_draws_reaches_the_agreement_of_all(recording):
    streams, _, modes = recording
    share = (streams.codes == modes[:, None]).mean(axis=(0, 2))
    assert (share > 0.9).mean() >= 0.6
    for spec in ("adaptive_consistency", "pool_vote:n=13", "pool_allocation:n=13,probe=6"):
        found = parse(spec).replay(streams)
        assert found.drawn.mean() <= 40 / 3
        assert (found.chosen == modes).mean() >= 0.99


def test_a_pool_agrees_more_than_the_same_vote_for_all(recording):
    streams, _, modes = recording
    for n in (2, 4, 8):
        pooled = (parse(f"pool_vote:n={n}").replay(streams).chosen == modes).mean(axis=1)
        alike = (parse(f"majority:n={n}").replay(streams).chosen == modes).mean(axis=1)
        gain = pooled - alike
        assert gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(ORDERS)
