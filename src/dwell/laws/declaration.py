"""How a law is written down: a formula with named, bounded parameters. No fitting code here.

A law is data. It says its formula, which parameters are linear, in which space residuals live,
where a search may begin, and the paper. Everything else (derivatives, starts, bootstrap, answers)
follows from that. `docs/adding_a_law.md` shows the dozen lines that a new law takes.

Letters: `n` rows, `B` sets of parameters at once, `S` slots (parameters, one for each group where
they are grouped), `T` power terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

from dwell.errors import UsageError
from dwell.laws.spaces import FloatArray

Transform = Literal["identity", "exp", "logistic"]

#: Names under which inputs are found in tables, first come first served.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "N": ("params", "num_params", "parameters", "n_params", "n_opt", "dense_parameter_count"),
    "D": ("tokens", "num_tokens", "train_tokens", "tokens_opt"),
    "C": ("flops", "FLOPs", "budget", "compute", "gflops_total"),
    "M": ("tokens_per_param",),
    "U": ("unique_tokens",),
    "P": ("streams",),
    "width": (),
    "depth": (),
    "x": ("examples", "step"),
    "k": ("n", "samples", "draws"),
    "tokens": ("avg_tokens_used",),
    "experts": ("num_experts",),
    "loss": ("loss_opt", "loss_validation", "loss_c4_val"),
    "error": ("err_avg17",),
    "accuracy": ("value", "coverage", "pass_rate"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A parameter of a law.

    Attributes:
        meaning: what it stands for, with its unit.
        transform: the coordinate it is solved in: "identity"; "exp" (the parameter is the
            exponential of the coordinate: positive); "logistic" (between `lower` and `upper`).
        lower: least value. Bounds of a parameter whose units depend on other parameters hold in
            the rescaled units, so for these only 0 and infinity mean the same to everybody.
        upper: largest value.
        grid: values from which a search begins; linear parameters need none, since they are
            solved for at each point of the others' grid.
        linear: whether the prediction is linear in it (given the others).
        grouped: whether each group of rows has its own.
        units: powers of the inputs' units that it carries, for example `{"N": "alpha"}` for A in
            A N^-alpha: numbers, or names of parameters with an optional minus. Linear parameters
            carry the target's too, and coefficients of `powers` need none. If any parameter has
            units, the inputs named in them, and the target, are rescaled while fitting.
        tolerance: the parameter counts as identified if the 90 % interval of its coordinate is at
            most this wide, as a share of the value for "identity" (absolute where `absolute`),
            and in logarithms for "exp".
        absolute: whether `tolerance` is absolute.
        empty_ends: bounds ("lower", "upper") on which an estimate says that the data do not
            determine the law, and not that the parameter has this value.
    """

    meaning: str = ""
    transform: Transform = "identity"
    lower: float = -np.inf
    upper: float = np.inf
    grid: tuple[float, ...] = ()
    linear: bool = False
    grouped: bool = False
    units: Mapping[str, float | str] = field(default_factory=dict)
    tolerance: float = 1.5
    absolute: bool = False
    empty_ends: tuple[str, ...] = ()


def scale(meaning: str = "", **options: Any) -> Param:
    """A positive coefficient that enters linearly, solved as its logarithm."""
    return Param(meaning=meaning, transform="exp", lower=0.0, linear=True, **options)


def exponent(meaning: str = "", grid: tuple[float, ...] = (), **options: Any) -> Param:
    """A non-negative exponent, with the values from which searches begin."""
    grid = grid or (0.05, 0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.5)
    return Param(meaning=meaning, grid=grid, **{"lower": 0.0, "upper": 20.0, **options})


