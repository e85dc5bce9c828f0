"""Fixed data: what regularisation, ensembles, filtering and repetition can still bring.

    ensemble          E + A / K^alpha                          K members, or parameters, fixed data
    data_filtering    a prod_j (n_j/n_{j-1})^(-b_j) + d        utility that halves with repetition

In `data_filtering` n_j are the samples seen by the end of epoch j and b_j = b (1/2)^((j-1)/tau).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.answers import invert
from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.fit import Estimate, Fit
from dwell.laws.law import Law
from dwell.laws.spaces import FloatArray

_MOST_EPOCHS = 1000


def _increments(seen: FloatArray, unique: FloatArray) -> list[FloatArray]:
    """Logarithm by which samples grow in each epoch, `[n]` each; the first begins at 1."""
    last = int(np.ceil(np.max(seen / unique) - 1e-9))
    if last > _MOST_EPOCHS:
        raise UsageError(
            f"at most {_MOST_EPOCHS} epochs can be modelled, but some row sees its data {last} "
            "times. Check that `seen` counts samples and `U` the unique ones."
        )
    logs = [np.log(np.minimum(seen, unique))]
    for epoch in range(2, last + 1):
        logs.append(np.log(np.clip(seen / unique, epoch - 1.0, epoch) / (epoch - 1.0)))
    return logs


def _filtered(x: Any, p: Any) -> Any:
    total: Any = 0.0
    for index, step in enumerate(_increments(x.seen, x.U)):
        total = total + 0.5 ** (index / p.tau) * step
    return np.exp(-p.b * total), 1.0


ENSEMBLE = Law(
    name="ensemble",
    text="E + A / K^alpha",
    inputs=("members",),
    target="loss",
    params={
        "E": scale("loss of infinitely many members"),
        "A": scale("what more members remove, from one on"),
        "alpha": exponent("how fast members help"),
    },
    powers={"E": {}, "A": {"members": "-alpha"}},
    paper="Kim et al., Pre-training under Infinite Compute (2025)",
    equation="L(K) = E + A/K^alpha at fixed data; their regularised recipe has the same form in "
    "parameters (`m2` with x=params). `nested_limits` takes K, then N, to infinity",
    use="Data are fixed and compute is not: where do ensembles of one model lead?",
    assumes="members are tuned for the ensemble; the power law goes on",
)

DATA_FILTERING = Law(
    name="data_filtering",
    text="a prod_j (n_j/n_{j-1})^(-b_j) + d, b_j = b (1/2)^((j-1)/tau)",
    inputs=("seen", "U"),
    target="error",
    params={
        "a": scale("error above d after one sample"),
        "d": scale("error that remains"),
        "b": exponent("utility of the pool in its first epoch", grouped=True,
                      grid=(0.02, 0.05, 0.1, 0.2, 0.4)),
        "tau": Param(meaning="epochs that halve the utility", transform="exp", lower=1e-2,
                     upper=1e4, grid=(0.5, 1.5, 4.0, 12.0), grouped=True, tolerance=4.0),
    },
    linear=_filtered,
    paper="Goyal et al., Scaling Laws for Data Filtering: Data Curation Cannot Be Compute "
    "Agnostic (2024)",
    equation="dy/dn = y b_j / n within epoch j, with falling error: b > 0 and a minus sign here; "
    "the first epoch has its full utility",
    use="Pools of several qualities (`group`), each seen for several epochs: which to train on?",
    assumes="utility halves every tau epochs; a and d are shared by all pools",
)  # fmt: skip


def mixture_error(
    pools: Sequence[Mapping[str, float]], a: float, d: float, seen: npt.ArrayLike
) -> FloatArray:
    """Error of a model trained on a mixture of pools, `[n]`.

    Each pool is `{"b", "tau", "U"}`. Of p pools each is seen less often, so its half-life grows
    to p tau; the utility of an epoch of the mixture is the mean of theirs.

    Args:
        pools: parameters of the pools, and their unique samples U.
        a: shared scale of the fit.
        d: shared floor of the fit.
        seen: `[n]` samples seen.

    References:
        Goyal et al. (2024), mixtures: b_eff(j) = mean of b_i (1/2)^((j-1)/(p tau_i)).
    """
    size = np.atleast_1d(np.asarray(seen, np.float64))
    unique = np.full_like(size, sum(pool["U"] for pool in pools))
    total = np.zeros_like(size)
    for index, step in enumerate(_increments(size, unique)):
        shares = [p["b"] * 0.5 ** (index / (len(pools) * p["tau"])) for p in pools]
        total += float(np.mean(shares)) * step
    return np.asarray(a * np.exp(-total) + d, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPools:
    """For each amount of samples seen `[n]`, the pools with the least error and that error."""

    seen: FloatArray
    pools: tuple[tuple[str, ...], ...]
    error: FloatArray


def best_pools(fit: Fit, unique: Mapping[str, float], seen: npt.ArrayLike) -> BestPools:
    """Which pools to train on, as a function of compute: their curves cross.

    Args:
        fit: of `data_filtering` with groups.
        unique: unique samples of each group.
        seen: `[n]` samples that the budgets allow.

    Raises:
        UsageError: more than twelve pools (all subsets are tried), or one that was not fitted.
    """
    names = tuple(unique)
    if len(names) > 12 or not set(names) <= set(fit.groups):
        raise UsageError(
            f"`unique` must name at most 12 of the groups {list(fit.groups)}, but got "
            f"{list(names)}."
        )
    values = fit.params
    of = {n: {"b": values[f"b[{n}]"], "tau": values[f"tau[{n}]"], "U": unique[n]} for n in names}
    subsets = [s for size in range(1, len(names) + 1) for s in combinations(names, size)]
    size = np.atleast_1d(np.asarray(seen, np.float64))
    errors = np.stack(
        [mixture_error([of[n] for n in s], values["a"], values["d"], size) for s in subsets]
    )
    best = errors.argmin(axis=0)
    return BestPools(seen=size, pools=tuple(subsets[i] for i in best), error=errors.min(axis=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedLimits:
    """Limits of infinite members, then infinite parameters.

    Attributes:
        limit: the double limit with its interval.
        sizes: `[N]` parameters of the models.
        inner: their limits for infinitely many members.
        outer: the fit through these limits.
    """

    limit: Estimate
    sizes: FloatArray
    inner: tuple[Estimate, ...]
    outer: Fit


def nested_limits(
    params: npt.ArrayLike,
    members: npt.ArrayLike,
    loss: npt.ArrayLike,
    *,
    resamples: int = 200,
    level: float = 0.9,
) -> NestedLimits:
    """The limit K to infinity for each N, then N to infinity of these limits.

    The interval carries the inner uncertainty on: the outer fit is repeated on limits drawn from
    the inner fits.

    Args:
        params: `[n]` parameters of each member.
        members: `[n]` members of the ensemble.
        loss: `[n]`.
        resamples: repetitions for the interval.
        level: its coverage.

    Raises:
        UsageError: fewer than three sizes, or fewer than three ensembles of some size.

    References:
        Kim et al. (2025): asymptotes of ensembles fitted for each N, then over N.
    """
    size, count, target = (np.asarray(v, np.float64) for v in (params, members, loss))
    sizes = np.unique(size)
    if len(sizes) < 3:
        raise UsageError(f"nested limits need at least 3 sizes, but got {len(sizes)}.")
    inner = []
    for one in sizes:
        rows = size == one
        inner.append(ENSEMBLE.fit({"members": count[rows], "loss": target[rows]}, level=level))
    ends = np.array([fit.params["E"] for fit in inner])
    # The outer form is that of the members too: one power law towards a floor.
    outer = ENSEMBLE.fit({"members": sizes, "loss": ends}, level=level)
    draws = np.stack([fit.samples[:resamples, 0] for fit in inner], axis=1)
    problem = outer.problem
    assert problem is not None
    scale_of = problem.coordinates.scales["loss"]
    samples = outer.refit(targets=np.log(np.maximum(draws, 1e-300) / scale_of))[:, 0]
    return NestedLimits(
        limit=outer.estimate(outer.params["E"], samples, level),
        sizes=sizes,
        inner=tuple(fit.interval("E") for fit in inner),
        outer=outer,
    )


def data_worth(baseline: Fit, loss: float, tokens: float, over: str = "D") -> Estimate:
    """How many times the data the baseline would need to reach a loss.

    Args:
        baseline: loss of the baseline against data, a law with one input, or with the others
            held at values of its own.
        loss: the loss that a better recipe reached.
        tokens: the data that it used.
        over: the baseline's input.

    Returns:
        Data of the baseline over `tokens`; infinite if the baseline never gets there.
    """
    need = invert(baseline, loss, over)
    return Estimate(value=need.value / tokens, low=need.low / tokens, high=need.high / tokens,
                    level=need.level)  # fmt: skip


LAWS = (DATA_FILTERING, ENSEMBLE)
