"""Accuracy against compute from recorded draws: estimators, intervals, comparisons.

Pure functions on arrays; they know nothing of strategies, generators or the ledger.
"""

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
from dwell.metrics.estimators import (
    all_at_k,
    at_least_at_k,
    best_of_k,
    expected_draws,
    pass_at_k,
    selection_efficiency,
)
from dwell.metrics.exploration import distinct_pass_at_k, top_correct_at_k
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
from dwell.metrics.voting import answer_counts, vote_at_k
from dwell.metrics.weighted_voting import WeightedVote, answer_codes, weighted_vote_at_k

__all__ = [
    "Interval",
    "Resamples",
    "TestResult",
    "WeightedVote",
    "all_at_k",
    "answer_codes",
    "answer_counts",
    "at_least_at_k",
    "benjamini_hochberg",
    "best_of_k",
    "beta_posterior",
    "bootstrap_interval",
    "clopper_pearson",
    "clustered_standard_error",
    "distinct_pass_at_k",
    "expected_draws",
    "holm",
    "how_many_questions",
    "mcnemar",
    "minimum_detectable_effect",
    "paired_difference",
    "pass_at_k",
    "resample_problems",
    "selection_efficiency",
    "sign_flip",
    "top_correct_at_k",
    "variance_split",
    "vote_at_k",
    "weighted_vote_at_k",
    "wilson",
]
