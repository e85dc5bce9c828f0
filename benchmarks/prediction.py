"""Coverage and votes of full recordings, predicted from a random quarter of their draws.

    python benchmarks/prediction.py ../shared/data/samples --seeds 5

The fit sees a quarter of each question's draws and nothing else, one run at a time. The target is
what the full record gives: its exact pass@n, or its vote@n with shared ties, at its own size n.
Every quarter is drawn by its own seed. In one process, on the same quarters, four ways to predict
coverage: `ours`; a zero-inflated beta-binomial by maximum likelihood; a straight line through
log(-log pass@k) against log k; and the plug-in rates c/n. Two for votes: `ours`, and the vote
of the seen draws.

`median` and `mean` are of the absolute error in points, `bias` is the mean of prediction less
target, over runs and seeds. `held` are the runs at odd places, which had no part in any choice of
shapes and priors; the other rows count all runs of a set. Sets of one or two runs get eight times
as many quarters; the rows of all sets count each run alike. `cover` is the share
of 90 % bands that hold their target, `+-` its standard error over runs, whose quarters share a
target; `width` is their mean width in points.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, expit

from dwell.laws.answer_rates import fit_answer_rates
from dwell.laws.success_rates import fit_success_rates
from dwell.metrics import pass_at_k, vote_at_k
from dwell.recordings import Recording, read_recordings

# Name: file, and how its columns are renamed.
SETS = {
    "EvalPerf": ("evalperf_counts.parquet", {}),
    "last letters": ("esc_last_letters_gpt35.parquet", {}),
    "game24": ("game24_tot_samples.parquet", {}),
    "CodeT": ("codet_humaneval_codegen16b.parquet", {"answer": "exec_cluster"}),
    "OTIS": ("epoch_otis_aime.parquet", {}),
}
COLUMNS = ("set", "method", "fits", "median", "mean", "bias", "cover", "+-", "width", "ms")
FORMAT = "{:16s} {:13s} {:>5} {:>7} {:>7} {:>7} {:>7} {:>5} {:>6} {:>6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="random quarters of each run")
    options = parser.parse_args()
    runs = {name: recordings(options.folder, name) for name in SETS}
    print("\npass@n from a quarter of the draws\n" + FORMAT.format(*COLUMNS), flush=True)
    results = {
        name: coverage_results(found, quarters(found, options)) for name, found in runs.items()
    }
    for name, result in results.items():
        show(name, result)
    for name in ("EvalPerf", "OTIS"):
        show(f"{name}, held", [row for row in results[name] if row["place"] % 2])
    pooled = {
        name: [row for row in rows if row["seed"] < options.seeds]
        for name, rows in results.items()
    }
    large = [row for name in pooled if name != "OTIS" for row in pooled[name]]
    show("all of n >= 40", large)
    show("all", large + pooled["OTIS"])
    print("\nvote@n from a quarter of the draws\n" + FORMAT.format(*COLUMNS), flush=True)
    usable = voting_usable(options.folder)
    runs["OTIS"] = [run for run in runs["OTIS"] if run.run in usable]
    for name in ("last letters", "game24", "CodeT", "OTIS"):
        show(name, vote_results(runs[name], options.seeds))
    laws = options.folder.parent / "laws" / "coverage_pythia_math.csv"
    if laws.is_file():
        exponents(laws, options.seeds)


def quarters(runs: Sequence[Recording], options: argparse.Namespace) -> int:
    """Quarters of each run: more where a set has few runs, for they differ much."""
    return options.seeds if len(runs) > 2 else 8 * options.seeds


def recordings(folder: Path, name: str) -> list[Recording]:
    """A set's runs with at least 16 draws of each question, in the order of their ids."""
    file, mapping = SETS[name]
    found = read_recordings(folder / file, mapping=mapping).recordings
    return sorted((run for run in found if run.most_draws >= 16), key=lambda run: run.run)


def voting_usable(folder: Path) -> set[str]:
    with (folder / "epoch_runs.csv").open() as file:
        return {row["run_id"] for row in csv.DictReader(file) if row["voting_usable"] == "True"}


