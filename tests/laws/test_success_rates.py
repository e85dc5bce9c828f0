"""Coverage predicted from few draws: recovery, bands, edges, and real models on real problems."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import betaln

from dwell.errors import UsageError
from dwell.laws.rate_shapes import FAMILIES
from dwell.laws.success_rates import fit_success_rates

TABLE = Path(__file__).parents[3] / "shared/data/laws/coverage_pythia_math.csv"

# Ways in which rates may be spread, none of them in one of the fitted families with its prior.
SIMULATED = {
    "beta": lambda rng, num: rng.beta(0.4, 1.2, num),
    "half never": lambda rng, num: rng.beta(0.6, 0.6, num) * (rng.random(num) < 0.5),
    "logit normal": lambda rng, num: 1 / (1 + np.exp(-rng.normal(-1, 2.5, num))),
    "two groups": lambda rng, num: np.where(
        rng.random(num) < 0.4, rng.beta(12, 4, num), rng.beta(1, 30, num)
    ),
    "log uniform": lambda rng, num: 10 ** rng.uniform(-4, 0, num),
}


def record(rng, rates, seen, size):
    """Counts of the first `seen` draws, and whether `size` draws solved each question."""
    first = rng.binomial(seen, rates)
    return first, (first > 0) | (rng.binomial(size - seen, rates) > 0)


@pytest.mark.parametrize(
    "family", ["beta", "kumaraswamy", "logit_normal", "beta_zeros", "beta_rare"]
)
def test_a_family_recovers_coverage_of_beta_rates_from_many_questions(family):
    rng = np.random.default_rng(0)
    n = np.full(3000, 12)
    rates = fit_success_rates(n, rng.binomial(n, rng.beta(0.4, 1.2, 3000)), family)
    miss = np.exp(betaln(0.4, 1.2 + 48) - betaln(0.4, 1.2))
    sampling = np.sqrt(0.25 * 0.75 / 3000)
    assert rates.mean == pytest.approx(0.25, abs=4 * sampling)
    slack = 0.0 if family != "logit_normal" else 0.03  # not its shape
    assert rates.predict(48, same_questions=False).value == pytest.approx(
        1 - miss, abs=4 * np.sqrt(miss * (1 - miss) / 3000) + slack
    )


def test_evidence_finds_the_family():
    rng = np.random.default_rng(1)
    n = np.full(800, 40)
    solvable = rng.random(800) < 0.6
    never = fit_success_rates(n, rng.binomial(n, rng.beta(2, 2, 800) * solvable))
    assert sum(share for name, share in never.families.items() if "_zeros" in name) > 0.99
    normal = 1 / (1 + np.exp(-rng.normal(-2, 1.5, 800)))
    smooth = fit_success_rates(n, rng.binomial(n, normal))
    assert smooth.families["logit_normal"] > 0.9


@pytest.mark.parametrize("same", [True, False])
def test_bands_hold_as_often_as_they_say(same):
    rng = np.random.default_rng(2)
    held, errors = [], []
    for spread in SIMULATED.values():
        for _ in range(12):
            rates = spread(rng, 60)
            first, solved = record(rng, rates, 5, 20)
            if not same:
                solved = rng.binomial(20, spread(rng, 60)) > 0
            forecast = fit_success_rates(np.full(60, 5), first).predict(20, same_questions=same)
            held.append(forecast.low - 1e-9 <= solved.mean() <= forecast.high + 1e-9)
            errors.append(forecast.value - solved.mean())
    assert np.mean(held) >= 0.9 - 4 * np.sqrt(0.09 / len(held))
    assert abs(np.mean(errors)) < 0.02 + 4 * np.std(errors) / np.sqrt(len(errors))


def test_a_wider_level_gives_a_wider_band():
    rates = fit_success_rates([8] * 30, [0] * 15 + [2] * 10 + [7] * 5)
    narrow, wide = rates.predict(64, level=0.5), rates.predict(64, level=0.95)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    assert narrow.value == wide.value


def test_coverage_of_seen_draws_is_exact():
    rates = fit_success_rates([4, 4, 4], [0, 1, 4])
    two = rates.predict(2)
    assert two.low == two.value == two.high == pytest.approx((0 + 0.5 + 1) / 3)
    assert rates.predict(0).value == 0
    four = rates.predict(4)
    assert four.value == pytest.approx(2 / 3)
    assert four.low == four.high


def test_predictions_grow_with_draws_and_join_the_seen():
    rates = fit_success_rates([6] * 40, [0] * 20 + [1] * 5 + [3] * 10 + [6] * 5)
    values = [rates.predict(k).value for k in (6, 7, 12, 100, 10_000, 10**7)]
    assert values[0] == 0.5
    assert np.all(np.diff(values) > 0)
    assert values[-1] < 1


def test_chance_of_an_unsolved_question_is_the_ratio_of_misses():
    n, c = np.full(500, 10), np.repeat([0, 2, 8], [200, 200, 100])
    rates = fit_success_rates(n, c, "beta")
    spread = rates.masses[np.argmax(rates.weights)]
    misses = spread @ np.exp(np.outer(rates.grid.log_miss, [10.0, 30.0]))
    chances = rates.chances(30)
    assert chances[-1] == 1
    assert chances[0] == pytest.approx(1 - misses[1] / misses[0], abs=0.1)
    assert rates.predict(30).value == pytest.approx(chances.mean())


def test_the_grid_integrates_as_the_closed_form():
    rates = fit_success_rates([20] * 20, [0] * 12 + [3] * 8, "beta")
    best = int(np.argmax(rates.weights))
    log_odds = np.log(rates.masses[best][1:]) - rates.grid.log_step
    basis = np.stack([rates.grid.log_hit[1:], rates.grid.log_miss[1:], np.ones(len(log_odds))])
    near = np.abs(rates.grid.logit) < 9
    (a, b, _), *_ = np.linalg.lstsq(basis[:, near].T, log_odds[near], rcond=None)
    k = np.array([1.0, 20.0, 400.0])
    exact = np.exp(betaln(a, b + k) - betaln(a, b))
    ours = rates.masses[best] @ np.exp(np.outer(rates.grid.log_miss, k))
    np.testing.assert_allclose(ours, exact, atol=1e-5)


def test_sampling_until_one_success_does_not_bias_the_fit():
    """Draws stop at the first success: the plug-in mean is far too high, the likelihood is not."""
    rng = np.random.default_rng(3)
    true = rng.beta(1.0, 4.0, 2000)
    n = np.minimum(rng.geometric(np.maximum(true, 1e-9)), 50)
    c = (rng.random(2000) < 1 - (1 - true) ** 50).astype(int)
    c[n < 50] = 1
    c[n == 50] = 0
    rates = fit_success_rates(n, c)
    assert np.mean(c / n) > 0.35
    assert rates.mean == pytest.approx(0.2, abs=0.02)


def test_chances_of_solved_questions_are_one():
    rates = fit_success_rates([3, 3], [1, 2])
    assert rates.chances(8).tolist() == [1, 1]
    assert rates.predict(8).low == rates.predict(8).high == 1


def test_questions_may_have_unequal_budgets_and_no_draws():
    rates = fit_success_rates([4, 8, 0, 2], [0, 0, 0, 1])
    forecast = rates.predict([4, 16, 8, 9])
    chances = rates.chances([4, 16, 8, 9])
    assert chances[0] == 0
    assert chances[3] == 1
    assert 0 < chances[1] < chances[2] < 1
    assert forecast.value == pytest.approx(chances.mean())


@pytest.mark.parametrize(("c", "low", "high"), [([5] * 20, 0.9, 1.0), ([0] * 20, 0.0, 0.1)])
def test_all_right_and_all_wrong_are_not_taken_for_certain(c, low, high):
    rates = fit_success_rates([5] * 20, c)
    assert low < rates.mean < high
    fresh = rates.predict(1, same_questions=False)
    assert fresh.low < fresh.high
    assert low <= fresh.value <= high
    same = rates.predict(40)
    assert same.value == 1 if c[0] else 0 < same.value < 0.35


@pytest.mark.parametrize("right", [0, 1])
def test_one_draw_of_one_question_leaves_all_open(right):
    rates = fit_success_rates([1], [right])
    fresh = rates.predict(8, same_questions=False)
    assert (fresh.low, fresh.high) == (0, 1)
    assert 0.1 < fresh.value < 0.99
    assert sum(rates.families.values()) == pytest.approx(1)
    assert set(rates.families) == set(FAMILIES)


def test_order_of_questions_does_not_matter():
    n, c = np.array([5, 5, 9, 9, 3]), np.array([0, 4, 1, 0, 3])
    one, other = fit_success_rates(n, c), fit_success_rates(n[::-1], c[::-1])
    assert one.predict(32) == other.predict(32)


def test_drawn_rates_agree_with_the_chances():
    n, c = np.full(30, 6), np.repeat([0, 1, 5], 10)
    rates = fit_success_rates(n, c)
    drawn = rates.draw_rates(np.random.default_rng(0), 2000)
    assert drawn.shape == (2000, 30)
    solved = 1 - (1 - drawn[:, 0]) ** 18
    error = 4 * solved.std() / np.sqrt(2000)
    assert solved.mean() == pytest.approx(rates.chances(24)[0], abs=error)
    assert drawn[:, 0].mean() < drawn[:, 10].mean() < drawn[:, 20].mean()


def test_more_fresh_questions_give_a_narrower_band():
    rates = fit_success_rates([8] * 100, [0] * 50 + [4] * 50)
    few = rates.predict(16, same_questions=False, num_questions=10)
    many = rates.predict(16, same_questions=False, num_questions=10_000)
    assert few.high - few.low > 2 * (many.high - many.low)
    assert few.value == many.value


@pytest.mark.parametrize(
    ("n", "c", "family", "says"),
    [
        ([], [], "auto", "at least one draw"),
        ([0, 0], [0, 0], "auto", "at least one draw"),
        ([4], [5], "auto", "5 right of 4"),
        ([4], [-1], "auto", "-1 right of 4"),
        ([4], [1.5], "auto", "1.5 right of 4"),
        ([4, 4], [1], "auto", "shapes"),
        ([4], [np.nan], "auto", "nan right of 4"),
        ([4], [1], "gamma", "must be of beta"),
        ([4], [1], (), "must be of beta"),
    ],
)
def test_bad_counts_are_refused(n, c, family, says):
    with pytest.raises(UsageError, match=says):
        fit_success_rates(n, c, family)


def test_bad_questions_are_refused():
    rates = fit_success_rates([4, 4], [0, 1])
    for k in (-1, 2.5, [1, 2, 3], np.inf):
        with pytest.raises(UsageError, match="whole number of draws"):
            rates.predict(k)
    with pytest.raises(UsageError, match="between 0 and 1"):
        rates.predict(4, level=90)
    with pytest.raises(UsageError, match="one for each"):
        rates.predict([4, 8], same_questions=False)
    with pytest.raises(UsageError, match="`num_questions` must be"):
        rates.predict(4, same_questions=False, num_questions=0)
    with pytest.raises(UsageError, match="`first` < `last`"):
        rates.tail_exponent(10, 10)


def test_tail_exponent_of_beta_rates_is_their_shape():
    rng = np.random.default_rng(4)
    n = np.full(4000, 200)
    rates = fit_success_rates(n, rng.binomial(n, rng.beta(0.4, 1.2, 4000)), "beta")
    far = rates.tail_exponent(10**5, 10**7)
    assert far.low < 0.4 < far.high
    assert far.high - far.low < 0.1


def pythia(model):
    with TABLE.open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"].endswith(f" {model}")]
    return tuple(np.array([int(row[name]) for row in rows]) for name in ("n_samples", "n_correct"))


# From an independent fit: slope of a beta-binomial's coverage over 1 to 10,000 draws.
EXPONENTS = {
    "70M": 0.195, "160M": 0.277, "410M": 0.282, "1B": 0.307, "2.8B": 0.328, "6.9B": 0.345,
    "12B": 0.364,
}  # fmt: skip


@pytest.mark.skipif(not TABLE.is_file(), reason="needs the shared data")
@pytest.mark.parametrize("model", sorted(EXPONENTS))
def test_coverage_exponents_of_real_models_are_reproduced(model):
    found = fit_success_rates(*pythia(model), family="beta").tail_exponent()
    assert found.value == pytest.approx(EXPONENTS[model], abs=0.01)
    assert found.low < EXPONENTS[model] < found.high


@pytest.mark.skipif(not TABLE.is_file(), reason="needs the shared data")
@pytest.mark.parametrize("model", ["160M", "1B", "12B"])
def test_a_hundred_draws_foretell_ten_thousand(model):
    n, c = pythia(model)
    seen = np.random.default_rng(5).hypergeometric(c, n - c, 100)
    forecast = fit_success_rates(np.full(len(n), 100), seen).predict(10_000, level=0.95)
    assert forecast.low <= np.mean(c > 0) <= forecast.high
