"""The parabola method is biased without any noise; the surface fit is not."""

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks/isoflop_bias.py"
spec = importlib.util.spec_from_file_location("isoflop_bias", FILE)
bias = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = bias
spec.loader.exec_module(bias)
SYMMETRIC, CHINCHILLA, ASYMMETRIC = bias.REGIMES.values()


@pytest.mark.parametrize("surface", bias.REGIMES.values(), ids=bias.REGIMES)
def test_error_of_the_exponent_grows_with_the_width_of_drifting_grids(surface):
    errors = [abs(bias.bias_of(surface, width, drift=0.5).exponent) for width in bias.WIDTHS]
    assert errors == sorted(errors)
    assert errors[-1] > 20 * errors[0]


def test_error_of_the_exponent_grows_with_asymmetry():
    errors = [abs(bias.bias_of(s, 8.0, drift=0.5).exponent) for s in bias.REGIMES.values()]
    assert errors == sorted(errors)
    assert errors[2] > 1.5 * errors[0]


def test_error_of_the_exponent_grows_with_drift():
    errors = [abs(bias.bias_of(CHINCHILLA, 8.0, drift=d).exponent) for d in (0.0, 0.25, 0.5, 0.75)]
    assert errors == sorted(errors)
    assert errors[0] < 1e-9


def test_error_of_the_size_grows_with_width_and_asymmetry_on_centred_grids():
    wide = [abs(bias.bias_of(ASYMMETRIC, width).size - 1) for width in bias.WIDTHS]
    assert wide == sorted(wide)
    by_surface = [abs(bias.bias_of(s, 8.0).size - 1) for s in bias.REGIMES.values()]
    assert by_surface == sorted(by_surface)
    assert by_surface[0] < 1e-6


def test_error_of_the_size_grows_off_centre():
    errors = [abs(bias.bias_of(SYMMETRIC, 8.0, offset=o).size - 1) for o in (0.0, 0.25, 0.5, 0.75)]
    assert errors == sorted(errors)


@pytest.mark.parametrize("surface", bias.REGIMES.values(), ids=bias.REGIMES)
@pytest.mark.parametrize("width", [bias.WIDTHS[0], bias.WIDTHS[-1]])
def test_the_surface_fit_recovers_the_truth(surface, width):
    assert bias.surface_error(surface, width) < 1e-6


def test_a_wrong_size_costs_compute():
    assert bias.wasted(bias.LLAMA, 1.0) < 1e-4
    assert 0.03 < bias.wasted(bias.LLAMA, 0.7) < 0.07
