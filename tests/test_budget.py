"""Limits and the meter."""

import math

import pytest

from dwell.budget import CALLS, OUTPUT, SECONDS, Meter, check_limits
from dwell.errors import UsageError
from dwell.records import USAGE_KINDS, Usage


def amounts(**kinds):
    return [float(kinds.get(kind, 0)) for kind in USAGE_KINDS]


def test_a_meter_without_limits_never_overflows():
    meter = Meter()
    assert not meter.limited
    assert meter.overflow(amounts(calls=1e18), 1e18) is None
    assert all(math.isinf(left) for _, left in meter.remaining().items())


def test_what_just_fits_fits():
    meter = Meter({"output_tokens": 10})
    meter.add(amounts(output_tokens=4))
    assert meter.overflow(amounts(output_tokens=6), 0) is None
    assert meter.overflow(amounts(output_tokens=7), 0) == ("output_tokens", 4, 10)


def test_the_first_limit_that_is_met_is_named():
    meter = Meter({"calls": 1, "output_tokens": 1})
    assert meter.overflow(amounts(calls=2, output_tokens=2), 0)[0] == "calls"


def test_the_clock_moves_only_forward_and_is_limited():
    meter = Meter({"seconds": 5})
    meter.at(3)
    meter.at(2)
    assert meter.charged().seconds == 3
    assert meter.overflow(amounts(), 5) is None
    assert meter.overflow(amounts(), 5.1) == ("seconds", 3, 5)


def test_charges_and_remainders_are_usage_vectors():
    meter = Meter({"calls": 3})
    meter.add(amounts(calls=2, flops=1e9))
    assert meter.charged() == Usage(calls=2, flops=1e9)
    assert meter.remaining().calls == 1
    meter.add(amounts(calls=5))
    assert meter.remaining().calls == 0


def test_the_places_of_kinds_are_those_of_the_record():
    assert [USAGE_KINDS[k] for k in (CALLS, OUTPUT, SECONDS)] == [
        "calls",
        "output_tokens",
        "seconds",
    ]


@pytest.mark.parametrize(
    ("limits", "rule"), [({"words": 1}, "words"), ({"usd": -0.1}, "usd=-0.1")]
)
def test_limits_are_checked(limits, rule):
    with pytest.raises(UsageError, match=rule):
        check_limits(limits)
