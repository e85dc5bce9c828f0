"""A fitted law: its parameters, how well they are known, and what it predicts.

Letters: `S` slots (parameters, one for each group where they are grouped), `R` resamples, `n`
rows, `K` points to predict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from dwell.errors import UsageError
from dwell.laws import allocation, answers
from dwell.laws.declaration import Declared, check_names, namespace
from dwell.laws.problem import Objective, Problem
from dwell.laws.solver import solve
from dwell.laws.spaces import BoolArray, FloatArray

BootstrapKind = Literal["pairs", "residual", "cluster"]


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """How the objective rises when one parameter is held: `values [K]`, `objective [K]`.

    `low` and `high` bound the values that the likelihood ratio at `level` does not reject;
    infinite where the grid ends first.
    """

    name: str
    values: FloatArray
    objective: FloatArray
    low: float
    high: float
    level: float


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
        """The same fit with its intervals from refits on resampled data.

        Args:
            num: resamples.
            kind: "pairs" resamples rows; "residual" adds resampled residuals to the fitted
                curve; "cluster" resamples clusters of rows (checkpoints of one run, draws of one
                problem), for which the fit must know its clusters.
            level: coverage of intervals; None keeps the fit's own.
            seed: of the resampling.

        Raises:
            UsageError: no data (a fit read from a file), no clusters, or `num` below 2.
        """
        problem = self._problem("a bootstrap")
        if num < 2:
            raise UsageError(f"a bootstrap needs at least 2 resamples, but got {num}.")
        rng = np.random.default_rng(seed)
        weights = targets = None
        if kind == "residual":
            scaled = self.residuals / problem.unit
            drawn = scaled[rng.integers(0, len(scaled), (num, len(scaled)))]
            targets = problem.model.value(self.free[None]) + drawn
        else:
            weights = _resampled(problem, kind, num, rng)
        samples = self.refit(weights=weights, targets=targets)
        return replace(
            self,
            samples=samples,
            samples_from=f"{kind} bootstrap",
            level=self.level if level is None else level,
        )

    def refit(
        self, *, weights: FloatArray | None = None, targets: FloatArray | None = None
    ) -> FloatArray:
        """Parameters `[R, S]` for other weights or targets `[R, n]`, from each known optimum."""
        problem = self._problem("a refit")
        given = weights if weights is not None else targets
        assert given is not None
        best = problem.solve(np.tile(self.free, (len(given), 1)), weights=weights, targets=targets)
        free, objective = best.free, best.objective
        for other in self.optima[1:3]:
            row = np.array([[other.params[name] for name in self.names]])
            begin = np.tile(problem.coordinates.from_caller(row), (len(given), 1))
            tried = problem.solve(begin, weights=weights, targets=targets)
            wins = tried.objective < objective
            free = np.where(wins[:, None], tried.free, free)
            objective = np.where(wins, tried.objective, objective)
        return problem.coordinates.to_caller(free)

    def profile(
        self, name: str, values: npt.ArrayLike | None = None, level: float | None = None
    ) -> Profile:
        """How the objective rises when one parameter is held and the others are refitted.

        Args:
            name: a parameter, in the coordinates of the data: coefficients are held at the
                size of their term in the middle of the data times the stated ratio.
            values: `[K]` values in the caller's units; None takes 41 within about four standard
                errors.
            level: of the likelihood-ratio interval.

        Raises:
            UsageError: no such free parameter, or no data.
        """
        problem = self._problem("a profile")
        made = problem.coordinates
        if name not in made.free_names:
            raise UsageError(f"`name` must be one of {list(made.free_names)}, but got {name!r}.")
        level = self.level if level is None else level
        index = made.free_names.index(name)
        slot = made.names.index(name)
        center = made.to_caller(self.free[None])[0, slot]
        points = self._profile_points(index, center) if values is None else None
        grid = np.asarray(values, np.float64) if points is None else points
        row = np.tile(self.values, (len(grid), 1))
        row[:, slot] = grid
        held = made.from_caller(row)[:, index]
        low = np.tile(made.low, (len(grid), 1))
        high = np.tile(made.high, (len(grid), 1))
        low[:, index] = high[:, index] = held
        starts = np.tile(self.free, (len(grid), 1))
        starts[:, index] = held
        w, z = problem.rows.weights, problem.targets
        solved = solve(problem.model, z, w, problem.delta, starts, low=low, high=high)
        objective = solved.objective * problem.unit**2
        bound = self._likelihood_bound(level)
        inside = np.flatnonzero(objective <= bound)
        at = grid[inside] if len(inside) else np.array([self.values[slot]])
        ends = (len(inside) and inside[0] == 0, len(inside) and inside[-1] == len(grid) - 1)
        return Profile(
            name=name,
            values=grid,
            objective=objective,
            low=-np.inf if ends[0] else float(at.min()),
            high=np.inf if ends[1] else float(at.max()),
            level=level,
        )

    def _profile_points(self, index: int, center: float) -> FloatArray:
        problem = self._problem("a profile")
        made = problem.coordinates
        hessian, spread = problem.curvature(self.free)
        inverse = np.linalg.pinv(hessian)
        error = np.sqrt(max(float((inverse @ spread @ inverse)[index, index]), 1e-16))
        slot = made.names.index(made.free_names[index])
        steps = np.linspace(-4.0, 4.0, 41) * error
        moved = np.tile(self.free, (len(steps), 1))
        moved[:, index] = np.clip(moved[:, index] + steps, made.low[index], made.high[index])
        natural = made.natural(made.slots(moved))[:, slot]
        best = made.natural(made.slots(self.free[None]))[0, slot]
        return np.unique(natural * (center / best if best else 1.0))

    def _likelihood_bound(self, level: float) -> float:
        """The objective up to which a value is not rejected: n q ln(ratio) <= chi^2.

        Residuals whose loss grows as a power p have a likelihood in which the deviance is
        (2/p) n ln(objective): p is 2 for squares and falls to 1 as Huber's threshold shrinks.
        """
        problem = self._problem("a profile")
        residual = self.residuals / problem.unit
        clipped = np.clip(residual, -problem.delta, problem.delta)
        base = float(np.sum(problem.rows.weights * clipped * (residual - 0.5 * clipped)))
        moment = float(np.sum(problem.rows.weights * clipped * residual))
        power = moment / base if base > 0 else 2.0
        rise = float(chi2.ppf(level, 1)) * power / (2.0 * self.num_rows)
        return float(base * np.exp(rise) * problem.unit**2)

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

    def _problem(self, what: str) -> Problem:
        if self.problem is None:
            raise UsageError(f"{what} needs the data, which a fit read from a file has not.")
        return self.problem


def _rank(ordered: FloatArray, share: float) -> float:
    """A quantile that is one of the samples: some are whole, some infinite."""
    return float(ordered[max(0, int(np.ceil(share * len(ordered))) - 1)])


def _resampled(problem: Problem, kind: str, num: int, rng: np.random.Generator) -> FloatArray:
    """Weights `[R, n]` of rows drawn with replacement, or of whole clusters."""
    weights, clusters = problem.rows.weights, problem.rows.clusters
    if kind == "pairs":
        count = len(weights)
        return weights * rng.multinomial(count, np.full(count, 1.0 / count), size=num)
    if kind != "cluster":
        raise UsageError(f"`kind` must be pairs, residual or cluster, but got {kind!r}.")
    if clusters is None:
        raise UsageError("a cluster bootstrap needs clusters: fit with `cluster=COLUMN`.")
    count = int(clusters.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=num)
    return np.asarray(weights * drawn[:, clusters], np.float64)


def inside(fit: Fit, name: str, values: FloatArray) -> BoolArray:
    """`[K]`: whether values of an input lie in the range of the data."""
    low, high = fit.ranges[name]
    return np.asarray((values >= low) & (values <= high))
