"""Accuracy against compute from recorded draws: estimators, intervals, tests and other measures.

Pure functions on arrays; they know nothing of strategies, generators or the ledger. A name is
loaded when it is first used, so importing the package costs nothing and only the families that
need scikit-learn load it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dwell.metrics.attempts import Attempts, relative_spread, solved_within, summarise_attempts
    from dwell.metrics.calibration import (
        ReliabilityBins,
        calibration_error,
        calibration_interval,
        debiased_calibration_error,
        reliability_bins,
    )
    from dwell.metrics.clusters import difficulty_clusters
    from dwell.metrics.comparisons import (
        TestResult,
        benjamini_hochberg,
        holm,
        how_many_questions,
        mcnemar,
        minimum_detectable_effect,
        paired_difference,
        sign_flip,
    )
    from dwell.metrics.conformal import conformal_margin, coverage_share, widen
    from dwell.metrics.difficulty import (
        Ability,
        DifficultyBins,
        ability,
        difficulty_bins,
        success_profile,
    )
    from dwell.metrics.diversity import (
        answer_entropy,
        distinct_correct_share,
        effective_answers,
        simpson_diversity,
        vendi_score,
    )
    from dwell.metrics.estimators import (
        all_at_k,
        at_least_at_k,
        best_of_k,
        expected_draws,
        pass_at_k,
        selection_efficiency,
    )
    from dwell.metrics.events import EventCounts, event_counts, pate_area, pate_f1
    from dwell.metrics.exploration import balance_score, distinct_pass_at_k, top_correct_at_k
    from dwell.metrics.false_positives import (
        accuracy_at,
        ceiling,
        expected_value,
        optimal_attempts,
    )
    from dwell.metrics.first_accepted import (
        AcceptedCurve,
        BestAttempts,
        VerifierErrors,
        best_attempts,
        first_accepted_at_k,
        verifier_errors,
    )
    from dwell.metrics.fronts import hypervolume, pareto_front
    from dwell.metrics.intervals import (
        Interval,
        Resamples,
        beta_posterior,
        bootstrap_interval,
        clopper_pearson,
        clustered_standard_error,
        resample_problems,
        variance_split,
        wilson,
    )
    from dwell.metrics.item_statistics import (
        item_information,
        item_rest_correlation,
        point_biserial,
        success_curve,
    )
    from dwell.metrics.overthinking import BlowUp, length_blow_up
    from dwell.metrics.proper_scores import (
        BrierParts,
        brier_parts,
        brier_score,
        brier_skill,
        log_loss,
    )
    from dwell.metrics.quantiles import (
        combine_quantiles,
        fit_weights,
        interval_score,
        pinball_loss,
        uncross,
        weighted_interval_score,
    )
    from dwell.metrics.ranking import (
        RiskCoverage,
        Selective,
        auroc,
        kendall_tau,
        risk_coverage,
        selective_accuracy,
        within_question_auroc,
    )
    from dwell.metrics.recalibration import (
        LogOddsMap,
        MonotoneMap,
        Recalibrator,
        StepMap,
        cross_fitted,
        fit_isotonic,
        fit_platt,
        fit_scaling_binning,
        fit_temperature,
    )
    from dwell.metrics.reward_consistency import (
        Agreement,
        Contrast,
        contrast_consistency,
        extremes_agree,
        implicit_reward,
        preference_agreement,
        rank_consistency,
        smoothed_preference_loss,
    )
    from dwell.metrics.risk_control import RiskControl, controlled_threshold, least_answered
    from dwell.metrics.self_knowledge import (
        Foresight,
        Type2,
        WithdrawDelta,
        asked_often,
        monitoring_profile,
        p_true,
        score_p_ik,
        type2_sensitivity,
        withdraw_delta,
    )
    from dwell.metrics.stability import (
        SeedVariance,
        monotonicity,
        ranking_agreement,
        seed_variance,
        split_half_agreement,
    )
    from dwell.metrics.stopping import PassRate, Revisions, fit_revisions, pass_until
    from dwell.metrics.token_efficiency import (
        Controllability,
        SamplingState,
        arise,
        controllability,
        normalised_regret,
        progress,
        sampling_state,
        split_draws,
    )
    from dwell.metrics.trends import Trend, TwoLines, trend, two_lines
    from dwell.metrics.voting import answer_counts, vote_at_k
    from dwell.metrics.weighted_voting import WeightedVote, answer_codes, weighted_vote_at_k

_FAMILIES = {
    "attempts": "Attempts relative_spread solved_within summarise_attempts",
    "calibration": (
        "ReliabilityBins calibration_error calibration_interval debiased_calibration_error "
        "reliability_bins"
    ),
    "clusters": "difficulty_clusters",
    "comparisons": (
        "TestResult benjamini_hochberg holm how_many_questions mcnemar "
        "minimum_detectable_effect paired_difference sign_flip"
    ),
    "conformal": "conformal_margin coverage_share widen",
    "difficulty": "Ability DifficultyBins ability difficulty_bins success_profile",
    "diversity": (
        "answer_entropy distinct_correct_share effective_answers simpson_diversity vendi_score"
    ),
    "estimators": (
        "all_at_k at_least_at_k best_of_k expected_draws pass_at_k selection_efficiency"
    ),
    "events": "EventCounts event_counts pate_area pate_f1",
    "exploration": "balance_score distinct_pass_at_k top_correct_at_k",
    "false_positives": "accuracy_at ceiling expected_value optimal_attempts",
    "first_accepted": (
        "AcceptedCurve BestAttempts VerifierErrors best_attempts first_accepted_at_k "
        "verifier_errors"
    ),
    "fronts": "hypervolume pareto_front",
    "intervals": (
        "Interval Resamples beta_posterior bootstrap_interval clopper_pearson "
        "clustered_standard_error resample_problems variance_split wilson"
    ),
    "item_statistics": "item_information item_rest_correlation point_biserial success_curve",
    "overthinking": "BlowUp length_blow_up",
    "proper_scores": "BrierParts brier_parts brier_score brier_skill log_loss",
    "quantiles": (
        "combine_quantiles fit_weights interval_score pinball_loss uncross weighted_interval_score"
    ),
    "ranking": (
        "RiskCoverage Selective auroc kendall_tau risk_coverage selective_accuracy "
        "within_question_auroc"
    ),
    "recalibration": (
        "LogOddsMap MonotoneMap Recalibrator StepMap cross_fitted fit_isotonic fit_platt "
        "fit_scaling_binning fit_temperature"
    ),
    "reward_consistency": (
        "Agreement Contrast contrast_consistency extremes_agree implicit_reward "
        "preference_agreement rank_consistency smoothed_preference_loss"
    ),
    "risk_control": "RiskControl controlled_threshold least_answered",
    "self_knowledge": (
        "Foresight Type2 WithdrawDelta asked_often monitoring_profile p_true score_p_ik "
        "type2_sensitivity withdraw_delta"
    ),
    "stability": (
        "SeedVariance monotonicity ranking_agreement seed_variance split_half_agreement"
    ),
    "stopping": "PassRate Revisions fit_revisions pass_until",
    "token_efficiency": (
        "Controllability SamplingState arise controllability normalised_regret progress "
        "sampling_state split_draws"
    ),
    "trends": "Trend TwoLines trend two_lines",
    "voting": "answer_counts vote_at_k",
    "weighted_voting": "WeightedVote answer_codes weighted_vote_at_k",
}
_HOMES = {name: family for family, names in _FAMILIES.items() for name in names.split()}

__all__ = [
    "Ability", "AcceptedCurve", "Agreement", "Attempts", "BestAttempts", "BlowUp", "BrierParts",
    "Contrast", "Controllability", "DifficultyBins", "EventCounts", "Foresight", "Interval",
    "LogOddsMap", "MonotoneMap", "PassRate", "Recalibrator", "ReliabilityBins", "Resamples",
    "Revisions", "RiskControl", "RiskCoverage", "SamplingState", "SeedVariance", "Selective",
    "StepMap", "TestResult", "Trend", "TwoLines", "Type2", "VerifierErrors", "WeightedVote",
    "WithdrawDelta", "ability", "accuracy_at", "all_at_k", "answer_codes", "answer_counts",
    "answer_entropy", "arise", "asked_often", "at_least_at_k", "auroc", "balance_score",
    "benjamini_hochberg", "best_attempts", "best_of_k", "beta_posterior", "bootstrap_interval",
    "brier_parts", "brier_score", "brier_skill", "calibration_error", "calibration_interval",
    "ceiling", "clopper_pearson", "clustered_standard_error", "combine_quantiles",
    "conformal_margin", "contrast_consistency", "controllability", "controlled_threshold",
    "coverage_share", "cross_fitted", "debiased_calibration_error", "difficulty_bins",
    "difficulty_clusters", "distinct_correct_share", "distinct_pass_at_k", "effective_answers",
    "event_counts", "expected_draws", "expected_value", "extremes_agree", "first_accepted_at_k",
    "fit_isotonic", "fit_platt", "fit_revisions", "fit_scaling_binning", "fit_temperature",
    "fit_weights", "holm", "how_many_questions", "hypervolume", "implicit_reward",
    "interval_score", "item_information", "item_rest_correlation", "kendall_tau", "least_answered",
    "length_blow_up", "log_loss", "mcnemar", "minimum_detectable_effect", "monitoring_profile",
    "monotonicity", "normalised_regret", "optimal_attempts", "p_true", "paired_difference",
    "pareto_front", "pass_at_k", "pass_until", "pate_area", "pate_f1", "pinball_loss",
    "point_biserial", "preference_agreement", "progress", "rank_consistency", "ranking_agreement",
    "relative_spread", "reliability_bins", "resample_problems", "risk_coverage", "sampling_state",
    "score_p_ik", "seed_variance", "selection_efficiency", "selective_accuracy", "sign_flip",
    "simpson_diversity", "smoothed_preference_loss", "solved_within", "split_draws",
    "split_half_agreement", "success_curve", "success_profile", "summarise_attempts",
    "top_correct_at_k", "trend", "two_lines", "type2_sensitivity", "uncross", "variance_split",
    "vendi_score", "verifier_errors", "vote_at_k", "weighted_interval_score", "weighted_vote_at_k",
    "widen", "wilson", "withdraw_delta", "within_question_auroc",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dwell.metrics' has no attribute {name!r}")
    return getattr(import_module(f"dwell.metrics.{_HOMES[name]}"), name)
