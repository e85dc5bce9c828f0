"""Bootstrap intervals at 90 % hold the truth about as often as they say."""

import numpy as np
import pytest

from dwell.laws import LAWS
from dwell.laws.examples import EXAMPLES, example_rows

MAIN = ("chinchilla", "coverage", "m2", "observational", "optimal_size", "overtraining",
        "passuntil", "tokens_log", "ttspm", "vlm")  # fmt: skip
REPETITIONS, RESAMPLES, LEVEL = 200, 200, 0.9


def shares(name):
    """How often the interval of each parameter holds the truth, 1 % noise, four times the rows."""
    law, truth = LAWS[name], EXAMPLES[name].params
    rows = {k: np.tile(v, 4) for k, v in example_rows(name).items()}
    clean = rows[law.target]
    hits = np.zeros(len(truth))
    for seed in range(REPETITIONS):
        # Laws have noise of their own: else an unlucky draw is unlucky for all of them.
        rng = np.random.default_rng([MAIN.index(name), seed])
        noise = rng.standard_normal(len(clean))
        noisy = {**rows, law.target: clean * np.exp(0.01 * noise)}
        fit = law.fit(noisy, loss="squares", starts=[truth])
        intervals = fit.bootstrap(RESAMPLES, seed=seed).intervals
        hits += [intervals[k][0] <= value <= intervals[k][1] for k, value in truth.items()]
    return hits / REPETITIONS


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MAIN)
def test_intervals_hold_the_truth_at_their_level(name):
    found = shares(name)
    print(name, dict(zip(EXAMPLES[name].params, found.tolist(), strict=True)))
    reach = 4 * np.sqrt(LEVEL * (1 - LEVEL) / REPETITIONS)
    np.testing.assert_allclose(found, LEVEL, atol=reach)
