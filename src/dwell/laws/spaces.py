"""The spaces in which residuals live: as they are, logarithms, logits, logarithms of logarithms.

A residual is `forward(observed) - forward(predicted)`. A space knows its derivative, for the
chain rule, and its Jacobian, so that likelihoods in different spaces can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A strictly monotone map of the target.

    Attributes:
        name: key in `SPACES`.
        domain: the values it takes, in words.
        contains: `y [...] -> [...]`, whether values can be mapped.
        forward: `y -> z`.
        inverse: `z -> y`.
        slope: `y -> dz/dy`.
        homogeneous: whether rescaling y shifts or rescales z alike for all rows, so that the
            target may be rescaled before fitting.
    """

    name: str
    domain: str
    contains: Callable[[FloatArray], BoolArray]
    forward: Callable[[FloatArray], FloatArray]
    inverse: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]
    homogeneous: bool


def _same(y: FloatArray) -> FloatArray:
    return y


def _one(y: FloatArray) -> FloatArray:
    return np.ones_like(y)


def _expit(z: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), np.float64)


def _inside(y: FloatArray) -> BoolArray:
    return np.asarray((y > 0) & (y < 1))


SPACES = {
    space.name: space
    for space in (
        Space(
            name="linear",
            domain="finite",
            contains=np.isfinite,
            forward=_same,
            inverse=_same,
            slope=_one,
            homogeneous=True,
        ),
        Space(
            name="log",
            domain="more than 0",
            contains=lambda y: np.asarray((y > 0) & np.isfinite(y)),
            forward=np.log,
            inverse=np.exp,
            slope=lambda y: 1.0 / y,
            homogeneous=True,
        ),
        Space(
            name="logit",
            domain="between 0 and 1",
            contains=_inside,
            forward=lambda y: np.log(y) - np.log1p(-y),
            inverse=_expit,
            slope=lambda y: 1.0 / (y * (1.0 - y)),
            homogeneous=False,
        ),
        Space(
            name="loglog",
            domain="between 0 and 1",
            contains=_inside,
            forward=lambda y: np.log(-np.log(y)),
            inverse=lambda z: np.exp(-np.exp(z)),
            slope=lambda y: 1.0 / (y * np.log(y)),
            homogeneous=False,
        ),
    )
}


def space_of(name: str) -> Space:
    """A space by its name.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in SPACES:
        raise UsageError(f"`space` must be one of {sorted(SPACES)}, but got {name!r}.")
    return SPACES[name]