Formula = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is written down of a law; `dwell.laws.Law` adds what it can do.

    One of `powers`, `linear` and `formula` says what the law predicts:

    * `powers`: a sum of positive power laws, a coefficient for each term and the inputs it
      falls or rises with: `{"E": {}, "A": {"N": "-alpha"}, "B": {"D": "-beta"}}`. Its
      derivatives are analytic and its units known.
    * `linear`: `(x, p) -> tuple of arrays`, what multiplies each linear parameter, in order.
    * `formula`: `(x, p) -> array`.

    `x` holds the inputs as attributes (`x.N` is `[n]`), `p` the parameters (`p.alpha` is
    `[B, 1]`); formulas use numpy functions that accept complex numbers, since derivatives are
    found by a complex step, unless `gradient` says otherwise.

    Attributes:
        name: key in the registry, lower case.
        text: the formula as people write it.
        inputs: names of the inputs.
        target: name of what is predicted.
        params: the parameters by name.
        powers: see above.
        linear: see above.
        formula: see above.
        gradient: "auto" (complex step), "difference", or `(x, p) -> tuple of arrays`, the
            derivative by each parameter, in order.
        space: where residuals live: "log", "linear", "logit" or "loglog".
        delta: default threshold of the Huber loss in that space; None is least squares.
        paper: where the law comes from.
        equation: which equation of it, and where ours differs.
        use: when to use it, in a sentence or two.
        assumes: what must hold; the limit it takes for granted.
        starts: `(inputs, target) -> [starts] dicts`, where a search begins if not on the grid.
        prepare: `columns -> columns`, makes the inputs out of a table's columns.
        limits: `{input: (p -> value)}`, the limit for an input to infinity.
        saturation: `(p, eps) -> k`, closed form of the saturation point, if there is one.
        first: smallest value of the input `k` for which the form holds, for test-time laws.
        signed: inputs that may be 0 or negative; all others must be more than 0.
        automatic: whether `--law auto` may choose it.
    """

    name: str
    text: str
    inputs: tuple[str, ...]
    target: str
    params: Mapping[str, Param]
    powers: Mapping[str, Mapping[str, str | float]] | None = None
    linear: Formula | None = None
    formula: Formula | None = None
    gradient: Literal["auto", "difference"] | Formula = "auto"
    space: str = "log"
    delta: float | None = 1e-3
    paper: str
    equation: str
    use: str = ""
    assumes: str = ""
    starts: Callable[[Any, FloatArray], list[dict[str, float]]] | None = None
    prepare: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    limits: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    saturation: Callable[[Any, float], Any] | None = None
    first: float = 1.0
    signed: tuple[str, ...] = ()
    automatic: bool = True

    @property
    def linear_names(self) -> tuple[str, ...]:
        """Parameters that enter linearly, in order."""
        if self.powers is not None:
            return tuple(self.powers)
        if self.linear is None:
            return ()
        return tuple(name for name, param in self.params.items() if param.linear)

    @property
    def nonlinear_names(self) -> tuple[str, ...]:
        """The others, in order."""
        return tuple(name for name in self.params if name not in self.linear_names)

    def basis(self, x: Any, p: Any) -> tuple[Any, ...]:
        """What multiplies each linear parameter, arrays that broadcast to `[B, n]`."""
        if self.linear is not None:
            return tuple(self.linear(x, p))
        assert self.powers is not None
        return tuple(_monomial(term, x, p) for term in self.powers.values())

    def predict(self, x: Any, p: Any) -> Any:
        """The formula at inputs `x` and parameters `p`, `[B, n]`."""
        if self.formula is not None:
            return self.formula(x, p)
        parts = self.basis(x, p)
        names = self.linear_names
        return sum(getattr(p, name) * part for name, part in zip(names, parts, strict=True))

    def units_of(self, name: str) -> Mapping[str, float | str]:
        """Units of a parameter; linear ones carry the target's, those of terms their inputs'."""
        units = self.params[name].units
        if name not in self.linear_names or self.target in units:
            return units
        if self.powers is not None and not units:
            units = {source: negate(power) for source, power in self.powers[name].items()}
        return {self.target: 1.0, **units}

    @property
    def rescaled(self) -> bool:
        """Whether inputs and target are rescaled while fitting: some units are declared."""
        return self.powers is not None or any(param.units for param in self.params.values())

    def evaluate(self, inputs: Mapping[str, Any], params: Mapping[str, Any]) -> FloatArray:
        """The formula at named inputs and parameters, without any fit.

        Args:
            inputs: `[n]` each, or numbers.
            params: a number for each parameter.

        Returns:
            `[n]` predictions.

        Raises:
            UsageError: an input or a parameter is missing.

        Examples:
            >>> from dwell.laws import LAWS
            >>> published = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
            >>> LAWS["chinchilla"].evaluate({"N": 70e9, "D": 1.4e12}, published).round(3).tolist()
            [1.937]
        """
        check_names(f"inputs of `{self.name}`", self.inputs, inputs)
        check_names(f"parameters of `{self.name}`", self.params, params)
        x = namespace({k: np.atleast_1d(np.asarray(inputs[k], np.float64)) for k in self.inputs})
        p = namespace({k: np.full((1, 1), params[k], np.float64) for k in self.params})
        rows = getattr(x, self.inputs[0]).shape[-1:]
        values: FloatArray = np.array(self.predict(x, p), np.float64)
        return np.array(np.broadcast_to(values, (1, *rows))[0])


def check_names(what: str, expected: Any, given: Mapping[str, Any]) -> None:
    """Refuse a mapping that lacks a name.

    Raises:
        UsageError: some name is missing.
    """
    missing = [name for name in expected if name not in given]
    if missing:
        raise UsageError(f"the {what} are {list(expected)}, but {missing} are missing.")


def namespace(values: Mapping[str, Any]) -> SimpleNamespace:
    """A mapping whose entries are attributes."""
    return SimpleNamespace(**values)


def signed(power: float | str) -> tuple[float, str | None]:
    """Sign and name of "-alpha" or "alpha"; a number and None of a number."""
    if not isinstance(power, str):
        return float(power), None
    return (-1.0, power[1:]) if power.startswith("-") else (1.0, power)


def negate(power: float | str) -> float | str:
    """The opposite of a power."""
    if not isinstance(power, str):
        return -power
    return power[1:] if power.startswith("-") else f"-{power}"


def _monomial(term: Mapping[str, str | float], x: Any, p: Any) -> Any:
    if not term:
        return 1.0
    total: Any = 0.0
    for source, power in term.items():
        sign, name = signed(power)
        value = getattr(p, name) if name else 1.0
        total = total + sign * value * np.log(getattr(x, source))
    return np.exp(total)
