"""Synthetic results for the report: plainly made up, in the shape and size of a real study.

Problems have drawn rates; the curves follow from them by simple formulas. No number here was
measured on a model, and no claim rests on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

NUMBERS = (1, 2, 4, 8, 16, 32, 64)
MODELS = (("synthetic-0.2m", 200_000, 0.75), ("synthetic-0.8m", 800_000, 1.0),
          ("synthetic-3m", 3_000_000, 1.35))  # fmt: skip
STRATEGIES = {
    # name: (label, share of the way from one draw to the oracle, decline with N, oracle)
    "coverage": ("pass@N (oracle)", 1.0, 0.0, True),
    "best_of_n": ("best-of-N, good verifier", 0.86, 0.0, False),
    "weak_best_of_n": ("best-of-N, weak verifier", 0.35, 0.11, False),
    "majority": ("majority", 0.62, 0.0, False),
    "weighted_majority": ("weighted majority", 0.78, 0.0, False),
    "beam": ("beam search", 0.70, 0.0, False),
    "particle_filter": ("particle filter", 0.81, 0.0, False),
    "rebase": ("REBASE", 0.74, 0.0, False),
    "adaptive_branching": ("adaptive branching", 0.66, 0.0, False),
}
TASKS = {"chain": (2.2, 1.9), "countdown": (0.9, 2.1)}
PROBLEMS = 100


def half_width(accuracy: float, problems: int = PROBLEMS) -> float:
    return 1.96 * float(np.sqrt(max(accuracy * (1 - accuracy), 0.004) / problems))


def bounds(accuracy: float, problems: int = PROBLEMS) -> dict[str, float]:
    half = half_width(accuracy, problems)
    return {"low": max(0.0, accuracy - half), "high": min(1.0, accuracy + half)}


def accuracies(task: str, strength: float, strategy: str) -> dict[int, float]:
    """Returns the synthetic accuracy at each N."""
    a, b = TASKS[task]
    # One generator per task, so that every strategy stands on the same synthetic problems.
    rates = np.random.default_rng(len(task)).beta(a * strength, b, PROBLEMS)
    _, share, decline, _ = STRATEGIES[strategy]
    one = float(rates.mean())
    found = {}
    for n in NUMBERS:
        oracle = float(1 - np.mean((1 - rates) ** n))
        found[n] = max(0.02, one + share * (oracle - one) - decline * float(np.log2(n)))
    return found


def law_of(task: str, values: dict[int, float]) -> dict[str, Any]:
    fitted, held = list(NUMBERS[:5]), list(NUMBERS[5:])
    top = min(1.0, values[64] + 0.01)
    wide = [2 ** (k / 2) for k in range(15)]
    band = []
    for n in wide:
        mean = top - (top - values[1]) * n**-0.8
        half = 0.015 + 0.01 * np.log2(max(n / 8, 1))
        band.append({"n": n, "mean": mean, "low": mean - half, "high": min(1.0, mean + half)})
    error = float(np.mean([abs(values[n] - (top - (top - values[1]) * n**-0.8)) for n in held]))
    return {
        "name": "saturating_power", "params": {"ceiling": top, "rate": 0.8},
        "saturation": 22.0 if task == "chain" else 180.0, "asymptote": top, "low": top - 0.05,
        "high": min(1.0, top + 0.04), "verdict": "holds on the held-out N" if error < 0.03
        else "misses the held-out N", "holdout_error": error, "band": band,
        "fitted_n": fitted, "holdout_n": held,
    }  # fmt: skip


def curve_of(task: str, model: tuple[str, int, float], strategy: str) -> dict[str, Any]:
    name, size, strength = model
    label, _, _, oracle = STRATEGIES[strategy]
    values = accuracies(task, strength, strategy)
    tokens = 57.0 if task == "chain" else 33.0
    points = [
        {"n": n, "accuracy": value, **bounds(value), "tokens_charged": tokens * n,
         "flops": 2.0 * size * tokens * n, "seconds": 0.004 * tokens * n**0.7,
         "problems": PROBLEMS}
        for n, value in values.items()
    ]  # fmt: skip
    measured = strategy in ("beam", "particle_filter", "rebase", "adaptive_branching")
    return {
        "strategy": strategy, "label": label, "params": {"temperature": 1.0}, "model": name,
        "task": task, "estimator": "oracle" if oracle else "measured" if measured else "exact",
        "oracle": oracle, "points": points,
        "law": law_of(task, values) if strategy in ("coverage", "majority", "best_of_n") else None,
    }  # fmt: skip


def levels_of(curve: dict[str, Any]) -> list[dict[str, Any]]:
    hardness = {"chain": range(3, 9), "countdown": range(3, 6)}[curve["task"]]
    rows = []
    for point in curve["points"]:
        for step, level in enumerate(hardness):
            value = float(
                np.clip(point["accuracy"] + 0.2 - 0.4 * step / (len(hardness) - 1), 0.01, 0.99)
            )
            rows.append(
                {k: curve[k] for k in ("model", "task", "strategy", "label")}
                | {"n": point["n"], "level": level, "accuracy": value, **bounds(value, 20),
                   "problems": 20}
            )  # fmt: skip
    return rows


def pairs_of(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for i, first in enumerate(curves):
        for second in curves[i + 1 :]:
            for p, q in zip(first["points"], second["points"], strict=True):
                if p["n"] not in (4, 16, 64):
                    continue
                gap, half = p["accuracy"] - q["accuracy"], 0.06
                rows.append(
                    {"model": first["model"], "task": first["task"], "n": p["n"],
                     "a": first["label"], "b": second["label"], "difference": gap,
                     "low": gap - half, "high": gap + half,
                     "p_value": float(np.exp(-((gap / half) ** 2) * 2)), "problems": PROBLEMS}
                )  # fmt: skip
    return rows


def frontier_of(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sizes = {name: size for name, size, _ in MODELS}
    rows = [
        {"model": c["model"], "num_parameters": sizes[c["model"]], "task": c["task"],
         "strategy": c["strategy"], "label": c["label"], "on_frontier": False}
        | {k: p[k] for k in ("n", "flops", "tokens_charged", "accuracy", "low", "high")}
        for c in curves if not c["oracle"] for p in c["points"]
    ]  # fmt: skip
    best: dict[str, float] = {}
    for row in sorted(rows, key=lambda r: (r["flops"], -r["accuracy"])):
        if row["accuracy"] > best.get(row["task"], 0.0):
            best[row["task"]] = row["accuracy"]
            row["on_frontier"] = True
    return rows


def make_results(num_models: int = 3, num_strategies: int = 9) -> dict[str, Any]:
    """Returns the synthetic results of two tasks and the first few models and strategies."""
    models, strategies = MODELS[:num_models], list(STRATEGIES)[:num_strategies]
    curves = [curve_of(t, m, s) for t in TASKS for m in models for s in strategies]
    placed = [
        [c for c in curves if c["task"] == t and c["model"] == m[0]] for t in TASKS for m in models
    ]
    charged = sum(p["tokens_charged"] for c in curves for p in c["points"]) * PROBLEMS
    return {
        "title": "Synthetic study",
        "created": "2000-01-01T00:00:00Z", "dwell_version": "0.0.0",
        "advice": "Synthetic data: for chain, draw 16 answers and take the good verifier's "
        "choice; beyond 22 draws, more buy next to nothing.",
        "demo_note": "These numbers are synthetic test data; nothing here was measured.",
        "curves": curves,
        "levels": [row for c in curves for row in levels_of(c)],
        "paired": [
            row for here in placed for row in pairs_of([c for c in here if not c["oracle"]])
        ],
        "frontier": frontier_of(curves),
        "cost": {
            "tokens_charged": charged, "tokens_spent": charged / 4.3,
            "flops_charged": charged * 2e6, "flops_spent": charged * 5e5,
            "draws": 230_400, "cache_hits": 760_320,
            "by_strategy": [
                {"label": STRATEGIES[s][0], "tokens_charged": charged / len(strategies)}
                for s in strategies
            ],
        },
        "failures": [{"model": "synthetic-0.8m", "task": "chain", "strategy": "beam",
                      "problem": "chain-0042", "message": "the reply was cut at 150 tokens"}],
        "study": {
            "text": 'models = ["synthetic-0.8m"]\nseed = 7\n\n[[strategy]]\nname = "majority"\n'
            "n = [1, 2, 4, 8, 16, 32, 64]\n",
            "versions": {"dwell": "0.0.0", "numpy": "0.0", "python": "3.11"}, "seed": 7,
            "problems": 200,
            "models": [
                {"name": name, "num_parameters": size, "fingerprint": f"{size:016x}"}
                for name, size, _ in models
            ],
        },
    }  # fmt: skip


def make_plan() -> dict[str, Any]:
    """Returns a plan in the form of `dwell plan`, made up."""
    points = [
        {"budget": b, "cost": 0.95 * b, "cost_low": 0.9 * b, "cost_high": b, "accuracy": a,
         "low": a - 0.03, "high": a + 0.03, "label": f"routes after {k} draws",
         "fixed": {"label": f"majority(n={k})", "accuracy": a - 0.02, "cost": float(b)}}
        for k, (b, a) in enumerate([(1, 0.5), (2, 0.55), (4, 0.61), (8, 0.66)], start=1)
    ]  # fmt: skip
    return {
        "policy": "Draw 4 answers, look, and go on:\n  4 votes for the leader: stop",
        "goal": {"unit": "draws", "budget": 4.0, "target_accuracy": None},
        "promise": {k: points[2][k] for k in ("accuracy", "low", "high", "cost", "cost_low",
                                              "cost_high")},
        "paired": {"against": "majority(n=4)", "difference": 0.02, "low": -0.01, "high": 0.05},
        "verdict": "No plan beats majority(n=4) here.",
        "frontier": points,
        "measured_on": {"questions": 1200, "draws": 64, "model": "synthetic-0.8m", "folds": 5},
    }  # fmt: skip


def make_recording() -> dict[str, Any]:
    """Returns the facts of a recording, made up."""
    return {
        "path": "folder/samples.csv", "rows": 12_345, "skipped": 3, "mixed": 2, "orders": 25,
        "skipped_by": {"`correct` must be 0 or 1": 3},
        "runs": [{"run": f"r{i}", "name": f"run {i}", "model": "m", "dataset": "chain",
                  "questions": 100, "draws": 1000} for i in range(7)],
    }  # fmt: skip


def many_runs(runs: int = 126) -> dict[str, Any]:
    """Returns a replay of many runs with the mean over them, made up."""
    labels, numbers = [f"strategy {i}" for i in range(8)], NUMBERS[:5]
    rng = np.random.default_rng(0)
    strength = rng.uniform(0.1, 0.7, runs)

    def curve(model: str, label: int, one: float, **more: Any) -> dict[str, Any]:
        values = [min(1.0, one + 0.02 * label * float(np.log2(n))) for n in numbers]
        points = [
            {"n": n, "accuracy": v, **bounds(v), "draws": float(n), "tokens_charged": 500.0 * n,
             "problems": PROBLEMS} for n, v in zip(numbers, values, strict=True)
        ]  # fmt: skip
        return {
            "strategy": f"s{label}", "label": labels[label], "model": model, "task": "chain",
            "estimator": "exact", "oracle": False, "points": points, "law": None,
        } | more  # fmt: skip

    curves = [curve(f"run {i}", s, float(strength[i])) for i in range(runs) for s in range(8)]
    mean = float(strength.mean())
    means = [curve(f"mean over {runs} runs", s, mean, mean_over_runs=True) for s in range(8)]
    for one in means:
        for p in one["points"]:
            p |= {"runs": runs, "runs_sd": 0.1, "runs_least": 0.1, "runs_most": 0.9}
    return {"title": "Many runs", "curves": curves + means, "recording": make_recording()}


@pytest.fixture
def results() -> dict[str, Any]:
    """Two tasks, two models, four strategies."""
    return make_results(num_models=2, num_strategies=4)


@pytest.fixture
def large_results() -> dict[str, Any]:
    """Two tasks, three models, nine strategies."""
    return make_results()


@pytest.fixture
def plan() -> dict[str, Any]:
    """A plan for four budgets."""
    return make_plan()


@pytest.fixture
def recording() -> dict[str, Any]:
    """The facts of a recording of seven runs with three bad rows."""
    return make_recording()


@pytest.fixture
def many_results() -> dict[str, Any]:
    """A replay of 126 runs with 8 strategies, and the mean over them."""
    return many_runs()
