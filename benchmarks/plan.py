"""What plans bring on questions that were not used to make them, with controls that must fail.

    python benchmarks/plan.py                      # everything: half an hour, mostly sampling
    python benchmarks/plan.py --only esc otis codet controls
    python benchmarks/plan.py --only promises      # ten minutes: are the intervals right?

Real samples are read from `../shared/data/samples` (see its README) and skipped where absent. The
studies of the embedded model are sampled into `--out`, once, and can be resumed. Each claim is
printed with its numbers and PASS or FAIL. Exits with 1 if one fails.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from codet import codet_menus

from dwell.commands.console import LiveView
from dwell.metrics import paired_difference, resample_problems
from dwell.plans import plan
from dwell.plans.crossfit import HeldOut, cross_fitted, folds_of
from dwell.plans.evidence import Evidence, gather, rows_of
from dwell.plans.options import Probe, fixed_choices, probes
from dwell.plans.planning import family_of
from dwell.plans.pooling import clusters_of, pooled
from dwell.plans.search import Menu, menu_of
from dwell.recordings import Recording, read_recordings
from dwell.strategies import make
from dwell.streams import Streams
from dwell.study import Study
from dwell.study_file import parse_study
from dwell.study_recording import recordings_of

DATA = Path(__file__).parents[2] / "shared" / "data" / "samples"
SAMPLED = ("promises", "mixed")
PARTS = ("esc", "otis", "codet", "controls", *SAMPLED)
TUNING_SEED, TEST_SEED = 20261124, 20261123
STUDY = """
title = "mixed difficulty, {name}"
seed = 7
budgets = [64]
[[models]]
name = "tiny-0.8m"
[[tasks]]
name = "chain"
problems = {count}
seed = {seed}
levels = [2, 3, 4, 5, 6]
[[tasks]]
name = "countdown"
problems = {count}
seed = {seed}
levels = [3, 4]
[[strategies]]
name = "majority"
[[strategies]]
name = "best_of_n"
"""
#: Forty plans from a hundred questions each, with all others to look at.
SUMS = """
title = "chain"
budgets = [8]
[[models]]
name = "tiny-0.8m"
[[tasks]]
name = "chain"
problems = 4000
seed = 11
[[strategies]]
name = "majority"
"""


@dataclass(frozen=True)
class Claim:
    text: str
    found: str
    holds: bool


def interval(
    a: np.ndarray, b: np.ndarray, clusters: np.ndarray | None = None
) -> tuple[float, ...]:
    """Paired difference `a - b` in points with its 95 % interval."""
    resamples = resample_problems(len(a), clusters=clusters)
    found = paired_difference(np.clip(a, 0, 1), np.clip(b, 0, 1), resamples)
    return tuple(100 * float(x) for x in (found.value, found.low, found.high))


def shown(numbers: Sequence[float]) -> str:
    return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*numbers)


def vote_of(evidence: Evidence, n: int) -> np.ndarray:
    """Accuracy `[P]` of the vote among n draws."""
    return evidence.outcome(make("majority", n=n)).right.mean(axis=0)


def esc() -> Iterator[Claim]:
    """Tuned on one half of the questions, looked at on the other, twenty times."""
    evidence = gather(one_run("esc_last_letters_gpt35"))
    family = family_of(evidence)
    vote = vote_of(evidence, evidence.cap)
    budgets = np.array([evidence.cap / 6])
    found = []
    for number in range(20):
        order = np.random.default_rng(number).permutation(evidence.shape[1])
        own, held = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        out = cross_fitted(family.menus, budgets, [(own, held)])
        found.append((out.accuracy[held, 0].mean() - vote[held].mean(), out.cost[held, 0].mean()))
    gap, cost = np.array(found).T
    yield Claim(
        "last letters: within 0.5 points of vote@40 with <= 1/6 of the draws, 20 halves",
        f"{100 * gap.mean():+.2f} points (sd {100 * gap.std(ddof=1):.2f}, worst "
        f"{100 * gap.min():+.2f}) with {cost.mean():.2f} of 40 draws",
        bool(gap.mean() >= -0.005 and cost.mean() <= evidence.cap / 6),
    )


def otis() -> Iterator[Claim]:
    """One plan for all voting-usable runs with 16 samples, questions held out."""
    with (DATA / "epoch_runs.csv").open(encoding="utf-8") as file:
        usable = {r["run_id"] for r in csv.DictReader(file) if r["voting_usable"] == "True"}
    read = read_recordings(DATA / "epoch_otis_aime.parquet").recordings
    runs = [r for r in read if r.run in usable and r.most_draws >= 16]
    evidence = gather(pooled(runs))
    held, clusters = held_out(evidence, [8.0])
    gap = interval(held.accuracy[:, 0], vote_of(evidence, 16), clusters)
    cost = held.cost[:, 0].mean()
    yield Claim(
        f"OTIS, one plan for {len(runs)} runs: within 0.5 points of vote@16 with half the draws",
        f"{shown(gap)} points with {cost:.2f} of 16 draws",
        bool(gap[0] >= -0.5 and cost <= 8),
    )
    each = []
    for run in runs:
        own = gather(run)
        out, _ = held_out(own, [8.0], repeats=1)
        each.append(
            (out.accuracy.mean() - vote_of(own, own.cap).mean(), out.cost.mean() / own.cap)
        )
    gap_each, share = np.mean(each, axis=0)
    print(
        f"      (a plan for each run, from its 45 questions alone: {100 * gap_each:+.2f} points "
        f"at {share:.2f} of the draws)"
    )


def held_out(
    evidence: Evidence, budgets: Sequence[float], repeats: int = 3
) -> tuple[HeldOut, np.ndarray | None]:
    clusters = clusters_of(evidence.recording, None)
    splits = list(folds_of(evidence.shape[1], clusters, 5, repeats, 0))
    return cross_fitted(family_of(evidence).menus, np.array(budgets), splits), clusters


def codet() -> Iterator[Claim]:
    """Best-of-n by generated tests, and cluster votes, recomputed from the first n samples."""
    for tests in ("pool", "brought"):
        numbers, menus = codet_menus(DATA, orders=8, tests=tests)
        best = menus["best of n by tests"]
        curve = 100 * best.right[0].mean(axis=1)
        peak = int(numbers[np.argmax(curve)])
        line = ", ".join(f"{c:.1f}@{n}" for n, c in zip(numbers, curve, strict=True))
        print(f"      (tests: {tests}; best of n: {line})")
        last = best.right[0, -1].astype(float)
        picked, gain = picks({"best of n": best}, numbers, last)
        text = f"n picked (times of 15): {picked}; {shown(gain)} points over best-of-100"
        if tests == "pool":
            yield Claim("CodeT: best-of-n by tests peaks near n = 4 and falls",
                        f"peak at n = {peak}, {curve.max():.1f} %; {curve[-1]:.1f} % at n = 100",
                        bool(2 <= peak <= 8 and curve[-1] < curve.max() - 5))  # fmt: skip
            yield Claim("CodeT: of best-of-n the plan picks n <= 8 and gains >= 8 points", text,
                        bool(max(n for _, n in picked) <= 8 and gain[0] >= 8))  # fmt: skip
        else:
            print(f"      ({text})")
        picked, gain = picks(menus, numbers, last)
        yield Claim(f"CodeT: with cluster votes the plan gains >= 12 points (tests: {tests})",
                    f"picked {picked}; {shown(gain)} points", bool(gain[0] >= 12))  # fmt: skip


def picks(
    menus: dict[str, Menu], numbers: np.ndarray, last: np.ndarray
) -> tuple[dict[tuple[str, int], int], tuple[float, ...]]:
    """What was picked how often on 15 folds, and what it gained where it was not looked at."""
    names = [(name, int(n)) for name in menus for n in numbers]
    splits = list(folds_of(len(last), None, 5, 3, 0))
    held = cross_fitted([joined(menus)], np.array([100.0]), splits)
    picked = dict(Counter(names[int(row[0].taken[0])] for row in held.found))
    return picked, interval(held.accuracy[:, 0], last)


def joined(menus: dict[str, Menu]) -> Menu:
    return Menu(
        right=np.concatenate([menu.right for menu in menus.values()], axis=1),
        cost=np.concatenate([menu.cost for menu in menus.values()], axis=1),
    )


def mixed(out: Path, jobs: int, tuning: int, test: int) -> Iterator[Claim]:
    """The embedded model on easy and hard problems of two families."""
    folders = {}
    for name, count, seed in (("tuning", tuning, TUNING_SEED), ("test", test, TEST_SEED)):
        text = STUDY.format(name=name, count=count // 2, seed=seed)
        study = Study(parse_study(text), out / name)
        with LiveView(study) as view:
            study.run(jobs=jobs, watch=view.watch)
        folders[name] = study
    known = {problem.prompt for problem in folders["tuning"].problems}
    fresh = {p.id for p in folders["test"].problems if p.prompt not in known}
    tuned = pooled(recordings_of(folders["tuning"].folder).recordings)
    full = float(np.nansum(tuned.tokens) / len(tuned.questions))
    found = plan(tuned, budget=0.24 * full, unit="tokens", scores=("process",))
    print("      " + "\n      ".join(found.sentences()))
    tests = [only_questions(r, fresh) for r in recordings_of(folders["test"].folder).recordings]
    evidence = gather(pooled(tests), unit="tokens")
    made = evidence.streams
    fixed = {
        s.name: evidence.outcome(s) for s in fixed_choices(evidence, ("process",))
        if getattr(s, "n", 0) == evidence.cap
    }  # fmt: skip
    name = max(fixed, key=lambda key: fixed[key].right.mean())
    replayed = found.policy.replay(made)
    assert replayed is not None
    right, cost = graded(evidence, replayed.chosen, replayed.drawn)
    top = fixed[name]
    gap = interval(right.mean(0), top.right.mean(0))
    share = cost.mean() / top.cost.mean()
    yield Claim(
        f"mixed study, {evidence.shape[1]} fresh questions: within 1 point of the best fixed "
        "strategy at N = 64 with <= 1/4 of its tokens",
        f"{shown(gap)} points against {name}@64 ({100 * top.right.mean():.1f} %) with {share:.3f} "
        f"of its {top.cost.mean():.0f} tokens",
        bool(gap[0] >= -1 and share <= 0.25 and evidence.shape[1] >= 3000),
    )
    yield from shuffled_claims(evidence, right, cost, replayed.drawn)


def shuffled_claims(
    evidence: Evidence, right: np.ndarray, cost: np.ndarray, drawn: np.ndarray
) -> Iterator[Claim]:
    """The same numbers of draws, dealt to the wrong questions: no better than a fixed number."""
    choices = [s for s in fixed_choices(evidence, ("process",)) if s.name != "majority"]
    within = [s for s in choices if evidence.outcome(s).cost.mean() <= cost.mean()]
    best = max(within, key=lambda s: evidence.outcome(s).right.mean())
    same = evidence.outcome(best).right.mean(0)
    true = interval(right.mean(0), same)
    others = np.random.default_rng(0).permutation(evidence.shape[1])
    moved = drawn[:, others]
    place = Streams.after(evidence.streams.best("process"), moved)
    wrong, paid = graded(evidence, evidence.streams.codes_at(place), moved)
    false = interval(wrong.mean(0), same)
    yield Claim(
        f"mixed study: the plan beats the best fixed choice of its cost ({best.spec()}), and with "
        "difficulty shuffled it does not",
        f"{shown(true)} points; shuffled {shown(false)} at {paid.mean() / cost.mean():.2f} of its "
        "cost",
        bool(true[1] > 0 and false[1] <= 0),
    )


def graded(
    evidence: Evidence, chosen: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Grades and costs `[R, P]` of answers given by code."""
    values = evidence.recording.values
    assert values is not None
    rows = np.arange(len(values))
    right = np.where(chosen >= 0, values[rows, np.maximum(chosen, 0)], 0.0)
    return right, np.take_along_axis(evidence.spent, drawn[..., None], -1)[..., 0]


