"""Speed of law fits against scipy and the package `chinchilla`, in one process, one BLAS thread.

    python benchmarks/laws.py TABLE [--peer]

TABLE holds params, tokens and loss of runs, such as the 245 digitised points of the replication
of Chinchilla; the five largest losses are dropped. Everything minimises the same objective, the
sum of Huber's loss (delta 1e-3) of log residuals; the value reached is printed beside the time.
With `--clock cpu` the time is CPU time of this process, which a busy machine disturbs less. With
`--peer`, and where the package `chinchilla` is installed, a few of its fits are timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from dwell.laws import LAWS
from dwell.laws.conditions import largest
from dwell.laws.projection import projected_grid
from dwell.tables import read_table

DELTA = 1e-3


def objective(u: Any, log_n: Any, log_d: Any, log_loss: Any, weights: Any) -> tuple[float, Any]:
    """The objective times 1000 and its gradient: scaled so that scipy does not stop early."""
    a, b, e, alpha, beta = u
    terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
    top = terms.max(axis=0)
    parts = np.exp(terms - top)
    total = parts.sum(axis=0)
    share = parts / total
    residual = log_loss - top - np.log(total)
    clipped = np.clip(residual, -DELTA, DELTA)
    pull = -weights * clipped
    gradient = [
        np.sum(pull * share[0]),
        np.sum(pull * share[1]),
        np.sum(pull * share[2]),
        -np.sum(pull * share[0] * log_n),
        -np.sum(pull * share[1] * log_d),
    ]
    value = np.sum(weights * clipped * (residual - 0.5 * clipped))
    return 1e3 * float(value), 1e3 * np.array(gradient)


def best_of(run: Callable[[], Any], repeats: int, clock: Callable[[], float]) -> tuple[float, Any]:
    """Least time in seconds, and the result."""
    fastest, result = np.inf, None
    for _ in range(repeats):
        begin = clock()
        result = run()
        fastest = min(fastest, clock() - begin)
    return fastest, result


def line(*cells: str) -> None:
    """Print a row of the table."""
    print("  ".join(f"{cell:{52 if i == 0 else 12}}" for i, cell in enumerate(cells)))


def main() -> None:
    """Time everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    args = parser.parse_args()
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    columns = read_table(args.table).columns
    keep = ~largest(columns, "loss:5")
    data = {name: columns[name][keep] for name in ("params", "tokens", "loss")}
    logs = [np.log(data[name]) for name in ("params", "tokens", "loss")]
    law = LAWS["chinchilla"]
    rows = law.rows(data)
    ones, options = np.ones(len(rows)), {"gtol": 1e-7}

    def scipy_fit(start: Any, weights: Any) -> Any:
        return minimize(objective, start, args=(*logs, weights), jac=True, options=options)

    def warm(found: Any, count: int) -> list[Any]:
        rng = np.random.default_rng(0)
        shares = np.full(len(rows), 1 / len(rows))
        return [scipy_fit(found, w) for w in rng.multinomial(len(rows), shares, count)]

    one, found = best_of(lambda: scipy_fit([5, 5, 0.5, 0.3, 0.3], ones), args.repeats, clock)
    each, _ = best_of(lambda: warm(found.x, 40), 3, clock)
    each /= 40
    ours, fit = best_of(lambda: law.fit(rows), args.repeats, clock)
    boots, _ = best_of(lambda: fit.bootstrap(1000), 3, clock)
    grid, points = best_of(lambda: grid_points(rows), 3, clock)
    told = f"dwell, {fit.num_starts} starts, {fit.starts_at_best} at best"
    line("what", "seconds", "ratio", "objective")
    line("scipy BFGS, one start", f"{one:.4f}", "1", f"{found.fun / 1e3:.9e}")
    line(told, f"{ours:.4f}", f"{ours / one:.2f}", f"{fit.objective.value:.9e}")
    line("scipy BFGS, 1000 pairs bootstraps, warm (40 timed)", f"{1000 * each:.2f}", "1")
    line("dwell, 1000 pairs bootstraps", f"{boots:.3f}", f"{boots / each / 1000:.4f}")
    line("dwell, grid points (alpha, beta) a second", f"{points / grid:.0f}")
    if args.peer:
        time_peer(data, one, clock)


def grid_points(rows: Any) -> int:
    """Solve the linear parameters at 320 x 320 exponents; the number of points."""
    steps = np.linspace(0.05, 1.0, 320)
    return len(projected_grid(LAWS["chinchilla"], rows, (steps, steps)).objective)


def time_peer(data: Any, one: float, clock: Callable[[], float]) -> None:
    """The package `chinchilla` if there is one: its time a start, from 1 and from 9 starts."""
    if importlib.util.find_spec("chinchilla") is None:
        print("the package `chinchilla` is not installed here: pip install chinchilla==0.2.0")
        return
    import pandas
    from chinchilla import Chinchilla
    from chinchilla._metrics import log_huber

    def loss(observed: Any, predicted: Any) -> Any:
        return log_huber(observed, predicted, DELTA)

    frame = pandas.DataFrame({"N": data["params"], "D": data["tokens"], "loss": data["loss"]})
    frame["C"] = 6 * frame["N"] * frame["D"]
    seconds = []
    for values in ((5.0,), (3.0, 5.0, 7.0)):
        grid = {"e": (0.5,), "a": values, "b": values, "alpha": (0.3,), "beta": (0.3,)}
        with tempfile.TemporaryDirectory() as folder:
            frame.to_csv(Path(folder) / "df.csv", index=False)
            peer = Chinchilla(folder, param_grid=grid, loss_fn=loss, log_level=50)
            seconds.append(best_of(lambda peer=peer: peer.fit(parallel=False), 2, clock)[0])
    each = (seconds[1] - seconds[0]) / 8
    line("chinchilla, a start", f"{each:.4f}", f"{each / one:.1f}")
    line("chinchilla, 1000 bootstraps x 243 starts, extrapolated", f"{243e3 * each:.0f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
