"""Each law with typical numbers: published parameters where there are some, and usual inputs.

The recovery tests fit every law to the rows that its example gives; the law's page draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dwell.laws.declaration import namespace
from dwell.laws.registry import LAWS
from dwell.laws.spaces import FloatArray

NUM_ROWS = 40

_SIZES, _TOKENS, _X = (1e7, 1e11), (1e9, 1e13), (1e3, 1e9)
_DRAWS = (1, 2, 3, 4, 5, 7, 9, 12, 16, 23, 32, 46, 64, 91, 128, 181, 256, 362, 512, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Inputs and parameters of a law.

    Attributes:
        inputs: for each, (least, largest), or more values that are gone through in turn.
        params: by name, as a fit gives them: "b[easy]" for groups.
        groups: names of groups, if parameters are grouped.
        table: makes the columns, where `inputs` cannot say them.
    """

    inputs: Mapping[str, tuple[float, ...]]
    params: Mapping[str, float]
    groups: tuple[str, ...] = ()
    table: Callable[[], dict[str, FloatArray]] | None = None

    def columns(self) -> dict[str, FloatArray]:
        """Inputs `[n]`: evenly spaced in the logarithm, in scattered combinations if several."""
        if self.table is not None:
            return self.table()
        rng = np.random.default_rng(0)
        single = len(self.inputs) == 1
        columns = {}
        for name, values in self.inputs.items():
            if len(values) > 2:
                count = len(values) if single else NUM_ROWS
                columns[name] = np.resize(np.array(values, np.float64), count)
                continue
            place = np.linspace(0.0, 1.0, NUM_ROWS)
            place = place if single else rng.permutation(place)
            columns[name] = values[0] * (values[1] / values[0]) ** place
        return columns


def example_rows(name: str) -> dict[str, FloatArray]:
    """A table without noise, made with a law's typical parameters: inputs, target, group."""
    law, example = LAWS[name], EXAMPLES[name]
    columns = example.columns()
    inputs = dict(law.prepare(columns)) if law.prepare is not None else columns
    count = len(next(iter(columns.values())))
    labels = np.resize(np.array(example.groups or ("",)), count)
    own = {p: np.full(count, example.params.get(p, np.nan)) for p in law.params}
    for param, values in own.items():
        for group in example.groups:
            if f"{param}[{group}]" in example.params:
                values[labels == group] = example.params[f"{param}[{group}]"]
    target = law.predict(
        namespace({k: inputs[k] for k in law.inputs}),
        namespace({k: v[None] for k, v in own.items()}),
    )
    names = {"group": labels} if example.groups else {}
    return {**columns, law.target: np.broadcast_to(target, (1, count))[0].copy(), **names}


def _three_schedules() -> dict[str, FloatArray]:
    """Constant, cosine and stepwise learning rates of 6000 steps, a row every 150."""
    step = np.arange(500.0, 6001.0, 150.0)
    share = (step - 500.0) / 5500.0
    rates = (
        np.full_like(step, 3e-4),
        3e-5 + 1.35e-4 * (1.0 + np.cos(np.pi * share)),
        np.where(step < 3500, 3e-4, 9e-5),
    )
    return {
        "step": np.tile(step, 3),
        "lr": np.concatenate(rates),
        "schedule": np.repeat(np.arange(3.0), len(step)),
    }