def only_questions(recording: Recording, kept: set[str]) -> Recording:
    rows = np.array([q in kept for q in recording.questions])
    return replace(
        recording,
        questions=tuple(q for q in recording.questions if q in kept),
        sizes=recording.sizes[rows], correct=recording.correct[rows],
        codes=recording.codes[rows], values=recording.values[rows],
        tokens=recording.tokens[rows], texts=(), tags={}, rows=None,
        columns={name: table[rows] for name, table in recording.columns.items()},
    )  # fmt: skip


def promises(out: Path, jobs: int) -> Iterator[Claim]:
    """What plans promise, against what they do on thousands of questions they have not seen."""
    study = Study(parse_study(SUMS), out / "sums")
    with LiveView(study) as view:
        study.run(jobs=jobs, watch=view.watch)
    recording = recordings_of(study.folder).recordings[0]
    whole = gather(recording)
    found = np.array(
        [kept_promise(recording, whole, part, 6.0) for part in parts(whole, size=100, deals=2)]
    )
    promised, low, high, fresh, cost, least, most, paid = found.T
    missed = 100 * (promised - fresh)
    covered = np.mean((low <= fresh) & (fresh <= high))
    paid_in = np.mean((least <= paid) & (paid <= most))
    yield Claim(
        f"{len(found)} plans from 100 questions each keep their promise (95 % interval)",
        f"accuracy on the others inside in {100 * covered:.1f} %: promised "
        f"{100 * promised.mean():.2f}, got {100 * fresh.mean():.2f}; sd of the miss "
        f"{missed.std(ddof=1):.2f}, intervals for {100 * np.mean(high - low) / 3.92:.2f}; cost "
        f"inside in {100 * paid_in:.1f} %: promised {cost.mean():.2f}, got {paid.mean():.2f}",
        bool(min(covered, paid_in) >= 0.9 and abs(missed.mean()) <= 1),
    )


