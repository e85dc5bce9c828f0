"""Declared units: rescaled inputs give rescaled parameters, for every law."""

import numpy as np
import pytest

from dwell.laws import LAWS
from dwell.laws.coordinates import coordinates
from dwell.laws.declaration import namespace


@pytest.mark.parametrize("name", sorted(name for name, law in LAWS.items() if law.rescaled))
def test_units_of_parameters_are_those_of_the_formula(name):
    law = LAWS[name]
    groups = ("g",) if any(p.grouped for p in law.params.values()) else ()
    named = {unit for p in law.params for unit in law.units_of(p)}
    scales = {u: 10.0 ** (1 + i) for i, u in enumerate((*law.inputs, law.target)) if u in named}
    made = coordinates(law, scales, fixed={}, tied=(), groups=groups)
    inner = np.array([[(p.grid or (0.7,))[-1] for p in law.params.values()]])
    rng = np.random.default_rng(0)
    inputs = {k: np.sort(rng.uniform(1.0, 20.0, 6)) for k in law.inputs}
    params = inner * made.factors(inner)
    small = law.predict(namespace(inputs), made.named(inner))
    outer = {k: v * scales.get(k, 1.0) for k, v in inputs.items()}
    large = law.predict(namespace(outer), made.named(params))
    np.testing.assert_allclose(large, small * scales.get(law.target, 1.0), rtol=1e-9)
