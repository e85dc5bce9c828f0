"""PATE: the printed oracle, hand-worked cases and limits."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.metrics import event_counts, pate_area, pate_f1


def marks(length, *positions):
    found = np.zeros(length)
    found[list(positions)] = 1
    return found


TRUTH, FLAGS = marks(20, 8, 9, 10, 11), marks(20, 6, 7, 8, 9, 17)


def test_counts_give_the_printed_values():
    counts = event_counts(TRUTH, FLAGS, before=3, after=3)
    values = (counts.true_positive, counts.false_positive, counts.false_negative)
    np.testing.assert_allclose(values, [2.6667, 2.3333, 1], atol=1e-4)
    np.testing.assert_allclose([counts.precision, counts.recall], [0.5333, 0.7273], atol=1e-4)
    plain = event_counts(TRUTH, FLAGS, before=0, after=0)
    np.testing.assert_allclose([plain.precision, plain.recall], [0.4, 2 / 3])


def test_f1_over_buffers_gives_the_printed_value():
    found = pate_f1(TRUTH, FLAGS, before=[0, 3], after=[0, 3])
    assert found == pytest.approx(0.557692, abs=1e-6)


def test_without_buffers_and_with_whole_hits_it_is_plain_precision():
    flags = marks(20, 8, 9, 10, 11, 15)
    counts = event_counts(TRUTH, flags, before=0, after=0)
    assert (counts.precision, counts.recall) == (0.8, 1.0)


def test_early_flags_need_a_hit_and_late_ones_do_not():
    early = event_counts(TRUTH, marks(20, 7), before=3, after=3)
    assert (early.true_positive, early.false_positive, early.false_negative) == (0.0, 1.0, 4.0)
    late = event_counts(TRUTH, marks(20, 12), before=3, after=3)
    # distances of 12 to 8..11 sum to 10, of the far edge 14 to 18
    assert late.true_positive == pytest.approx(1 - 10 / 18)
    assert late.false_negative == 4.0


def test_the_far_edge_of_a_buffer_earns_nothing():
    counts = event_counts(TRUTH, marks(20, 14), before=3, after=3)
    assert counts.true_positive == pytest.approx(0.0)


def test_buffers_stop_at_the_next_event():
    truth = marks(12, 2, 3, 6, 7)
    counts = event_counts(truth, marks(12, 5, 6), before=9, after=9)
    # Position 5 is the far edge of the buffer after the first event, not before the second.
    assert counts.true_positive == pytest.approx(1.0)
    assert counts.false_positive == pytest.approx(1.0)


def test_late_misses_weigh_less_once_much_was_found():
    truth = np.ones(10)
    counts = event_counts(truth, marks(10, *range(6)), before=0, after=0)
    # missed 6..9; 6 is within s + hits, beyond it 1 - D'(x) / 45 with D' over 0..6
    expected = 1 + sum(1 - sum(x - u for u in range(7)) / 45 for x in (7, 8, 9))
    assert counts.false_negative == pytest.approx(expected)


def test_a_perfect_detector_scores_one_and_a_silent_one_zero():
    assert pate_f1(TRUTH, TRUTH, before=[0, 2], after=[0, 2]) == 1.0
    assert pate_f1(TRUTH, np.zeros(20), before=[0, 2], after=[0, 2]) == 0.0
    assert event_counts(np.zeros(5), np.ones(5), before=1, after=1).recall == 0.0


def test_area_rewards_better_scores():
    rng = np.random.default_rng(0)
    noise = rng.random(20)
    buffers = {"before": [0, 3], "after": [0, 3]}
    areas = [pate_area(TRUTH, noise + gain * TRUTH, **buffers) for gain in (0.0, 0.5, 2.0)]
    assert areas[0] < areas[1] < areas[2]
    assert areas[2] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: event_counts(TRUTH, FLAGS[:5], before=0, after=0),
        lambda: event_counts(TRUTH, FLAGS, before=-1, after=0),
        lambda: event_counts(TRUTH * 2, FLAGS, before=0, after=0),
        lambda: pate_f1(TRUTH, FLAGS, before=[], after=[0]),
        lambda: pate_area(TRUTH, np.full(20, np.nan), before=[0], after=[0]),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()
