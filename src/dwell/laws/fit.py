"""A fitted law: its parameters, how well they are known, and what it predicts.

Letters: `S` slots (parameters, one for each group where they are grouped), `R` resamples, `n`
rows, `K` points to predict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws import allocation, answers, bootstrap, profiles
from dwell.laws.bootstrap import BootstrapKind
from dwell.laws.declaration import Declared, check_names, namespace
from dwell.laws.problem import Objective, Problem
from dwell.laws.profiles import Profile
from dwell.laws.spaces import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that follows from a fit, with its interval; infinite ends are possible."""

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """Predictions `[K]` with their band, `level` being the coverage of each point by itself."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How far predictions are from observations, in the target's units.

    Attributes:
        num_rows: rows compared.
        rmse: root mean square.
        mae: mean absolute.
        mape: mean of absolute errors as a share of the observation; NaN if one is 0.
        log_rmse: root mean square of the difference of logarithms; NaN where not positive.
        max_rel: largest absolute error as a share of the observation.
    """

    num_rows: int
    rmse: float
    mae: float
    mape: float
    log_rmse: float
    max_rel: float


def errors_of(observed: FloatArray, predicted: FloatArray) -> Errors:
    """`Errors` of predictions `[n]`."""
    off = predicted - observed
    share = np.abs(off) / np.abs(observed) if np.all(observed != 0) else np.full(1, np.nan)
    positive = np.all(observed > 0) and np.all(predicted > 0)
    logs = np.log(predicted / observed) if positive else np.full(1, np.nan)
    return Errors(
        num_rows=len(off),
        rmse=float(np.sqrt(np.mean(off**2))),
        mae=float(np.mean(np.abs(off))),
        mape=float(np.mean(share)),
        log_rmse=float(np.sqrt(np.mean(logs**2))),
        max_rel=float(np.max(share)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Rows that the fit has not seen: `observed [n]`, `predicted [n]`, and the `errors`.

    `inputs` are theirs by name; empty for a fit read from a file.
    """

    inputs: Mapping[str, FloatArray]
    observed: FloatArray
    predicted: FloatArray
    errors: Errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """A local optimum: its `objective`, its parameters, the number of `starts` that reach it."""

    objective: float
    params: Mapping[str, float]
    starts: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A law with parameters in the caller's units, and the evidence for them.

    Attributes:
        law: the law.
        names: `[S]` names of the slots.
        values: `[S]` best parameters.
        samples: `[R, S]` parameters refitted on resampled rows, or drawn from the curvature.
        samples_from: "curvature", or for example "pairs bootstrap".
        level: default coverage of intervals.
        objective: what was minimised.
        optima: distinct optima that starts led to, best first.
        num_starts: searches made.
        starts_at_best: how many of them reached the best objective (within 1e-4 of it).
        converged: whether the best search ended at a stationary point.
        condition: of the Hessian in the coordinates solved, with unit diagonal.
        residuals: `[n]` in the space of the objective.
        r2: share of the variance of the target that is explained; NaN for a constant one.
        deviance: minus twice the log likelihood.
        num_free: parameters fitted.
        errors: in the range of the data.
        holdout: on rows held out, or None.
        ranges: (least, largest) of each input among the rows fitted.
        groups: names of the groups, empty without.
        verdict: "identified", "weakly identified" or "not identified".
        reasons: why not more, a sentence each.
        problem: the data, for what refits; None for a fit read from a file.
        free: `[F]` best coordinates of the problem.
    """

    law: Declared
    names: tuple[str, ...]
    values: FloatArray
    samples: FloatArray
    samples_from: str
    level: float
    objective: Objective
    optima: tuple[Optimum, ...]
    num_starts: int
    starts_at_best: int
    converged: bool
    condition: float
    residuals: FloatArray
    r2: float
    deviance: float
    num_free: int
    errors: Errors
    holdout: HeldOut | None
    ranges: Mapping[str, tuple[float, float]]
    groups: tuple[str, ...]
    verdict: str
    reasons: tuple[str, ...]
    problem: Problem | None
    free: FloatArray

    @property
    def params(self) -> dict[str, float]:
        """Parameters by name, in the caller's units."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard deviations of the samples: of the bootstrap, if there was one."""
        return dict(zip(self.names, self.samples.std(axis=0, ddof=1).tolist(), strict=True))

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Percentile intervals at `level`."""
        estimates = {name: self.interval(name) for name in self.names}
        return {name: (one.low, one.high) for name, one in estimates.items()}

    @property
    def num_rows(self) -> int:
        """Rows fitted."""
        return len(self.residuals)

    @property
    def aic(self) -> float:
        """Akaike's criterion; smaller is better."""
        return self.deviance + 2.0 * self.num_free

    @property
    def aicc(self) -> float:
        """The same, corrected for few rows; infinite where rows <= parameters + 1."""
        left = self.num_rows - self.num_free - 1
        if left <= 0:
            return float("inf")
        return self.aic + 2.0 * self.num_free * (self.num_free + 1) / left

    @property
    def bic(self) -> float:
        """Schwarz's criterion."""
        return self.deviance + self.num_free * float(np.log(self.num_rows))

    def interval(self, name: str, level: float | None = None) -> Estimate:
        """A parameter with its percentile interval.

        Raises:
            UsageError: the law has no parameter of this name.
        """
        if name not in self.names:
            raise UsageError(
                f"law `{self.law.name}` has parameters {list(self.names)}, but got {name!r}."
            )
        column = self.names.index(name)
        return self.estimate(float(self.values[column]), self.samples[:, column], level)

    def estimate(self, value: float, samples: FloatArray, level: float | None = None) -> Estimate:
        """A number with the percentile interval of its samples `[R]`, widened to hold it."""
        level = self.level if level is None else level
        kept = np.sort(samples[~np.isnan(samples)])
        if np.isnan(value) or not len(kept):
            return Estimate(value=value, low=np.nan, high=np.nan, level=level)
        tail = (1.0 - level) / 2.0
        low, high = _rank(kept, tail), _rank(kept, 1.0 - tail)
        return Estimate(value=value, low=min(low, value), high=max(high, value), level=level)

    def curves(
        self, inputs: Mapping[str, Any], values: FloatArray, group: str | None = None
    ) -> FloatArray:
        """Predictions `[B, K]` at inputs for sets of parameters `[B, S]`."""
        check_names(f"inputs of `{self.law.name}`", self.law.inputs, inputs)
        arrays = [np.atleast_1d(np.asarray(inputs[k], np.float64)) for k in self.law.inputs]
        x = namespace(dict(zip(self.law.inputs, arrays, strict=True)))
        columns = {}
        for name in self.law.params:
            slot = name if name in self.names else f"{name}[{group}]"
            if slot not in self.names:
                raise UsageError(f"`group` must be one of {list(self.groups)}, but got {group!r}.")
            columns[name] = values[:, self.names.index(slot), None]
        num_points = max(array.shape[-1] for array in arrays)
        with np.errstate(all="ignore"):
            curves = self.law.predict(x, namespace(columns))
        return np.array(np.broadcast_to(curves, (len(values), num_points)), np.float64)

    def predict(
        self,
        inputs: Mapping[str, Any] | npt.ArrayLike,
        level: float | None = None,
        *,
        group: str | None = None,
    ) -> Prediction:
        """The law at some inputs, with its band.

        The band is the percentile range of the curves of `samples`: how far the *mean* may be
        off if the law holds, point by point. It holds no noise of single runs.

        Args:
            inputs: `[K]` by name; an array for a law with one input.
            level: coverage; None takes the fit's own.
            group: which group's parameters, if some are grouped.
        """
        given = self.named_inputs(inputs)
        level = self.level if level is None else level
        value = self.curves(given, self.values[None], group)[0]
        tail = (1.0 - level) / 2.0
        spread = self.curves(given, self.samples, group)
        with np.errstate(all="ignore"):
            low, high = np.nanquantile(spread, [tail, 1.0 - tail], axis=0)
        return Prediction(
            value=value, low=np.fmin(low, value), high=np.fmax(high, value), level=level
        )

    def named_inputs(self, inputs: Mapping[str, Any] | npt.ArrayLike) -> Mapping[str, Any]:
        """Inputs by name, of an array if the law has but one."""
        if isinstance(inputs, Mapping):
            return inputs
        if len(self.law.inputs) > 1:
            raise UsageError(
                f"law `{self.law.name}` has inputs {list(self.law.inputs)}: pass them by name."
            )
        return {self.law.inputs[0]: inputs}

    def bootstrap(
        self,
        num: int = 1000,
        kind: BootstrapKind = "pairs",
        *,
        level: float | None = None,
        seed: int = 0,
    ) -> Fit:
        """The same fit with intervals from resampled data; see `bootstrap.resampled`."""
        samples = bootstrap.resampled(self, num, kind, seed)
        level = self.level if level is None else level
        return replace(self, samples=samples, samples_from=f"{kind} bootstrap", level=level)

    def refit(
        self, *, weights: FloatArray | None = None, targets: FloatArray | None = None
    ) -> FloatArray:
        """Parameters `[R, S]` for other weights or targets `[R, n]`; see `bootstrap.refit`."""
        return bootstrap.refit(self, weights=weights, targets=targets)

    def profile(
        self, name: str, values: npt.ArrayLike | None = None, level: float | None = None
    ) -> Profile:
        """How the objective rises when one parameter is held; see `profiles.profile`."""
        return profiles.profile(self, name, values, level)

    def data(self, what: str) -> Problem:
        """The problem that was solved.

        Args:
            what: what needs it, for the message.

        Raises:
            UsageError: the fit was read from a file, which has no data.
        """
        if self.problem is None:
            raise UsageError(f"{what} needs the data, which a fit read from a file has not.")
        return self.problem

    def allocate(
        self,
        compute: float,
        *,
        cost: allocation.Cost = allocation.training_flops,
        bounds: tuple[float, float] | None = None,
        at: Mapping[str, float] | None = None,
        group: str | None = None,
        level: float | None = None,
    ) -> allocation.Allocation:
        """The N and D with the least predicted loss for a budget; see `allocation.allocate`."""
        return allocation.allocate(
            self, compute, cost=cost, bounds=bounds, at=at, group=group, level=level
        )

    def asymptote(
        self,
        over: str | None = None,
        *,
        at: Mapping[str, float] | None = None,
        level: float | None = None,
    ) -> Estimate:
        """The limit for an input to infinity; see `answers.asymptote`."""
        return answers.asymptote(self, over, at=at, level=level)

    def saturation(
        self,
        eps: float = 0.01,
        over: str = "k",
        *,
        at: Mapping[str, float] | None = None,
        level: float | None = None,
    ) -> Estimate:
        """Where more of an input adds no more than `eps`; see `answers.saturation`."""
        return answers.saturation(self, eps, over, at=at, level=level)

    def invert(
        self,
        target: float,
        over: str,
        *,
        at: Mapping[str, float] | None = None,
        bounds: tuple[float, float] | None = None,
        level: float | None = None,
    ) -> Estimate:
        """What input reaches a target; see `answers.invert`."""
        return answers.invert(self, target, over, at=at, bounds=bounds, level=level)


def _rank(ordered: FloatArray, share: float) -> float:
    """A quantile that is one of the samples: some are whole, some infinite."""
    return float(ordered[max(0, int(np.ceil(share * len(ordered))) - 1)])


def inside(fit: Fit, name: str, values: FloatArray) -> BoolArray:
    """`[K]`: whether values of an input lie in the range of the data."""
    low, high = fit.ranges[name]
    return np.asarray((values >= low) & (values <= high))
