"""What the ledger holds of a study, as arrays, against counts made by hand."""

from math import comb

import numpy as np
import pytest

import study_world
from dwell.curves import panels
from dwell.ledger import Ledger
from dwell.protocols import is_right
from dwell.records import Usage
from dwell.samples import AnswerTable, DrawTable
from dwell.strategies import make
from dwell.study import Study, run_name


@pytest.fixture
def study(study_folder):
    return Study.load(study_folder)


@pytest.fixture
def ledger(study):
    with Ledger(study.ledger_path, read_only=True) as ledger:
        yield ledger


@pytest.fixture
def table(study, ledger):
    return DrawTable(
        ledger, study_world.model().fingerprint, study.problems, study.tasks["chain"],
        study.verifiers, (study.spec.seed, study.spec.streams),
    )  # fmt: skip


def test_draws_come_back_in_order_with_their_answers(study, table):
    draws = table.draws(make("majority", n=4))
    assert [len(row) for row in draws] == [1] * 8
    for problem, (one,) in zip(study.problems, draws, strict=True):
        assert [c.index for c in one.candidates] == list(range(16))
        right = [c.answer == problem.reference for c in one.candidates]
        assert one.correct.tolist() == right


def test_draws_that_only_adaptive_strategies_asked_for_are_left_out_of_curves(
    tmp_path, monkeypatch
):
    """They exist where the first draws disagreed: to average over them would bias every curve."""
    monkeypatch.setattr("dwell.study.make_generator", study_world.model)
    head, _, _ = study_world.TEXT.partition("[[strategies]]")
    both = "".join(
        f'[[strategies]]\nname = "{name}"\nbudgets = [{n}]\n'
        for name, n in (("sample", 1), ("adaptive_consistency", 16))
    )
    study = Study(study_world.spec(head + both), tmp_path)
    study.run()
    with Ledger(study.ledger_path, read_only=True) as ledger:
        first = {row.problem: row.value for row in ledger.answers() if "|sample" in row.run}
    (panel,) = panels(tmp_path)
    (curve,) = (curve for curve in panel.curves if curve.name == "sample")
    right = [is_right(study.tasks["chain"], p, first[p.id]) for p in study.problems]
    assert curve.values[:, 0].tolist() == [float(one) for one in right]


def test_a_single_sample_s_accuracy_is_the_share_of_right_draws(table):
    curve = table.curve(make("sample", n=1), [1, 4])
    shares = [row[0].correct.mean() for row in table.draws(make("sample"))]
    assert np.allclose(curve, np.array([shares, shares]).T)


def test_coverage_is_the_exact_estimator(table):
    curve = table.coverage(make("majority"), [1, 4, 16])
    for row, (one,) in zip(curve, table.draws(make("majority")), strict=True):
        wrong = 16 - int(one.correct.sum())
        assert np.allclose(row, [1 - comb(wrong, k) / comb(16, k) for k in (1, 4, 16)])


def test_best_of_k_by_the_oracle_is_coverage(table):
    budgets = [1, 2, 8]
    best = table.curve(make("best_of_n", verifier="exact"), budgets)
    assert np.allclose(best, table.coverage(make("majority"), budgets))


def test_a_vote_over_all_draws_is_what_the_run_answered(study, table, ledger):
    curve = table.curve(make("majority"), [16])
    names = [[run_name("coin:0.6", make("majority", n=16), p.id, 0)] for p in study.problems]
    answers = AnswerTable(ledger, {p.id: p for p in study.problems}, study.tasks)
    measured = answers.measured(names).correct
    clear = (curve[:, 0] == 0) | (curve[:, 0] == 1)
    assert clear.sum() >= 6
    assert np.array_equal(curve[clear, 0], measured[clear])


def test_budgets_beyond_the_draws_are_not_numbers(table):
    curve = table.curve(make("majority"), [16, 32])
    assert np.isfinite(curve[:, 0]).all()
    assert np.isnan(curve[:, 1]).all()


def test_adaptive_strategies_have_no_exact_estimator(table):
    assert table.curve(make("adaptive_consistency", n=8), [8]) is None


def test_answers_and_charges_by_run(study, ledger):
    answers = AnswerTable(ledger, {p.id: p for p in study.problems}, study.tasks)
    names = [[run_name("coin:0.6", make("majority", n=4), p.id, 0)] for p in study.problems]
    measured = answers.measured([*names, ["never made"]])
    assert np.isfinite(measured.correct[:-1]).all()
    assert np.isnan(measured.correct[-1])
    calls, output = measured.charged[:-1, 0], measured.charged[:-1, 3]
    assert calls.tolist() == [4] * 8
    assert output.tolist() == [4 * 3] * 8
    assert answers.total_tokens(name for (name,) in names) == 8 * 4 * 3


def test_no_answer_is_never_right(study):
    task, problem = study.tasks["chain"], study.problems[0]
    assert is_right(task, problem, problem.reference)
    assert not is_right(task, problem, None)
    assert Usage().tokens == 0
