"""Surfaces in which model size changes what data are worth, and what noise does to both.

    farseer          exp(s(N)) + exp(b(N)) D^-exp(a(N)), each of s, b, a being c0 + c1 N^c2
    noisy_channel    E + A / (N^a log2(1 + signal(D) / noise(D, sigma)))

In `chinchilla` every model learns from tokens at the same rate. Here the rate may depend on size;
prefer it only where held-out error or AICc says so (`dwell fit --law auto`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.law import Law
from dwell.laws.spaces import FloatArray

_POWERS = (-0.6, -0.3, -0.1, 0.1, 0.3)
_RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


def _affine(meaning: str, letter: str, low: float, high: float) -> dict[str, Param]:
    """The three parameters of c0 + c1 N^c2."""
    # Constant, slope and power trade off against each other, so each by itself is wide; bounds of
    # the constant end the valley in which the power of N tends to a logarithm.
    options: dict[str, Any] = {"tolerance": 8.0}
    return {
        f"{letter}0": Param(meaning=f"{meaning}: constant", lower=low, upper=high, **options),
        f"{letter}1": Param(meaning=f"{meaning}: slope", units={"N": f"-{letter}2"}, **options),
        f"{letter}2": Param(
            meaning=f"{meaning}: power of N", lower=-1.5, upper=1.5, grid=_POWERS, **options
        ),
    }


def _farseer(x: Any, p: Any) -> Any:
    log_size, log_tokens = np.log(x.N), np.log(x.D)
    floor = p.s0 + p.s1 * np.exp(p.s2 * log_size)
    height = p.b0 + p.b1 * np.exp(p.b2 * log_size)
    rate = np.exp(p.a0 + p.a1 * np.exp(p.a2 * log_size))
    return np.exp(floor) + np.exp(height - rate * log_tokens)


def _farseer_gradient(x: Any, p: Any) -> tuple[Any, ...]:
    """Derivatives by s0, s1, s2, b0, b1, b2, a0, a1, a2."""
    log_size, log_tokens = np.log(x.N), np.log(x.D)
    powers = [np.exp(c2 * log_size) for c2 in (p.s2, p.b2, p.a2)]
    floor = np.exp(p.s0 + p.s1 * powers[0])
    rate = np.exp(p.a0 + p.a1 * powers[2])
    rest = np.exp(p.b0 + p.b1 * powers[1] - rate * log_tokens)
    outer = (floor, rest, -rest * rate * log_tokens)
    slopes = (p.s1, p.b1, p.a1)
    parts = zip(outer, powers, slopes, strict=True)
    return tuple(
        term for by, power, c1 in parts for term in (by, by * power, by * c1 * power * log_size)
    )


def _farseer_starts(x: Any, loss: FloatArray) -> list[dict[str, float]]:
    """A power law in D for each size, then c0 + c1 N^c2 through what these say of N.

    The paper's way (a difference in D removes the term of the model alone), used as a start: the
    joint fit that follows weighs all rows at once and has the lower objective.
    """
    sizes, rows = [], []
    for members in _by_size(x.N):
        log_tokens, target = np.log(x.D[members]), loss[members]
        best: tuple[float, ...] = (np.inf,)
        for rate in _RATES:
            basis = np.stack([np.ones(len(members)), np.exp(-rate * log_tokens)], axis=1)
            (floor, height), *_ = np.linalg.lstsq(basis, target, rcond=None)
            if floor > 0 and height > 0:
                off = float(np.sum((basis @ [floor, height] - target) ** 2))
                best = min(best, (off, np.log(floor), np.log(height), np.log(rate)))
        if len(best) > 1:
            sizes.append(float(np.exp(np.mean(np.log(x.N[members])))))
            rows.append(best[1:])
    if len(sizes) < 3:
        middle = float(np.log(np.mean(loss) / 2))
        flat = {"s0": middle, "b0": middle + 0.3 * float(np.mean(np.log(x.D))), "a0": np.log(0.3)}
        return [{**flat, **dict.fromkeys(("s1", "b1", "a1"), 0.0), **_named("sba", powers)}
                for powers in product(_POWERS, (-0.1,), (-0.1,))]  # fmt: skip
    lines = [_lines(np.array(sizes), np.array(rows)[:, i], name) for i, name in enumerate("sba")]
    return [{**s, **b, **a} for s, b, a in product(*lines)]


def _by_size(size: FloatArray) -> list[npt.NDArray[np.intp]]:
    """Rows of equal size; of neighbouring sizes where each has too few."""
    unique, index, counts = np.unique(size, return_inverse=True, return_counts=True)
    if counts.min() >= 3 and len(unique) >= 3:
        return [np.flatnonzero(index == i) for i in range(len(unique))]
    return np.array_split(np.argsort(size, kind="stable"), max(3, len(size) // 6))


def _lines(size: FloatArray, values: FloatArray, letter: str) -> list[dict[str, float]]:
    """c0 and c1 by least squares for each power: the two best."""
    found = []
    for power in _POWERS:
        basis = np.stack([np.ones_like(size), size**power], axis=1)
        line, *_ = np.linalg.lstsq(basis, values, rcond=None)
        off = float(np.sum((basis @ line - values) ** 2))
        found.append((off, {f"{letter}0": float(line[0]), f"{letter}1": float(line[1]),
                            f"{letter}2": power}))  # fmt: skip
    return [start for _, start in sorted(found, key=lambda pair: pair[0])[:2]]


def _named(letters: str, powers: tuple[float, ...]) -> dict[str, float]:
    return {f"{letter}2": power for letter, power in zip(letters, powers, strict=True)}


FARSEER = Law(
    name="farseer",
    text="exp(s(N)) + exp(b(N)) D^-exp(a(N)), each of s, b, a being c0 + c1 N^c2",
    inputs=("N", "D"),
    target="loss",
    params={
        **_affine("log of the loss that data cannot remove", "s", -10.0, 10.0),
        **_affine("log of the excess loss of one token", "b", -30.0, 60.0),
        **_affine("log of the exponent of data", "a", -8.0, 4.0),
    },
    formula=_farseer,
    gradient=_farseer_gradient,
    starts=_farseer_starts,
    paper="Li et al., Predictable Scale, Part II: Farseer (2025)",
    equation="L(N, D) = exp(s(N)) + exp(b(N)) D^-exp(a(N)). The affine functions of powers of N "
    "are as recalled, not re-read. Their differential piecewise procedure only starts our joint "
    "fit. D must be in tokens: the form is not closed under a change of its unit",
    use="Many runs over sizes and tokens, where larger models seem to gain more from each token.",
    assumes="the exponent of data drifts smoothly with size",
)

Ratio = Callable[[Any, Any], Any]


def channel_law(
    name: str, text: str, ratio: Ratio, params: Mapping[str, Param], inputs: tuple[str, ...]
) -> Law:
    """A capacity-like law with a signal-to-noise ratio of the caller's.

    Loss falls as the capacity of a noisy channel grows: size is bandwidth, data are signal. Which
    noise there is depends on the setting (quantisation, fine-tuning, corruption), so its formula
    is an argument.

    Args:
        name: of the law.
        text: formula of the ratio, for people.
        ratio: `(x, p) -> signal / noise`, as in `Law.formula`.
        params: its parameters, besides E, A and a.
        inputs: names of the inputs, `N` among them.

    Returns:
        A law E + A / (N^a log2(1 + ratio)).
    """

    def parts(x: Any, p: Any) -> tuple[Any, ...]:
        bits = np.log1p(ratio(x, p)) / np.log(2.0)
        return 1.0, np.exp(-p.a * np.log(x.N)) / bits

    return Law(
        name=name,
        text=f"E + A / (N^a log2(1 + {text}))",
        inputs=inputs,
        target="loss",
        params={
            "E": scale("irreducible loss"),
            "A": scale("excess loss of one parameter at one bit", units={"N": "a"}),
            "a": exponent("how fast bandwidth grows with size", grid=(0.05, 0.2, 0.5)),
            **params,
        },
        linear=parts,
        paper="Noisy-channel scaling law (2025)",
        equation="loss falls with N^a log2(1 + S(D)/noise(N, D, sigma)); where the exponents "
        "stand is not confirmed, so the ratio is the caller's formula: `channel_law`",
        use="Loss that turns up again when noise grows faster than signal.",
        assumes="size acts as bandwidth, data as signal power",
        automatic=False,
    )


NOISY_CHANNEL = channel_law(
    "noisy_channel",
    "(D/d)^b / (1 + sigma (D/d)^g)",
    lambda x, p: (
        np.exp(p.b * np.log(x.D / p.d)) / (1.0 + x.sigma * np.exp(p.g * np.log(x.D / p.d)))
    ),
    {
        "d": Param(meaning="tokens at which the signal equals the intrinsic noise",
                   transform="exp", lower=0.0, grid=(1e-3, 0.1, 1.0), units={"D": 1.0},
                   tolerance=8.0),
        "b": exponent("how fast signal grows with tokens", grid=(0.2, 0.5, 1.0)),
        "g": exponent("how fast the perturbation grows with tokens", grid=(0.3, 0.8, 1.5)),
    },
    ("N", "D", "sigma"),
)  # fmt: skip

LAWS = (FARSEER, NOISY_CHANNEL)
