r"""The process verifier's small head: features of a policy's own text, and the network on them.

A policy that writes a wrong step is often surprised by it: the probability that it gave to the
digits it wrote is low. So the head reads, at every newline, the policy's final hidden state and
eight numbers about the surprisal so far, all of which the sampler has anyway: there is no second
forward pass. Labels in training are the outcome of the whole text, at every newline (Monte Carlo
returns from one rollout each, as in Wang and others, Math-Shepherd, 2023, with one rollout).

The arithmetic is exact, so that a score does not depend on what it was batched with: inputs
and activations are rounded to multiples of 2^-10 and weights to 2^-12, and float64 adds such
products without rounding. This module knows text and numbers, not models or files; training
and runtime both use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]

#: Names of the scalar features, in their order.
SCALARS = (
    "surprisal_sum",
    "surprisal_max",
    "surprisal_of_step",
    "result_surprisal_sum",
    "result_surprisal_max",
    "result_surprisal_of_step",
    "num_steps",
    "is_chain",
)

#: Rounding of inputs and activations, and of weights.
INPUT_UNITS = 2.0**10
WEIGHT_UNITS = 2.0**12
#: Inputs and activations are cut to this range, so that sums stay below 2^53 units.
INPUT_LIMIT = 1024.0

_MARKER = "W"
_RESULT_OPENS = frozenset("=A")
_RESULT_CLOSES = frozenset(",\n")


def scalar_features(text: str, surprisals: npt.ArrayLike, *, is_chain: bool) -> Values:
    r"""Returns the eight scalars at every newline of a completion, `[S, 8]`.

    Sums, maxima and the step count are of the pass so far: they start again after a line that
    holds only the marker `W`. Result tokens are those after `=` or `A`, up to and including the
    comma or newline that closes them.

    Args:
        text: What the policy wrote after the prompt, one character a token.
        surprisals: `-log p` of each character in nats at temperature 1; entries beyond the
            text (the end token's) are ignored.
        is_chain: Whether the problem is a chain (the other task is countdown).

    Examples:
        >>> scalar_features("4+5=9\nA9\n", [0, 0, 0, 0, 2, 1, 0, 0, 0], is_chain=True)[:, :3]
        array([[3., 2., 3.],
               [3., 2., 0.]], dtype=float32)
    """
    nats = np.asarray(surprisals, dtype=np.float64)[: len(text)]
    assert len(nats) == len(text), f"surprisals: {len(nats)} for {len(text)} characters"
    rows: list[tuple[float, ...]] = []
    start, steps = 0, 0
    total = peak = result_total = result_peak = 0.0
    for line in text.split("\n")[:-1]:
        stop = start + len(line) + 1
        if line == _MARKER:
            steps = 0
            total = peak = result_total = result_peak = 0.0
            rows.append((0.0,) * 7 + (float(is_chain),))
        else:
            own = nats[start:stop]
            result = own[_result_tokens(line)]
            step, result_step = float(own.sum()), float(result.sum())
            total, result_total = total + step, result_total + result_step
            peak = max(peak, float(own.max()))
            result_peak = max(result_peak, float(result.max(initial=0.0)))
            steps += 1
            rows.append(
                (
                    total, peak, step,
                    result_total, result_peak, result_step,
                    float(steps), float(is_chain),
                )
            )  # fmt: skip
        start = stop
    return np.array(rows, dtype=np.float32).reshape(-1, len(SCALARS))


def _result_tokens(line: str) -> npt.NDArray[np.bool_]:
    """Which characters of a line, its newline included, are result tokens."""
    inside, flags = False, []
    for character in line + "\n":
        flags.append(inside)
        if character in _RESULT_OPENS:
            inside = True
        elif character in _RESULT_CLOSES:
            inside = False
    return np.array(flags, dtype=bool)


@dataclass(frozen=True, slots=True)
class ValueHead:
    """A small ReLU network from features to the logit of "this text will end right".

    Attributes:
        layers: (weight `[out, in]`, bias `[out]`) pairs, the last with `out = 1`. The first
            reads the hidden state alone (`in = d`) or with the scalars behind it (`d + 8`).
    """

    layers: tuple[tuple[Doubles, Doubles], ...]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[np.generic]]) -> ValueHead:
        """Builds the head from `layer{k}.weight` and `layer{k}.bias`, k = 1, 2, ..."""
        layers: list[tuple[Doubles, Doubles]] = []
        while f"layer{len(layers) + 1}.weight" in tensors:
            name = f"layer{len(layers) + 1}"
            weight = np.asarray(tensors[f"{name}.weight"], dtype=np.float64)
            bias = np.asarray(tensors[f"{name}.bias"], dtype=np.float64)
            layers.append((_rounded(weight, WEIGHT_UNITS), _rounded(bias, WEIGHT_UNITS)))
        return cls(layers=tuple(layers))

    @property
    def reads_scalars(self) -> bool:
        """Whether the first layer expects the scalars behind the hidden state."""
        width: int = self.layers[0][0].shape[1]
        return width % 32 == len(SCALARS)

    def logits(self, hidden: Values, scalars: Values | None = None) -> Values:
        """Returns `[S]` logits; the same bits for a row whatever the other rows are.

        Args:
            hidden: `[S, d]` final normed hidden states of the policy at newlines.
            scalars: `[S, 8]` from `scalar_features`; not read by a head without them.
        """
        x = np.asarray(hidden, dtype=np.float64)
        if self.reads_scalars:
            assert scalars is not None
            assert len(scalars) == len(x)
            x = np.concatenate([x, np.asarray(scalars, dtype=np.float64)], axis=1)
        last = len(self.layers) - 1
        for k, (weight, bias) in enumerate(self.layers):
            x = _rounded(np.clip(x, -INPUT_LIMIT, INPUT_LIMIT), INPUT_UNITS) @ weight.T + bias
            if k < last:
                x = np.maximum(x, 0.0)
        return x[:, 0].astype(np.float32)

    def probabilities(self, hidden: Values, scalars: Values | None = None) -> Values:
        """Returns `[S]` probabilities that the text will end right, in `[0, 1]`."""
        logits = self.logits(hidden, scalars).astype(np.float64)
        return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)


def _rounded(values: Doubles, units: float) -> Doubles:
    """Nearest multiples of `1 / units`."""
    return np.rint(values * units) / units
