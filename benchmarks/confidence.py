"""What a plan's confidence is worth on questions that it was not made on, and its guarantee.

    python benchmarks/confidence.py                # a few minutes
    python benchmarks/confidence.py --only esc otis

Questions (whole clusters of them) are dealt into halves, ten times: the policy and its map are
made on one half and looked at on the other, and the other way round. The guarantee is tried on
plans made on a half: certifying questions are drawn again and again, with replacement, from the
other half, which so is the whole traffic, and the true risk of each certified threshold is known
exactly. Two rules without a guarantee stand beside it.

Real samples are read from `../shared/data/samples` and skipped where absent, as is the study of
the embedded model, which `python benchmarks/plan.py --only mixed` samples. Each claim is printed
with its numbers and PASS or FAIL. Exits with 1 if one fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dwell.metrics import controlled_threshold, resample_problems
from dwell.plans.abstaining import Limit, halves, thresholds_of
from dwell.plans.confidence import ends_of, fitted, held_out_confidence, sure_of
from dwell.plans.evidence import Evidence, gather, rows_of
from dwell.plans.planning import Family, family_of
from dwell.plans.pooling import clusters_of, pooled
from dwell.plans.reliability import quality_record
from dwell.plans.routing import policy_of
from dwell.plans.search import best_policies
from dwell.recordings import Recording, read_recordings
from dwell.strategies.policy import Policy
from dwell.study_recording import recordings_of

DATA = Path(__file__).parents[2] / "shared" / "data" / "samples"
STUDY = Path("benchmarks/runs/plan/test")
DELTA, DEALS, DRAWS = 0.1, 10, 100


@dataclass(frozen=True)
class Part:
    """Recorded draws, what they may be planned with, and the limits to try on them."""

    name: str
    recording: Recording
    scores: tuple[str, ...] = ()
    risks: tuple[float, ...] = (0.2, 0.3)


def esc() -> Part:
    """Last letters, gpt-3.5: 250 questions, 40 draws."""
    (found, *_) = read_recordings(DATA / "esc_last_letters_gpt35.parquet").recordings
    return Part("last letters", found, risks=(0.15, 0.2))


def otis() -> Part:
    """OTIS mock AIME: 45 questions, each answered by every run that drew 16 times."""
    read = read_recordings(DATA / "epoch_otis_aime.parquet").recordings
    found = pooled([r for r in read if r.most_draws >= 16 and r.codes is not None])
    return Part("OTIS mock AIME", found, risks=(0.5,))


def math() -> Part:
    """MATH, Qwen2.5 with the score of a reward model: 100 questions, 8 draws."""
    (found, *_) = read_recordings(DATA / "math100_qwen_rm.parquet").recordings
    return Part("MATH with a reward model", found, ("score",), risks=(0.1,))


def cruxeval() -> Part:
    """CRUXEval-O, CodeLlama-7B: 800 questions, 10 draws."""
    (found, *_) = read_recordings(DATA / "cruxeval_output_codellama7b.parquet").recordings
    return Part("CRUXEval-O", found, risks=(0.5, 0.6))


def embedded() -> Part:
    """The embedded 0.8 M model on easy and hard problems of two families: 16 of its draws."""
    found = pooled(recordings_of(STUDY).recordings)
    few = {name: getattr(found, name)[:, :16] for name in ("correct", "codes", "tokens")}
    sizes = np.minimum(found.sizes, 16)
    return Part("embedded, mixed", replace(found, **few, sizes=sizes, columns={}, tags={}))


def verified() -> Part:
    """Every other of these questions, with the score of the process verifier."""
    found = pooled(recordings_of(STUDY).recordings)
    rows = np.arange(0, len(found.questions), 2)
    found = rows_of(replace(found, tags={}), rows)
    few = {name: getattr(found, name)[:, :16] for name in ("correct", "codes", "tokens")}
    columns = {"process": found.columns["process"][:, :16]}
    sizes = np.minimum(found.sizes, 16)
    return Part(
        "embedded with its verifier", replace(found, **few, sizes=sizes, columns=columns),
        ("process",), risks=(0.2,),
    )  # fmt: skip


PARTS: dict[str, Callable[[], Part]] = {
    "esc": esc, "otis": otis, "math": math, "cruxeval": cruxeval, "embedded": embedded,
    "verified": verified,
}  # fmt: skip


def policy_for(evidence: Evidence, family: Family, rows: np.ndarray) -> Policy:
    """The policy for half of the draws, made on some questions."""
    (found,) = best_policies(family.menus, rows, np.array([evidence.cap * evidence.mean_cost / 2]))
    assert found is not None
    return policy_of(found, family.menus, family.strategies)


def calibration(part: Part, evidence: Evidence, family: Family) -> Iterator[tuple[str, bool]]:
    """Confidence and share of votes on halves that nothing was made on."""
    clusters = clusters_of(evidence.recording, None)
    splits = []
    for deal in range(DEALS):
        own, other = halves(evidence.shape[1], clusters, deal)
        splits += [(own, other), (other, own)]
    policies = [policy_for(evidence, family, own) for own, _ in splits]
    looked = held_out_confidence(policies, evidence, splits)
    assert looked is not None
    found = quality_record(*looked, resample_problems(evidence.shape[1], clusters=clusters))
    gain, at = found["brier_gain"], {one["coverage"]: one for one in found["at_coverage"]}
    text = (
        f"{part.name}, {evidence.shape[1]} questions, halves: share of votes -> confidence: ECE "
        f"{ends(found['ece_of_share'])} -> {ends(found['ece'])}; Brier "
        f"{found['brier_of_share']['value']:.4f} -> {found['brier']['value']:.4f}, gain "
        f"{ends(gain, 4)}; AURC "
        f"{found['aurc_of_share']:.3f} -> {found['aurc']:.3f}; right: all "
        f"{found['accuracy']:.3f}, the surer half {at[0.5]['accuracy']:.3f}, quarter "
        f"{at[0.25]['accuracy']:.3f}"
    )
    # Where the share of votes is near the truth already there is little to gain, nor to lose.
    yield text, bool(gain["high"] > 0)


def ends(found: dict[str, float], digits: int = 3) -> str:
    return f"{found['value']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def guarantee(part: Part, evidence: Evidence, family: Family) -> Iterator[tuple[str, bool]]:
    """How often the true risk is above the limit, certified and by two rules of thumb."""
    clusters = clusters_of(evidence.recording, None)
    for risk in part.risks:
        limit = Limit(risk=risk, delta=DELTA)
        rows = [tried(evidence, family, clusters, limit, deal) for deal in range(DEALS)]
        broken, given, refused = (np.array(column) for column in zip(*rows, strict=True))
        mean, error = broken.mean(axis=0), broken.std(axis=0, ddof=1) / np.sqrt(DEALS)
        yield (
            f"{part.name}: at most {risk:g} wrong, chance {DELTA:g}: broken in {mean[0]:.3f} of "
            f"{DEALS * DRAWS} certifications ({refused.mean():.2f} refused), answering "
            f"{given[:, 0].mean():.2f} of all; by the confidence alone {mean[1]:.2f} (answering "
            f"{given[:, 1].mean():.2f}), by the observed share {mean[2]:.2f} "
            f"({given[:, 2].mean():.2f})",
            bool(mean[0] <= DELTA + 4 * error[0]),
        )


def tried(
    evidence: Evidence, family: Family, clusters: np.ndarray | None, limit: Limit, deal: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """(share of certifications whose risk is too high [3], share answered [3], refused)."""
    own, other = halves(evidence.shape[1], clusters, deal)
    ends_ = ends_of(policy_for(evidence, family, own), evidence)
    assert ends_ is not None
    sure = sure_of(fitted(ends_, evidence, own), ends_, evidence)
    label = np.arange(evidence.shape[1]) if clusters is None else clusters
    groups = [np.flatnonzero(label == one) for one in np.unique(label[other])]
    rng = np.random.default_rng([deal, 3])
    wrong, given = ends_.right < 1, np.isfinite(sure)
    mass = np.zeros(evidence.shape[1])  # a random question of a random cluster
    for group in groups:
        mass[group] = 1 / len(groups) / len(group)
    edges = thresholds_of(sure[:, own], ends_.right[:, own], len(groups), limit)
    by_mean = believed(sure[:, own], limit)
    found = np.zeros((DRAWS, 3, 2))
    for number in range(DRAWS):
        drawn = [rng.choice(groups[i]) for i in rng.integers(0, len(groups), len(groups))]
        order = rng.integers(0, evidence.shape[0], len(drawn))
        own_sure, own_right = sure[order, drawn], ends_.right[order, drawn]
        kept = controlled_threshold(
            own_sure, own_right, edges, risk=limit.risk, delta=limit.delta
        ).threshold
        seen = [edge for edge in edges if observed(own_sure, own_right, edge) <= limit.risk]
        for rule, edge in enumerate((kept, by_mean, min(seen, default=2))):
            answers = given & (sure >= edge)
            share = (answers.mean(axis=0) @ mass, (answers & wrong).mean(axis=0) @ mass)
            found[number, rule] = share[0], share[1] > limit.risk * share[0]
    refused = float((found[:, 0, 0] == 0).mean())
    return found[..., 1].mean(axis=0), found[..., 0].mean(axis=0), refused


def observed(sure: np.ndarray, right: np.ndarray, edge: float) -> float:
    """Share of wrong answers from a confidence on; 1 without any."""
    return float(np.mean(right[sure >= edge] < 1)) if (sure >= edge).any() else 1.0


def believed(sure: np.ndarray, limit: Limit) -> float:
    """The lowest confidence above which the mean confidence promises the risk."""
    falling = np.sort(sure[np.isfinite(sure)])[::-1]
    good = np.flatnonzero(1 - np.cumsum(falling) / np.arange(1, len(falling) + 1) <= limit.risk)
    return float(falling[good[-1]]) if len(good) else 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(PARTS))
    args = parser.parse_args()
    held = True
    for name, make in PARTS.items():
        source = STUDY if name in ("embedded", "verified") else DATA
        if args.only and name not in args.only:
            continue
        if not source.exists():
            print(f"skip  {name}: no {source}")
            continue
        part = make()
        evidence = gather(part.recording, repetitions=8)
        family = family_of(evidence, part.scores)
        for look in (calibration, guarantee):
            for text, holds in look(part, evidence, family):
                held &= holds
                print(f"{'PASS' if holds else 'FAIL'}  {text}", flush=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
