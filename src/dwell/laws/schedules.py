"""Laws of the whole learning-rate schedule: loss at any step of any schedule.

    annealing     L0 + A S1^-alpha - C S2                       area law, momentum of the decay
    multipower    L0 + A S1^-alpha - B sum_k drop_k [1 - (1 + C eta_k^-gamma S_k)^-beta]

S1 is the sum of the learning rates so far, warm-up included. S2 is the sum of a momentum of the
decay, `m_i = lambda m_(i-1) + eta_(i-1) - eta_i` with lambda 0.999, begun after the warm-up. The
multi-power law follows each drop of the learning rate by itself: S_k is what was summed since.

Inputs are made from a table of schedules with the columns `step` and `lr`, and `schedule` if
there are several: `annealing_inputs` and `multipower_inputs` take the rate of every step.

Letters: `n` rows, `T` steps, `K` blocks of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.law import Law
from dwell.laws.spaces import FloatArray

MOMENTUM = 0.999
#: Blocks of steps into which the drops of a schedule are gathered.
NUM_BLOCKS = 80
# A drop of the rate by more than this between two rows of a table is a step, not a slope.
_SUDDEN = 0.03


def rate_of_each_step(step: npt.ArrayLike, rate: npt.ArrayLike, warmup: int) -> FloatArray:
    """`[T]` learning rate of each step of one schedule, from the rows of a log.

    The rate rises linearly from 0 to that of the first row within `warmup` steps; then it is
    interpolated between rows, but held where it falls at once.
    """
    order = np.argsort(np.asarray(step, np.float64), kind="stable")
    steps = np.asarray(step, np.float64)[order]
    rates = np.asarray(rate, np.float64)[order]
    every = np.arange(int(steps[-1]) + 1, dtype=np.float64)
    known_steps, known = np.concatenate([[warmup], steps]), np.concatenate([rates[:1], rates])
    out = np.interp(every, known_steps, known)
    before = np.searchsorted(known_steps, every, side="right") - 1
    before = np.clip(before, 0, len(known) - 2)
    change = np.abs(np.diff(known)) > _SUDDEN * np.max(known)
    out = np.where(change[before] & (every < known_steps[before + 1]), known[before], out)
    return np.asarray(np.where(every < warmup, rates[0] * every / max(warmup, 1), out))


def annealing_inputs(
    rate: FloatArray, step: npt.ArrayLike, warmup: int
) -> tuple[FloatArray, FloatArray]:
    """S1 and S2 `[n]` at some steps of one schedule.

    Args:
        rate: `[T]` learning rate of each step, from step 0.
        step: `[n]` steps.
        warmup: steps of warm-up, whose rise is no (negative) decay.
    """
    at = np.asarray(step, np.int64)
    drops = np.concatenate([[0.0], rate[:-1] - rate[1:]])
    drops[: warmup + 1] = 0.0
    momentum = scipy.signal.lfilter([1.0], [1.0, -MOMENTUM], drops)
    return np.cumsum(rate)[at], np.cumsum(momentum)[at]


def multipower_inputs(
    rate: FloatArray, step: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """S1 `[n]`; drop, rate and sum since `[K, n]` for blocks of steps before each row.

    Drops are gathered in blocks, each at the mean place of its drops: half of the blocks divide
    the steps evenly, half the drops. Blocks after a row have no drop.
    """
    at = np.asarray(step, np.int64)
    total = np.cumsum(rate)
    drops = np.concatenate([[0.0], rate[:-1] - rate[1:]])
    size = np.abs(drops) + 1e-300
    even = np.linspace(0, len(rate), NUM_BLOCKS // 2 + 1)
    share = np.cumsum(size) / np.sum(size)
    fall = np.searchsorted(share, np.linspace(0, 1, NUM_BLOCKS // 2 + 1)[1:-1])
    edges = np.unique(np.concatenate([even, fall]).astype(int))
    place = np.add.reduceat(size * np.arange(len(rate)), edges[:-1])
    place = place / np.add.reduceat(size, edges[:-1])
    middle = np.clip(np.round(place).astype(int), 0, len(rate) - 1)
    full = np.zeros((NUM_BLOCKS, len(at)))
    rates, since = np.full((NUM_BLOCKS, len(at)), float(rate.max())), np.zeros_like(full)
    cumulative = np.cumsum(drops)
    for block, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        last = np.minimum(at, high - 1)
        before = cumulative[low - 1] if low else 0.0
        full[block] = np.where(at >= low, cumulative[last] - before, 0.0)
        rates[block] = max(rate[middle[block]], 1e-4 * rate.max())
        from_here = total[middle[block] - 1] if middle[block] else 0.0
        since[block] = np.maximum(total[at] - from_here, 0.0)
    return total[at], full, rates, since


def _each_schedule(
    columns: Mapping[str, Any], make: Callable[[FloatArray, Any, int], tuple[FloatArray, ...]]
) -> list[FloatArray]:
    """Inputs `[..., n]` of all rows, made schedule by schedule."""
    for name in ("step", "lr"):
        if name not in columns:
            raise UsageError(
                f"laws of schedules need the columns `step` and `lr`, but there is no {name!r}."
            )
    step = np.asarray(columns["step"], np.float64)
    rate = np.asarray(columns["lr"], np.float64)
    if not (np.all(np.isfinite(step)) and np.all(np.isfinite(rate)) and np.all(rate > 0)):
        raise UsageError("`step` and `lr` must be finite, and `lr` more than 0.")
    if np.any(step < 0):
        raise UsageError("`step` must be at least 0.")
    labels = np.array([str(v) for v in columns.get("schedule", np.zeros(len(step)))])
    warmups = np.asarray(columns.get("warmup", np.full(len(step), step.min())), np.float64)
    parts: list[FloatArray] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        warmup = int(warmups[rows[0]])
        every = rate_of_each_step(step[rows], rate[rows], warmup)
        for index, values in enumerate(make(every, step[rows], warmup)):
            if len(parts) <= index:
                parts.append(np.zeros((*values.shape[:-1], len(step))))
            parts[index][..., rows] = values
    return parts


def _with_areas(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    if "S1" in columns and "S2" in columns:
        return columns
    first, second = _each_schedule(columns, annealing_inputs)
    return {**columns, "S1": first, "S2": second}


def _with_drops(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    names = ("S1", "drop", "rate", "since")
    if set(names) <= set(columns):
        return columns
    parts = _each_schedule(columns, lambda rate, step, _: multipower_inputs(rate, step))
    return {**columns, **dict(zip(names, parts, strict=True))}


ANNEALING = Law(
    name="annealing",
    text="L0 + A S1^-alpha - C S2",
    inputs=("S1", "S2"),
    target="loss",
    params={
        "L0": scale("irreducible loss of this model, in nats"),
        "A": scale("excess loss at S1 = 1", units={"S1": "alpha"}),
        "C": scale("gain for each unit of annealing area", units={"S2": -1.0}),
        "alpha": exponent("how fast training helps"),
    },
    linear=lambda x, p: (1.0, np.exp(-p.alpha * np.log(x.S1)), -x.S2),
    signed=("S2",),
    prepare=_with_areas,
    paper="Tissue, Wang and Wang, Scaling Law with Learning Rate Annealing (2024)",
    equation="L(s) = L0 + A S1^-alpha - C S2 with lambda 0.999; the momentum begins after the "
    "warm-up, S1 at step 0",
    use="Loss curve of a schedule not tried yet, from two or three that were. Fast and convex.",
    assumes="one model and batch size; the gain of annealing is linear in its area",
    automatic=False,
)


def _since(x: Any, p: Any) -> tuple[Any, Any]:
    """What has not yet come of each drop, `[K, B, n]`, and the sum over drops of what has."""
    rate, since, drop = (v[:, None] for v in (x.rate, x.since, x.drop))
    logs = np.log1p(np.exp(np.log(p.C) - p.gamma * np.log(rate)) * since)
    left = np.exp(-p.beta * logs)
    return logs, np.sum(drop * (1.0 - left), axis=0)


def _multipower(x: Any, p: Any) -> tuple[Any, ...]:
    return 1.0, np.exp(-p.alpha * np.log(x.S1)), -_since(x, p)[1]


def _multipower_gradient(x: Any, p: Any) -> tuple[Any, ...]:
    rate, since, drop = (v[:, None] for v in (x.rate, x.since, x.drop))
    log_rate = np.log(rate)
    grown = np.exp(np.log(p.C) - p.gamma * log_rate) * since
    logs = np.log1p(grown)
    left = drop * np.exp(-p.beta * logs)
    inner = p.beta * left * grown / (1.0 + grown)
    area = np.exp(-p.alpha * np.log(x.S1))
    by_c = -p.B * np.sum(inner, axis=0) / p.C
    by_gamma = p.B * np.sum(inner * log_rate, axis=0)
    by_beta = -p.B * np.sum(left * logs, axis=0)
    return (
        1.0,
        area,
        -np.sum(drop - left, axis=0),
        -p.A * area * np.log(x.S1),
        by_c,
        by_beta,
        by_gamma,
    )


MULTIPOWER = Law(
    name="multipower",
    text="L0 + A S1^-alpha - B sum_k drop_k (1 - (1 + C rate_k^-gamma S_k)^-beta)",
    inputs=("S1", "drop", "rate", "since"),
    target="loss",
    params={
        "L0": scale("irreducible loss of this model, in nats"),
        "A": scale("excess loss at S1 = 1"),
        "B": scale("gain for each unit that the rate has dropped"),
        "alpha": exponent("how fast training helps", grid=(0.5,)),
        "C": Param(meaning="how soon a drop takes effect", transform="exp", lower=0.0,
                   grid=(0.5, 4.0), tolerance=4.0),
        "beta": exponent("how fast the rest of the effect comes", grid=(0.3, 0.8)),
        "gamma": exponent("how the speed depends on the rate", grid=(0.6,)),
    },
    linear=_multipower,
    gradient=_multipower_gradient,
    signed=("drop", "since"),
    prepare=_with_drops,
    paper="Luo et al., A Multi-Power Law for Loss Curve Prediction Across Learning Rate "
    "Schedules (2025)",
    equation="equation 1; warm-up steps count in S1 and in the sum, whose drops are gathered in "
    f"{NUM_BLOCKS} blocks of steps",
    use="Loss curve of a schedule not tried yet, also in the middle of a decay.",
    assumes="one model and batch size; drops act independently",
    automatic=False,
)  # fmt: skip

LAWS = (ANNEALING, MULTIPOWER)