def quarter(run: Recording, place: int, seed: int) -> np.ndarray:
    """`[P, N]` whether a draw is seen: of each question a random quarter, at least one."""
    rng = np.random.default_rng([seed, place])
    order = rng.permuted(np.tile(np.arange(run.correct.shape[1]), (len(run.sizes), 1)), axis=1)
    order = np.where(np.isnan(run.correct), run.correct.shape[1] + order, order)
    rank = order.argsort(axis=1).argsort(axis=1)
    return rank < np.maximum(1, np.round(run.sizes / 4))[:, None]


def coverage_results(runs: Sequence[Recording], seeds: int) -> list[dict]:
    rows = []
    for place, run in enumerate(runs):
        right = np.nansum(run.correct, axis=1)
        target = np.mean(right > 0)  # pass@n of n recorded draws: some draw is right
        for seed in range(seeds):
            seen = quarter(run, place, seed)
            n, c = seen.sum(axis=1), np.nansum(np.where(seen, run.correct, 0.0), axis=1)
            ours, seconds = timed(lambda n=n, c=c, k=run.sizes: fit_success_rates(n, c).predict(k))
            rows.append(judged("ours", place, seed, target, ours.value, seconds, ours))
            for method, rule in RIVALS.items():
                value, seconds = timed(lambda r=rule, n=n, c=c, k=run.sizes: r(n, c, k))
                rows.append(judged(method, place, seed, target, value, seconds))
    return rows


def vote_results(runs: Sequence[Recording], seeds: int) -> list[dict]:
    rows = []
    for place, run in enumerate(runs):
        values = np.nan_to_num(run.values)
        target = own_votes(tallies(run, run.codes >= 0), values, run.sizes)
        for seed in range(seeds):
            seen = quarter(run, place, seed)
            counts, n = tallies(run, seen), seen.sum(axis=1)
            ours, seconds = timed(
                lambda c=counts, v=values, n=n, k=run.sizes: fit_answer_rates(c, v, n).predict(k)
            )
            rows.append(judged("ours", place, seed, target, ours.value, seconds, ours))
            now, seconds = timed(lambda c=counts, v=values, n=n: own_votes(c, v, n))
            rows.append(judged("vote of seen", place, seed, target, now, seconds))
    return rows


def own_votes(counts: np.ndarray, values: np.ndarray, sizes: np.ndarray) -> float:
    """Accuracy of the vote of all counted draws of each question, ties shared."""
    votes = [
        vote_at_k(counts[q : q + 1], values[q : q + 1], sizes[q : q + 1], int(size))[0]
        for q, size in enumerate(sizes)
    ]
    return float(np.mean(votes))


def tallies(run: Recording, seen: np.ndarray) -> np.ndarray:
    """`[P, A]` seen draws of each answer."""
    hits = run.codes[:, :, None] == np.arange(run.values.shape[1])
    return (hits & seen[:, :, None]).sum(axis=1)


