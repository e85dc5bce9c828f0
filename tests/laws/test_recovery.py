"""Every law finds its own parameters again, whatever the units and the order of the rows."""

import numpy as np
import pytest

from dwell.laws import LAWS
from dwell.laws.examples import EXAMPLES, example_rows

#: Laws with valleys: a noisy fit takes a second or more.
SLOW = {"farseer", "m4", "data_filtering"}


def each(names):
    return [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in sorted(names)]


def noisy(name, seed=1):
    rows, target = example_rows(name), LAWS[name].target
    noise = np.random.default_rng(seed).standard_normal(len(rows[target]))
    return {**rows, target: rows[target] * np.exp(0.002 * noise)}


def fitted(name, rows):
    return LAWS[name].fit(rows, group="group" if EXAMPLES[name].groups else None)


def predicted(name, fit, rows):
    inputs = {n: values[..., :5] for n, values in LAWS[name].rows(rows).inputs.items()}
    return fit.predict(inputs, group=next(iter(EXAMPLES[name].groups), None)).value


def test_every_law_has_an_example():
    assert set(EXAMPLES) == set(LAWS)


@pytest.mark.parametrize("name", sorted(LAWS))
def test_noise_free_parameters_are_recovered(name):
    fit = fitted(name, example_rows(name))
    for parameter, value in EXAMPLES[name].params.items():
        assert fit.params[parameter] == pytest.approx(value, rel=1e-6), parameter
    assert fit.errors.max_rel < 1e-9


@pytest.mark.parametrize("name", each(name for name, law in LAWS.items() if law.rescaled))
def test_units_of_inputs_change_only_the_units(name):
    law, rows = LAWS[name], noisy(name)
    if law.prepare is not None:
        rows = {**LAWS[name].rows(rows).inputs, law.target: rows[law.target]}
    free = [n for n in law.inputs if any(n in law.units_of(p) for p in law.params)]
    scaled = {**rows, **{n: rows[n] * (1e9 if i % 2 else 1e-9) for i, n in enumerate(free)}}
    fit, other = fitted(name, rows), fitted(name, scaled)
    assert other.objective.value == pytest.approx(fit.objective.value, rel=1e-9)
    ours, theirs = predicted(name, fit, rows), predicted(name, other, scaled)
    np.testing.assert_allclose(theirs, ours, rtol=1e-6)


@pytest.mark.parametrize("name", each(LAWS))
def test_order_of_rows_changes_nothing(name):
    rows = noisy(name)
    order = np.random.default_rng(2).permutation(len(rows[LAWS[name].target]))
    fit = fitted(name, rows)
    other = fitted(name, {n: values[order] for n, values in rows.items()})
    assert other.objective.value == pytest.approx(fit.objective.value, rel=1e-9)
    np.testing.assert_allclose(predicted(name, other, rows), predicted(name, fit, rows), rtol=1e-6)
