"""Measures of real recordings against figures known of them; runs only beside the shared data."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dwell.metrics import (
    all_at_k,
    answer_counts,
    answer_entropy,
    best_of_k,
    resample_problems,
    solved_within,
    two_lines,
    within_question_auroc,
)

FOLDER = Path(__file__).parents[3] / "shared/data/samples"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the shared data")
NO_VOTE = ("<none>", "<invalid>", "<conflict>", None)


def columns(file, *names, **where):
    """Columns of a table as `[P, N]` lists, one row a question, in the order of the draws."""
    from pyarrow import parquet

    rows = parquet.read_table(FOLDER / f"{file}.parquet").to_pylist()
    rows = [row for row in rows if all(row[key] == value for key, value in where.items())]
    by_question = {}
    for row in sorted(rows, key=lambda row: (row["sample_index"] or 0, row["turn"] or 0)):
        by_question.setdefault(row["question_id"], []).append(row)
    return [[[row[name] for row in group] for group in by_question.values()] for name in names]


@pytest.fixture(scope="module")
def codet():
    passed, right = columns("codet_humaneval_codegen16b", "tests_passed", "correct")
    return np.array(passed, float), np.array(right, float)


def test_answer_entropy_of_last_letters():
    answers, right = columns("esc_last_letters_gpt35", "answer", "correct")
    answers = [[None if a in NO_VOTE else a for a in row] for row in answers]
    counts, _, _ = answer_counts(answers, right)
    assert np.nanmean(answer_entropy(counts)) == pytest.approx(0.25, abs=0.01)


def test_reliability_of_an_agent():
    (right,) = columns("tau_bench_airline_gpt4o", "correct")
    values = all_at_k(4, np.sum(right, axis=1), [1, 2, 3, 4]).mean(axis=0)
    np.testing.assert_allclose(values, [0.420, 0.273, 0.220, 0.200], atol=5e-4)


def test_rounds_of_an_agent_with_feedback():
    (right,) = columns("intercode_sql_turns", "correct", run_id="ic_sql_multiturn_gpt-4_10_turns")
    first = [row.index(True) + 1 if True in row else np.nan for row in right]
    found = 100 * solved_within(first, np.arange(1, 11)).mean(axis=0)
    expected = [7.1, 10.1, 34.2, 46.5, 59.3, 63.8, 68.2, 70.7, 72.7, 73.7]
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_tests_as_verifier_rank_well_within_questions(codet):
    found = within_question_auroc(*codet)
    mixed = [(y, s) for s, y in zip(*codet, strict=True) if 0 < y.sum() < len(y)]
    assert np.isfinite(found).sum() == len(mixed) == 64
    assert np.nanmean(found) == pytest.approx(np.mean([roc_auc_score(*pair) for pair in mixed]))
    assert np.nanmean(found) == pytest.approx(0.794, abs=5e-4)


def test_over_optimisation_of_tests_is_a_turn(codet):
    """Best of k by tests passed rises to k = 4 and falls after: a peak, not a bend."""
    k = [1, 2, 4, 8, 16, 40, 100]
    curves = best_of_k(*codet, k)
    expected = [21.5, 27.5, 30.9, 29.7, 27.3, 24.5, 21.3]
    np.testing.assert_allclose(100 * curves.mean(axis=0), expected, atol=0.4)
    found = two_lines(k, curves, resample_problems(len(curves)))
    assert found.p_value < 0.05
    assert set(found.breaks) <= {2.0, 4.0, 8.0}
