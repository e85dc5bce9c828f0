"""Scores of tasks against compute: rates too small to see, sigmoids, rises and falls.

passuntil        exp(-c N^-alpha)                        task law of success rates
pass_rate        exp(-c C^-alpha)                        the same along compute
difficulty       g + (1-g) exp(-a C^-b - c)              a cluster of equally hard problems
observational    h + (1-h) sigma(a + b log10 C)          floor and sigmoid
sigmoid          base + rise / (1 + (C/t)^(-1/w))        one step, up or down
two_sigmoids     two such steps                          U-shapes
quadratic        c0 + c1 ln C + c2 (ln C)^2              a turning point
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dwell.laws.declaration import Param, exponent
from dwell.laws.law import Law
from dwell.laws.spaces import FloatArray


def _task_law(name: str, source: str, **words: Any) -> Law:
    """A law exp(-c source^-alpha)."""

    def formula(x: Any, p: Any) -> Any:
        return np.exp(-np.exp(np.log(p.c) - p.alpha * np.log(getattr(x, source))))

    return Law(
        name=name,
        text=f"exp(-c {source}^-alpha)",
        inputs=(source,),
        target="accuracy",
        params={
            "c": Param(meaning=f"-ln of the rate at one unit of {source}", transform="exp",
                       lower=0.0, grid=(0.01, 0.1, 1.0, 5.0, 20.0), units={source: "alpha"},
                       tolerance=4.0),
            "alpha": exponent("how fast it grows"),
        },
        formula=formula,
        space="loglog",
        delta=None,
        limits={source: lambda p: np.ones_like(p.alpha)},
        **words,
    )  # fmt: skip


PASSUNTIL = _task_law(
    "passuntil",
    "N",
    paper="Hu et al., Predicting Emergent Abilities with Infinite Resolution Evaluation (2023)",
    equation="-ln PU = c N^-alpha with PU from sampling until some successes "
    "(`dwell.metrics.pass_until`); least squares of ln(-ln PU)",
    use="Success rates of small models, too small for a fixed number of draws to show.",
    assumes="one power law; `accelerated` tests for a bend",
)

PASS_RATE = _task_law(
    "pass_rate",
    "C",
    paper="Schaeffer et al., How Do Large Language Monkeys Get Their Power (Laws)? (2025), and "
    "OpenAI, GPT-4 Technical Report (2023)",
    equation="-ln(mean pass rate) = c C^-alpha over checkpoints; least squares of its logarithm",
    use="Mean pass rate of checkpoints against training compute: a weak law, see its interval.",
    assumes="the mean over problems follows the law of one problem",
)


def _difficulty(x: Any, p: Any) -> Any:
    return p.g + (1.0 - p.g) * np.exp(-np.exp(np.log(p.a) - p.b * np.log(x.C)) - p.c)


DIFFICULTY = Law(
    name="difficulty",
    text="g + (1-g) exp(-a C^-b - c)",
    inputs=("C",),
    target="accuracy",
    params={
        "g": Param(meaning="accuracy of guessing; hold it with `fixed` where it is known",
                   lower=0.0, upper=0.9, grid=(0.0, 0.2, 0.4), tolerance=0.25, absolute=True),
        "a": Param(meaning="difficulty at one FLOP", transform="exp", lower=0.0,
                   grid=(0.1, 0.5, 2.0, 8.0), units={"C": "b"}, tolerance=4.0),
        "b": exponent("how fast compute helps", grid=(0.1, 0.3, 0.6, 1.2)),
        "c": Param(meaning="what no compute removes", transform="exp", lower=0.0,
                   grid=(0.01, 0.2, 1.0), tolerance=4.0),
    },
    formula=_difficulty,
    space="linear",
    delta=None,
    limits={"C": lambda p: p.g + (1.0 - p.g) * np.exp(-p.c)},
    paper="Xu et al., Unveiling Downstream Performance Scaling of LLMs: A Clustering-Based "
    "Perspective (2025)",
    equation="y(C) = g + (1-g) exp(-a C^-b - c) for a cluster of problems of like difficulty",
    use="Accuracy on a cluster of equally hard problems; see `predict_from_clusters`.",
    assumes="the problems of a cluster share one curve",
)  # fmt: skip


def _sigma(z: Any) -> Any:
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _observational_starts(x: Any, y: FloatArray) -> list[dict[str, float]]:
    """Regress the logit of the share above each floor on log10 C."""
    points = []
    logs = np.log10(x.C)
    for floor in (0.0, 0.1, 0.25, 0.5):
        share = np.clip((y - floor) / (1.0 - floor), 0.01, 0.99)
        b, a = np.polyfit(logs, np.log(share / (1.0 - share)), 1)
        points.append({"h": floor, "a": float(a), "b": float(b)})
    return points


OBSERVATIONAL = Law(
    name="observational",
    text="h + (1-h) sigma(a + b log10 C)",
    inputs=("C",),
    target="accuracy",
    params={
        "h": Param(meaning="accuracy of guessing; hold it with `fixed` where it is known",
                   lower=0.0, upper=0.9, tolerance=0.25, absolute=True),
        "a": Param(meaning="log odds at C = 1, above guessing", lower=-1e4, upper=1e4,
                   tolerance=8.0),
        "b": Param(meaning="log odds for each decade of C", lower=-1e3, upper=1e3),
    },
    formula=lambda x, p: p.h + (1.0 - p.h) * _sigma(p.a + p.b * np.log10(x.C)),
    starts=_observational_starts,
    space="linear",
    delta=None,
    paper="Ruan, Maddison and Hashimoto, Observational Scaling Laws and the Predictability of "
    "Language Model Performance (2024)",
    equation="a floor and a sigmoid in log10 C, or in a principal component of a table of "
    "benchmarks (`benchmark_components`) as 10^component",
    use="Benchmark scores of public models of many families.",
    assumes="compute, or the component, is the only difference that counts",
)  # fmt: skip


def _step(x: Any, at: Any, width: Any) -> Any:
    return _sigma((np.log(x.C) - np.log(at)) / width)


def _middle(meaning: str) -> Param:
    return Param(meaning=meaning, transform="exp", lower=0.0, grid=(0.02, 0.15, 1.0, 7.0, 50.0),
                 units={"C": 1.0}, tolerance=6.0)  # fmt: skip


def _width(meaning: str) -> Param:
    return Param(meaning=meaning, transform="exp", lower=0.05, upper=5.0, grid=(0.2, 0.6, 1.5),
                 tolerance=4.0)  # fmt: skip


SIGMOID = Law(
    name="sigmoid",
    text="base + rise / (1 + (C/t)^(-1/w))",
    inputs=("C",),
    target="accuracy",
    params={
        "base": Param(meaning="value far below the step", linear=True, tolerance=4.0),
        "rise": Param(meaning="height of the step, negative downwards", linear=True),
        "t": _middle("compute in the middle of the step"),
        "w": _width("width of the step in ln C"),
    },
    linear=lambda x, p: (1.0, _step(x, p.t, p.w)),
    space="linear",
    delta=None,
    limits={"C": lambda p: p.base + p.rise},
    paper="Wei et al., Inverse Scaling Can Become U-Shaped (2022), for the question",
    equation="a logistic step in ln C: the monotone shape in `scaling_shape`",
    use="A score that moves one way.",
    assumes="one step",
    automatic=False,
)

TWO_SIGMOIDS = Law(
    name="two_sigmoids",
    text="base + first / (1 + (C/t)^(-1/w)) + second / (1 + (C/(r t))^(-1/v))",
    inputs=("C",),
    target="accuracy",
    params={
        "base": Param(meaning="value far below both steps", linear=True, lower=-3.0, upper=3.0,
                      tolerance=4.0),
        "first": Param(meaning="height of the first step", linear=True, lower=-3.0, upper=3.0),
        "second": Param(meaning="height of the second step", linear=True, lower=-3.0, upper=3.0),
        "t": _middle("compute in the middle of the first step"),
        "w": _width("width of the first step in ln C"),
        "r": Param(meaning="how many times later the second step is", transform="exp", lower=1.0,
                   upper=1e12, grid=(5.0, 50.0, 500.0), tolerance=6.0),
        "v": _width("width of the second step in ln C"),
    },
    linear=lambda x, p: (1.0, _step(x, p.t, p.w), _step(x, p.t * p.r, p.v)),
    space="linear",
    delta=None,
    limits={"C": lambda p: p.base + p.first + p.second},
    paper=SIGMOID.paper,
    equation="the sum of two logistic steps in ln C: the U-shape in `scaling_shape`",
    use="A score that falls and then rises, or the other way round.",
    assumes="two steps",
    automatic=False,
)  # fmt: skip

QUADRATIC = Law(
    name="quadratic",
    text="c0 + c1 ln C + c2 (ln C)^2",
    inputs=("C",),
    target="accuracy",
    params={
        "c0": Param(meaning="value at C = 1", linear=True, tolerance=8.0),
        "c1": Param(meaning="slope at C = 1", linear=True, tolerance=8.0),
        "c2": Param(meaning="curvature; the turn is at ln C = -c1/(2 c2)", linear=True,
                    tolerance=8.0),
    },
    linear=lambda x, p: (1.0, np.log(x.C), np.log(x.C) ** 2),
    space="linear",
    delta=None,
    paper=SIGMOID.paper,
    equation="a parabola in ln C: the turning shape in `scaling_shape`",
    use="Few rows that seem to turn.",
    assumes="a local form, without a limit",
    automatic=False,
)  # fmt: skip

LAWS = (DIFFICULTY, OBSERVATIONAL, PASSUNTIL, PASS_RATE, QUADRATIC, SIGMOID, TWO_SIGMOIDS)
