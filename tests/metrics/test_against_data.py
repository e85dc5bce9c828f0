"""Coverage of real models on real problems; runs only beside the shared data."""

import csv
from pathlib import Path

import numpy as np
import pytest

from dwell.laws import fit_curve
from dwell.metrics import pass_at_k

TABLE = Path(__file__).parents[3] / "shared/data/laws/coverage_pythia_math.csv"
pytestmark = pytest.mark.skipif(not TABLE.is_file(), reason="needs the shared data")

# Exponents of the same 128 problems with 10,000 draws each, from an independent regression.
EXPONENTS = {"70M": 0.190, "1B": 0.310, "12B": 0.369}


def counts(model):
    with TABLE.open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"].endswith(f" {model}")]
    columns = ("n_samples", "n_correct")
    return tuple(np.array([int(row[name]) for row in rows]) for name in columns)


@pytest.mark.parametrize("model", sorted(EXPONENTS))
def test_coverage_exponent_of_a_real_model_is_reproduced(model):
    k = np.unique(np.logspace(0, 4, 20).astype(int))
    coverage = pass_at_k(*counts(model), k).mean(axis=0)
    slope = np.polyfit(np.log(k), np.log(-np.log(coverage)), 1)[0]
    assert -slope == pytest.approx(EXPONENTS[model], abs=0.002)


@pytest.mark.parametrize("model", sorted(EXPONENTS))
def test_coverage_law_predicts_a_hundred_times_larger_budgets(model):
    k = np.unique(np.logspace(0, 4, 20).astype(int))
    fitted = fit_curve("coverage", k, pass_at_k(*counts(model), k), holdout_from=101)
    assert fitted.holdout.rmse < 0.05