EXAMPLES: Mapping[str, Example] = {
    "annealing": Example(
        inputs={},
        params={"L0": 3.1559, "A": 0.516, "C": 0.51, "alpha": 0.4},
        table=_three_schedules,
    ),
    "agent_data": Example(inputs={"trajectories": (100, 8000)}, params={"a": -0.16, "b": 0.06}),
    "batch_steps": Example(inputs={"batch": (16, 4096)}, params={"S_min": 2500.0, "E_min": 6e5}),
    "best_of": Example(
        inputs={"k": _DRAWS}, params={"F_inf": 0.8, "F_1": 0.4, "b": 0.7, "c": 3.0}
    ),
    "broken": Example(
        inputs={"x": _X},
        params={"a": 0.5, "b": 20.0, "c0": 0.1, "c1": 0.3, "d": 1e6, "f": 0.5},
    ),
    "chinchilla": Example(
        inputs={"N": _SIZES, "D": _TOKENS},
        params={"E": 1.817, "A": 482.0, "B": 2085.0, "alpha": 0.348, "beta": 0.366},
    ),
    "context_batch_turn": Example(
        inputs={"context": (256, 32768), "batch": (1, 2, 4, 8, 16, 32), "turn": (1, 2, 3, 5, 8)},
        params={"F_max": 0.9, "h_context": 1500.0, "h_batch": 1.2, "h_turn": 0.6},
    ),
    "coverage": Example(inputs={"k": _DRAWS}, params={"a": -1.6, "b": -0.35}),
    "critical_batch": Example(
        inputs={"loss": (2.0, 6.0)}, params={"B_star": 2e8, "inverse": 1 / 0.21}
    ),
    "data_filtering": Example(
        inputs={"seen": (1e6, 6.4e8), "U": (1.28e7, 3.2e7, 6.4e7, 1.28e8)},
        params={"a": 1.2, "d": 0.1, "b[best]": 0.12, "tau[best]": 2.0, "b[all]": 0.112,
                "tau[all]": 6.0},
        groups=("best", "all"),
    ),
    "datastore": Example(inputs={"tokens": (1e8, 1.4e12)}, params={"a": 0.1, "b": 0.011}),
    "difficulty": Example(
        inputs={"C": (1e18, 1e25)}, params={"g": 0.25, "a": 4e9, "b": 0.45, "c": 0.1}
    ),
    "downstream": Example(
        inputs={"loss": (2.0, 5.0)}, params={"epsilon": 0.9, "k": 3.0, "gamma": 0.8}
    ),
    "ensemble": Example(
        inputs={"members": (1, 2, 3, 4, 5, 6, 8, 12)}, params={"E": 3.34, "A": 0.09, "alpha": 1.0}
    ),
    "exponential": Example(inputs={"x": (1.0, 60.0)}, params={"E": 0.05, "A": 0.6, "x_0": 12.0}),
    "farseer": Example(
        inputs={"N": (1e8, 3e8, 1e9, 3e9, 1e10), "D": (1e9, 1e12)},
        params={"s0": 0.4, "s1": 40.0, "s2": -0.25, "b0": 4.0, "b1": 60.0, "b2": -0.2,
                "a0": -1.3, "a1": 6.0, "a2": -0.2},
    ),
    "gemstones": Example(
        inputs={"width": (256, 8192), "depth": (3, 80), "N": _SIZES, "D": _TOKENS},
        params={"E": 1.5, "A": 8.0, "G": 0.8, "H": 300.0, "B": 5000.0, "alpha": 0.6, "gamma": 0.9,
                "eta": 0.35, "beta": 0.45},
    ),
    "generative": Example(
        inputs={"x": (1e4, 1e10)}, params={"E": 2.0, "x_0": 1.9e8, "alpha": 0.14}
    ),
    "hestness": Example(
        inputs={"x": (1e4, 1e9)}, params={"gamma": 0.1, "alpha": 6.0, "beta": -0.3}
    ),
    "horizon": Example(inputs={"depth": (2, 64)}, params={"c": 3e15, "gamma": 1.8}),
    "imperfect_verifier": Example(inputs={"k": _DRAWS}, params={"ceiling": 0.7, "accept": 0.2}),
    "isoflop": Example(
        inputs={"N": (1e8, 1e10)},
        params={"c0[1e19]": 48.3, "c1[1e19]": -4.4, "c2[1e19]": 0.108, "c0[1e21]": 49.3,
                "c1[1e21]": -4.5, "c2[1e21]": 0.108},
        groups=("1e19", "1e21"),
    ),
    "kaplan": Example(
        inputs={"N": _SIZES, "D": _TOKENS},
        params={"N_c": 8.8e13, "D_c": 5.4e13, "alpha_N": 0.076, "alpha_D": 0.095},
    ),
    "m1": Example(inputs={"x": _X}, params={"beta": 8.0, "c": 0.2}),
    "m2": Example(inputs={"x": _X}, params={"eps": 0.4, "beta": 8.0, "c": 0.3}),
    "m3": Example(inputs={"x": _X}, params={"eps": 0.4, "beta": 300.0, "gamma": 1e5, "c": 0.5}),
    "m4": Example(
        inputs={"x": _X},
        params={"eps": 0.4, "eps0": 6.0, "alpha": 1.5, "beta": 200.0, "c": 0.5},
    ),
    "multipower": Example(
        inputs={},
        params={"L0": 3.0405, "A": 0.5247, "B": 363.8, "alpha": 0.5079, "C": 2.066,
                "beta": 0.5828, "gamma": 0.6414},
        table=_three_schedules,
    ),
    "noisy_channel": Example(
        inputs={"N": (1e8, 1e10), "D": (1e9, 1e12), "sigma": (1e-4, 1e-3, 1e-2)},
        params={"E": 1.6, "A": 30.0, "a": 0.12, "d": 2e9, "b": 0.5, "g": 1.0},
    ),
    "observational": Example(
        inputs={"C": (0.1, 1e4)}, params={"h": 0.25, "a": -0.94, "b": 0.75}
    ),
    "optimal_loss": Example(
        inputs={"C": (1e18, 1e24)}, params={"E": 1.82, "A": 2500.0, "alpha": 0.178}
    ),
    "optimal_size": Example(inputs={"C": (1e17, 1e21)}, params={"G": 0.09, "a": 0.5}),
    "overoptimisation": Example(
        inputs={"k": _DRAWS}, params={"F_1": 0.4, "alpha": 0.3, "beta": 0.12}
    ),
    "overtraining": Example(
        inputs={"N": _SIZES, "M": (5, 640)},
        params={"E": 1.837, "a": 166.2, "b": 366.7, "eta": 0.2729},
    ),
    "parscale": Example(
        inputs={"N": (5e8, 5e9), "P": (1, 2, 4, 8)},
        params={"E": 0.691, "A": 1.131e7, "alpha": 0.189, "k": 0.393},
    ),
    "pass_rate": Example(inputs={"C": (1e19, 1e23)}, params={"c": 1157.0, "alpha": 0.108}),
    "passuntil": Example(inputs={"N": (3e7, 3e9)}, params={"c": 400.0, "alpha": 0.25}),
    "post_training": Example(
        inputs={"examples": (100, 1e6)},
        params={"a[code]": 3.0, "b[code]": 0.17, "a[text]": 1.2, "b[text]": 0.09},
        groups=("code", "text"),
    ),
    "power": Example(inputs={"k": _DRAWS}, params={"F_inf": 0.8, "F_1": 0.4, "b": 0.5}),
    "quadratic": Example(
        inputs={"C": (1e18, 1e24)}, params={"c0": 25.8, "c1": -1.05, "c2": 0.0108}
    ),
    "repetition": Example(
        inputs={"N": (1e8, 1e10), "D": (1e9, 3e11), "U": (1e8, 1e9, 5e9, 2e10)},
        params={"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.35, "beta": 0.36, "R_D": 15.4,
                "R_N": 5.3},
    ),
    "routed": Example(
        inputs={"N": _SIZES, "experts": (2, 4, 8, 16, 32, 64, 128, 256, 512)},
        params={"a": -0.083, "b": -0.12, "c": 0.01, "d": 1.117, "E_start": 2.2, "E_max": 230.0},
    ),
    "sigmoid": Example(
        inputs={"C": (1e18, 1e25)}, params={"base": 0.25, "rise": 0.6, "t": 2e22, "w": 1.5}
    ),
    "superposition": Example(
        inputs={"width": (256, 8192)},
        params={"A": 500.0, "alpha": 0.91, "B[c4]": 2.6, "B[pile]": 2.1},
        groups=("c4", "pile"),
    ),
    "time_series": Example(
        inputs={"x": (1e5, 1e9)},
        params={"x_c[seen]": 0.02, "alpha[seen]": 0.06, "x_c[unseen]": 0.4, "alpha[unseen]": 0.04},
        groups=("seen", "unseen"),
    ),
    "tokens_log": Example(inputs={"tokens": (300, 30_000)}, params={"a": -0.28, "b": 0.0875}),
    "training_curve": Example(
        inputs={"N": (1e6, 1e9), "S": (1e3, 1e6)},
        params={"N_c": 8.8e13, "S_c": 2100.0, "alpha_N": 0.076, "alpha_S": 0.76},
    ),
    "translation": Example(
        inputs={"D": (1e7, 1e11)}, params={"A": 0.02, "alpha": 0.35, "beta": 2.0}
    ),
    "ttspm": Example(inputs={"k": _DRAWS}, params={"F_max": 0.8, "p": 0.3}),
    "ttspm_sequential": Example(
        inputs={"rounds": (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)}, params={"F_max": 0.75, "p": 0.45}
    ),
    "two_sigmoids": Example(
        inputs={"C": (1e17, 1e25)},
        params={"base": 0.5, "first": -0.3, "second": 0.6, "t": 3e19, "w": 0.8, "r": 1000.0,
                "v": 1.0},
    ),
    "variance_limited": Example(inputs={"x": (1e3, 1e6)}, params={"E": 1.2, "A": 900.0}),
    "verifier_tradeoff": Example(inputs={"C": (10, 1e4)}, params={"G": 0.8, "a": 0.57}),
    "vlm": Example(
        inputs={"C": (1e6, 1e12)}, params={"a": 33.0, "b": 1e7, "c": -0.2266, "d": 0.11117}
    ),
    "vote": Example(inputs={"k": _DRAWS}, params={"F_inf": 0.9, "F_1": 0.5, "c": 4.0}),
    "vote_margin": Example(
        inputs={"k": _DRAWS}, params={"F_inf": 0.85, "A": 0.4, "kappa": 0.4}
    ),
    "width_depth": Example(
        inputs={"width": (256, 8192), "depth": (3, 80), "D": _TOKENS},
        params={"E": 1.5, "A": 8.0, "G": 0.8, "B": 5000.0, "alpha": 0.6, "gamma": 0.9,
                "beta": 0.45},
    ),
}  # fmt: skip
