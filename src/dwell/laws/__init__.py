"""Laws of accuracy against compute: declared, fitted with bands, checked out of sample."""

from dwell.laws.base import (
    IDENTIFIED,
    NOT_IDENTIFIED,
    WEAKLY_IDENTIFIED,
    Estimate,
    Fit,
    Holdout,
    Law,
    Param,
    Prediction,
)
from dwell.laws.fitting import choose, fit
from dwell.laws.testtime import LAWS

__all__ = [
    "IDENTIFIED",
    "LAWS",
    "NOT_IDENTIFIED",
    "WEAKLY_IDENTIFIED",
    "Estimate",
    "Fit",
    "Holdout",
    "Law",
    "Param",
    "Prediction",
    "choose",
    "fit",
]
