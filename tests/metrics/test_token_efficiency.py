"""ARISE, controllability and regret: printed oracles, limits, and simulation."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.metrics import (
    arise,
    controllability,
    normalised_regret,
    progress,
    sampling_state,
    split_draws,
)


def test_arise_gives_the_printed_values():
    problems = [
        ([0, 1, 1, 0], [1000, 2000, 4000, 8000], -1.5),
        ([1 / 3, 2 / 3, 1], [500, 1000, 1500], 0.388889),
        ([1, 0], [800, 400], -0.5),
        ([0, 0, 0], [100, 200, 300], 0.0),
    ]
    values = [float(arise(a, t)) for a, t, _ in problems]
    np.testing.assert_allclose(values, [expected for *_, expected in problems], atol=1e-6)
    assert np.mean(values) == pytest.approx(-0.402778, abs=1e-6)


def test_arise_skips_levels_that_were_not_run():
    assert float(arise([0, 1], [0, 100])) == 0.0
    assert float(arise([0.0, np.nan], [100, 200])) == 0.0
    assert float(arise([1.0], [100])) == 0.0


def test_arise_of_a_shorter_and_better_answer_exceeds_its_gain():
    assert float(arise([0, 1], [200, 100])) == 2.0


def test_arise_handles_each_problem_by_itself():
    rng = np.random.default_rng(0)
    accuracy, tokens = rng.random((20, 5)), rng.integers(1, 1000, (20, 5)).astype(float)
    alone = [float(arise(a, t)) for a, t in zip(accuracy, tokens, strict=True)]
    np.testing.assert_allclose(arise(accuracy, tokens), alone)


def test_adaptive_sampling_gives_the_printed_value():
    state = sampling_state([[1, 0, 1]], [[900, 1000, 1100]])
    assert float(state.variation[0]) == pytest.approx(0.788756, abs=1e-6)
    assert state.draw_more.tolist() == [True]


def test_adaptive_sampling_stops_at_its_limits():
    nan = np.nan
    tokens = np.full((4, 10), 100.0)
    correct = np.array(
        [
            [1, 0] + [nan] * 8,  # below the least
            [0, 0, 0] + [nan] * 7,  # frozen at zero
            [1, 0] * 5,  # at the most
            [1] * 9 + [0],  # varies little
        ]
    )
    state = sampling_state(correct, np.where(np.isnan(correct), nan, tokens))
    assert state.draw_more.tolist() == [True, False, False, False]
    assert state.all_equal.tolist() == [False, True, False, False]


def test_a_hard_problem_is_often_frozen_at_zero():
    rng = np.random.default_rng(0)
    correct = (rng.random((4000, 3)) < 0.2).astype(float)
    state = sampling_state(correct, np.full(correct.shape, 100.0))
    frozen = np.mean(state.all_equal & ~state.draw_more & (correct.sum(axis=1) == 0))
    assert frozen == pytest.approx(0.512, abs=4 * np.sqrt(0.25 / 4000))


def test_controllability_gives_the_printed_value():
    found = controllability(
        [1000, 2000, 4000], [0.4, 0.5, 0.55], tokens=[900, 1500, 4100], low=[800, 1600, 3000],
        high=[1000, 2000, 4000],
    )  # fmt: skip
    assert found.scaling == pytest.approx(5.8333e-5, abs=1e-9)
    assert found.control == pytest.approx(1 / 3)
    assert found.performance == 0.55
    assert np.isnan(controllability([10], [0.5]).scaling)


def test_regret_gives_the_printed_values():
    values = normalised_regret([500, 1500, 3000], [0.2, 0.5, 0.7], [4000, 2000])
    np.testing.assert_allclose(values, [0.5, 2 / 3], atol=1e-9)


def test_regret_at_its_limits():
    assert float(normalised_regret([], [], 1000)) == 1.0
    assert float(normalised_regret([1e-9], [1.0], 1000)) == pytest.approx(0.0)
    assert float(normalised_regret([100], [0.0], 50)) == 1.0


def test_regret_equals_a_fine_sum():
    rng = np.random.default_rng(0)
    x, rate = np.cumsum(rng.integers(1, 500, 8)).astype(float), rng.random(8)
    for budget in (x[0] / 2, x[3], x[-1] * 1.7):
        grid = (np.arange(400_000) + 0.5) / 400_000 * budget
        height = np.interp(grid, np.append(0, x), np.append(0, rate))
        assert float(normalised_regret(x, rate, budget)) == pytest.approx(
            1 - height.mean(), abs=1e-6
        )


def test_progress_sums_to_the_last_success():
    steps = progress([[0.2, 0.5, 0.4], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(steps.sum(axis=1), [0.4, 1.0])


def test_draws_are_split_by_variation_within_limits():
    assert split_draws([0.8, 0.0, 0.4], 21).tolist() == [10, 3, 7]
    assert split_draws([0.0, np.nan], 20).tolist() == [3, 3]
    rng = np.random.default_rng(0)
    draws = split_draws(rng.random(50), 300)
    assert draws.sum() <= 300
    assert draws.min() >= 3
    assert draws.max() <= 10


@pytest.mark.parametrize(
    "call",
    [
        lambda: arise([0, 1], [1]),
        lambda: controllability([1, 1], [0, 1]),
        lambda: normalised_regret([2, 1], [0, 1], 5),
        lambda: normalised_regret([1, 2], [0, 1], 0),
        lambda: split_draws([0.1, 0.2], 5),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()
