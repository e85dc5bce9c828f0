"""Points of a curve: intervals of columns that different problems have, and mean charges."""

import numpy as np
import pytest

from dwell.metrics import bootstrap_interval, resample_problems
from dwell.results.points import intervals_of, mean_charge


def test_columns_are_over_the_problems_that_have_them():
    values = np.array([[0.0, 0.2, np.nan], [1.0, np.nan, np.nan], [0.5, 0.6, np.nan]])
    resamples = resample_problems(3, num_resamples=200)
    first, second, third = intervals_of(values, resamples)
    assert first.value == pytest.approx(0.5)
    assert second.value == pytest.approx(0.4)
    assert third is None
    alone = bootstrap_interval(values[:, 0], resamples)
    assert (first.low, first.high) == (alone.low, alone.high)


def test_what_was_not_recorded_is_not_charged_as_nothing():
    charged = np.full((2, 10), np.nan)
    charged[:, 0] = [1, 3]
    assert mean_charge(charged) == {
        "draws": 2.0,
        "prompt_tokens": None,
        "tokens_charged": None,
        "flops": None,
        "seconds": None,
        "usd": None,
    }