def parts(whole: Evidence, size: int, deals: int) -> Iterator[np.ndarray]:
    """Disjoint random sets of questions, dealt anew several times."""
    for deal in range(deals):
        order = np.random.default_rng(deal).permutation(whole.shape[1])
        for first in range(0, len(order) - size + 1, size):
            yield np.sort(order[first : first + size])


def kept_promise(
    recording: Recording, whole: Evidence, part: np.ndarray, budget: float
) -> tuple[float, ...]:
    """Accuracy promised, its interval, accuracy on all other questions; the same of the cost."""
    found = plan(rows_of(recording, part), budget=budget)
    replayed = found.policy.replay(whole.streams)
    assert replayed is not None
    right, cost = graded(whole, replayed.chosen, replayed.drawn)
    others = np.setdiff1d(np.arange(whole.shape[1]), part)
    promise = found.record["promise"]
    return (
        promise["accuracy"], promise["low"], promise["high"], right[:, others].mean(),
        promise["cost"], promise["cost_low"], promise["cost_high"], cost[:, others].mean(),
    )  # fmt: skip


def controls() -> Iterator[Claim]:
    """What must not help does not."""
    recording = one_run("esc_last_letters_gpt35")
    rng = np.random.default_rng(0)
    noise = rng.random(recording.correct.shape)
    evidence = gather(replace(recording, columns={"noise": noise}))
    splits = list(folds_of(evidence.shape[1], None, 5, 3, 0))
    budgets = np.array([8.0])
    plain = cross_fitted(family_of(evidence).menus, budgets, splits)
    noisy = cross_fitted(family_of(evidence, ("noise",)).menus, budgets, splits)
    gap = interval(noisy.accuracy[:, 0], plain.accuracy[:, 0])
    yield Claim("random scores give no gain over votes", f"{shown(gap)} points", gap[1] <= 0)
    best = evidence.outcome(make("best_of_n", n=16, verifier="noise")).right.mean(0)
    gap = interval(best, vote_of(evidence, 16))
    yield Claim("best-of-16 by random scores is worse than the vote", f"{shown(gap)} points",
                gap[2] < 0)  # fmt: skip
    yield from random_difficulty(gather(otis_pool()))


