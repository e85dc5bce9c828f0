"""Random small tables: a fit or a clear refusal, never a crash, a silent NaN or a broken bound."""

import warnings

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.laws import LAWS

NAMES = ("chinchilla", "m2", "vlm", "ttspm", "power", "coverage", "kaplan", "tokens_log")


def random_table(law, rng):
    """Columns of random size, scale, noise and degeneracy for a law."""
    count = int(rng.integers(0, 13))
    scale = 10.0 ** rng.uniform(-9, 12)
    columns = {}
    for name in law.inputs:
        kind = rng.integers(0, 6)
        values = scale * np.exp(rng.normal(0, rng.choice([0.0, 1e-9, 0.3, 3.0]), count))
        if kind == 0:
            values = np.round(values)
        elif kind == 1 and count:
            values[rng.integers(0, count)] = rng.choice([0.0, -1.0, np.nan, np.inf, 1e300])
        columns[name] = values
    target = rng.choice([rng.random(count), 10.0 ** rng.normal(0, 4, count), np.ones(count)])
    if rng.random() < 0.1 and count:
        target[rng.integers(0, count)] = rng.choice([0.0, -1.0, np.nan, 1e-300, 1e300])
    return {**columns, law.target: target}


def check(law, table, rng):
    options = {"loss": rng.choice(["huber", "squares"]), "seed": 1}
    if law.space != "linear":
        options["space"] = rng.choice(["log", "linear"])
    try:
        fit = law.fit(table, **options)
    except UsageError:
        return False
    assert np.isfinite(fit.objective.value)
    for name, value in fit.params.items():
        assert np.isfinite(value), (name, value)
        param = law.params[name]
        slack = 1e-9 * max(1.0, abs(value))
        assert param.lower - slack <= value <= param.upper + slack, (name, value)
    assert not np.isnan(fit.intervals[name][0])
    assert fit.verdict != "identified" or not fit.reasons
    return True


def run(count, seed):
    rng = np.random.default_rng(seed)
    fitted = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for index in range(count):
            law = LAWS[NAMES[index % len(NAMES)]]
            fitted += check(law, random_table(law, rng), rng)
    return fitted


def test_random_tables_never_break_a_fit():
    assert run(160, seed=0) > 25


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_random_tables_never_break_a_fit():
    assert run(10_000, seed=1) > 2000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": [3.0, -1.0, 2.5, 2.4, 2.3, 2.2]}, "must be more than 0"),
        ({"loss": [3.0, np.nan, 2.5, 2.4, 2.3, 2.2]}, "must be finite"),
        ({"loss": [2.0] * 6}, "same in all"),
        ({"params": [1e9] * 6}, "input `N` is the same"),
        ({"params": [1e9, 2e9, 0.0, 8e9, 1e10, 2e10]}, "input `N` must be more than 0"),
        ({"tokens": ["a"] * 6}, "must hold numbers"),
    ],
)
def test_bad_columns_are_refused_in_a_line(change, message):
    good = {
        "params": [1e9, 2e9, 4e9, 8e9, 1e10, 2e10],
        "tokens": [3e10, 1e10, 2e10, 9e10, 4e10, 1e11],
        "loss": [3.0, 2.9, 2.5, 2.4, 2.3, 2.2],
    }
    with pytest.raises(UsageError, match=message) as refused:
        LAWS["chinchilla"].fit({**good, **change})
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"params": [1e9] * 3, "loss": [3, 2, 1.0]}, "no column for `D`"),
        ({"params": [1, 2, 3.0], "tokens": [1, 2, 4.0], "loss": [3, 2, 1.0]}, "only 3 rows"),
        ({"params": [1, 2, 3.0], "tokens": [1, 2.0], "loss": [3, 2, 1.0]}, "2 rows"),
    ],
)
def test_missing_columns_and_rows_are_refused_in_a_line(columns, message):
    with pytest.raises(UsageError, match=message):
        LAWS["chinchilla"].fit(columns)