def beta_binomial(n: np.ndarray, c: np.ndarray, k: np.ndarray) -> float:
    """A beta with a share of zeros, by maximum likelihood from twelve starts."""
    pairs, counts = np.unique(np.stack([n, c], 1), axis=0, return_counts=True)
    size, right = pairs.T.astype(float)

    def loss(params: np.ndarray) -> float:
        a, b, zero = *np.exp(params[:2]), expit(params[2])
        smooth = np.exp(betaln(right + a, size - right + b) - betaln(a, b))
        return -counts @ np.log((1 - zero) * smooth + zero * (right == 0) + 1e-300)

    starts = [(a, b, z) for a in (-1.5, 0.5) for b in (-1.0, 0.5, 2.0) for z in (-3.0, 0.0)]
    bounds = [(-7, 7), (-7, 7), (-9, 9)]
    fits = [minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    best = min(fits, key=lambda fit: fit.fun).x
    a, b, zero = *np.exp(best[:2]), expit(best[2])
    miss = np.exp(betaln(a, b + k) - betaln(a, b))
    return float(np.mean((1 - zero) * (1 - miss)))


def power_law(n: np.ndarray, c: np.ndarray, k: np.ndarray) -> float:
    """A line through log(-log pass@k) against log k, carried on to the record's size."""
    budgets = np.arange(1, int(n.min()) + 1)
    coverage = pass_at_k(n, c, budgets).mean(axis=0)
    inside = (coverage > 0) & (coverage < 1)
    if inside.sum() < 2:
        return float(coverage[-1])
    line = np.polyfit(np.log(budgets[inside]), np.log(-np.log(coverage[inside])), 1)
    return float(np.mean(np.exp(-np.exp(np.polyval(line, np.log(k))))))


def plug_in(n: np.ndarray, c: np.ndarray, k: np.ndarray) -> float:
    return float(np.mean(1 - (1 - c / n) ** k))


RIVALS: dict[str, Callable] = {
    "beta-binomial": beta_binomial, "power law": power_law, "plug-in": plug_in,
}  # fmt: skip


def timed(work: Callable) -> tuple:
    start = time.process_time()
    value = work()
    return value, time.process_time() - start


def judged(
    method: str, place: int, seed: int, target: float, value: float, seconds: float, band=None
):
    row = {"method": method, "place": place, "seed": seed, "ms": 1e3 * seconds}
    row["error"] = 100 * (value - target)
    if band is not None:
        row["held"] = band.low - 1e-9 <= target <= band.high + 1e-9
        row["width"] = 100 * (band.high - band.low)
    return row


def show(name: str, rows: Sequence[dict]) -> None:
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        errors = np.array([row["error"] for row in mine])
        bands = [row for row in mine if "held" in row]
        print(
            FORMAT.format(
                name,
                method,
                len(mine),
                f"{np.median(np.abs(errors)):.2f}",
                f"{np.mean(np.abs(errors)):.2f}",
                f"{errors.mean():+.2f}",
                f"{np.mean([row['held'] for row in bands]):.3f}" if bands else "",
                error_over_runs(bands),
                f"{np.mean([row['width'] for row in bands]):.1f}" if bands else "",
                f"{np.mean([row['ms'] for row in mine]):.1f}",
            ),
            flush=True,
        )


def error_over_runs(bands: Sequence[dict]) -> str:
    """Standard error of the share of bands that hold, runs being independent."""
    held = [
        np.mean([row["held"] for row in bands if row["place"] == place])
        for place in {row["place"] for row in bands}
    ]
    return f"{np.std(held, ddof=1) / np.sqrt(len(held)):.2f}" if len(held) > 2 else ""


def exponents(path: Path, seeds: int) -> None:
    """Exponent of coverage up to 10,000 draws, from 100 draws of each question."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    errors: dict[str, list[float]] = {"auto": [], "beta": [], "power law": []}
    k = np.unique(np.logspace(0, 4, 20).astype(int))
    for place, model in enumerate(sorted({row["model"] for row in rows})):
        n, c = np.array(
            [(int(r["n_samples"]), int(r["n_correct"])) for r in rows if r["model"] == model]
        ).T
        truth = slope(k, pass_at_k(n, c, k).mean(axis=0))
        few = k[k <= 100]
        for seed in range(seeds):
            seen = np.random.default_rng([seed, place]).hypergeometric(c, n - c, 100)
            hundred = np.full(len(n), 100)
            for family in ("auto", "beta"):
                found = fit_success_rates(hundred, seen, family).tail_exponent().value
                errors[family].append(found - truth)
            errors["power law"].append(slope(few, pass_at_k(hundred, seen, few).mean(0)) - truth)
    print("\nexponent of Pythia's coverage over 1 to 10,000 draws, from 100 draws")
    for method, found in errors.items():
        off = np.median(np.abs(found))
        print(f"{method:16s} median |error| {off:.4f}  bias {np.mean(found):+.4f}")


def slope(k: np.ndarray, coverage: np.ndarray) -> float:
    return -np.polyfit(np.log(k), np.log(-np.log(coverage)), 1)[0]


if __name__ == "__main__":
    main()