def otis_pool() -> Recording:
    read = read_recordings(DATA / "epoch_otis_aime.parquet").recordings
    return pooled([r for r in read if r.most_draws >= 16 and r.codes is not None])


def random_difficulty(evidence: Evidence) -> Iterator[Claim]:
    """Routes by the first draws of the question itself, and by those of another one."""
    fixed = fixed_choices(evidence, ())
    clusters = clusters_of(evidence.recording, None)
    splits = list(folds_of(evidence.shape[1], clusters, 5, 3, 0))
    others = np.random.default_rng(1).permutation(evidence.shape[1])
    swapped = Streams(codes=evidence.streams.codes[:, others], sizes=evidence.streams.sizes)
    gains = []
    base = menu_of(evidence, fixed, Probe(), ())
    for looked_at in (evidence.streams, swapped):
        seen = replace_streams(evidence, looked_at)
        menus = [base, *(
            menu_of(seen, fixed, probe, probe.cuts(seen, np.arange(evidence.shape[1])))
            for probe in probes(evidence, ())[1:]
        )]  # fmt: skip
        routed = cross_fitted(menus, np.array([8.0]), splits)
        alone = cross_fitted([base], np.array([8.0]), splits)
        gains.append(interval(routed.accuracy[:, 0], alone.accuracy[:, 0], clusters))
    yield Claim(
        "routes by the first draws gain over one vote for all; by another question's they do not",
        f"{shown(gains[0])} points; random difficulty {shown(gains[1])}",
        bool(gains[0][1] > 0 and gains[1][1] <= 0),
    )


def replace_streams(evidence: Evidence, streams: Streams) -> Evidence:
    """The evidence with other streams to look at; outcomes stay those of its own."""
    seen = replace(evidence, streams=streams)
    object.__setattr__(seen, "outcome", evidence.outcome)
    return seen


def one_run(name: str) -> Recording:
    return read_recordings(DATA / f"{name}.parquet").recordings[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/plan"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tuning", type=int, default=1000)
    parser.add_argument("--test", type=int, default=3100)
    args = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[Claim]]] = {
        "esc": esc, "otis": otis, "codet": codet, "controls": controls,
        "promises": lambda: promises(args.out, args.jobs),
        "mixed": lambda: mixed(args.out, args.jobs, args.tuning, args.test),
    }  # fmt: skip
    held = True
    for name, part in parts.items():
        if args.only and name not in args.only:
            continue
        if name not in SAMPLED and not DATA.exists():
            print(f"skip  {name}: no {DATA}")
            continue
        for claim in part():
            held &= claim.holds
            print(f"{'PASS' if claim.holds else 'FAIL'}  {claim.text}: {claim.found}", flush=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
