from dataclasses import replace

import numpy as np
import pytest
from plan_world import recording

from dwell.errors import UsageError
from dwell.metrics import answer_counts, vote_at_k
from dwell.plans.evidence import draw_costs, gather
from dwell.plans.options import Probe, fine_ladder, fixed_choices, ladder, score_columns
from dwell.plans.planning import family_of
from dwell.plans.search import menu_of, value
from dwell.strategies import make


def test_votes_in_random_orders_average_to_the_exact_estimate():
    whole = recording(questions=30)
    evidence = gather(whole, repetitions=200)
    right = evidence.outcome(make("majority", n=5)).right
    counts, correct = answer_counts(
        [[str(c) for c in row] for row in whole.codes], (whole.codes == 0)
    )[:2]
    exact = vote_at_k(counts, correct, whole.sizes, [5])[:, 0]
    error = right.std(axis=0) / np.sqrt(len(right))
    assert np.all(np.abs(right.mean(axis=0) - exact) <= 5 * error + 1e-9)


def test_tokens_are_those_of_exactly_the_draws_used():
    evidence = gather(recording(questions=9, draws=16), unit="tokens", repetitions=3)
    found = evidence.outcome(make("adaptive_consistency", n=16))
    each = np.tile([10.0, 30.0, 30.0], 3)
    assert np.allclose(found.cost, found.drawn * each)


def test_dollars_are_tokens_times_the_price():
    whole = recording(questions=3)
    assert np.allclose(draw_costs(whole, "usd", 2.0), whole.tokens * 2e-6)


@pytest.mark.parametrize(("unit", "named"), [("usd", "--usd-per-mtok"), ("seconds", "seconds"),
                                             ("hours", "`unit`")])  # fmt: skip
def test_costs_that_were_not_recorded_are_refused_in_one_line(unit, named):
    with pytest.raises(UsageError, match=named) as refused:
        draw_costs(recording(questions=3), unit)
    assert "\n" not in str(refused.value)


def test_questions_with_fewer_draws_are_left_out_and_counted():
    whole = recording(questions=60)
    sizes = whole.sizes.copy()
    sizes[:2] = 3
    evidence = gather(replace(whole, sizes=sizes))
    assert (evidence.cap, evidence.left_out, evidence.shape[1]) == (8, 2, 58)


def test_the_probe_is_charged_and_its_draws_are_used_again():
    evidence = gather(recording(questions=12), repetitions=4)
    rows = np.arange(12)
    probe = Probe(draws=4, features=("leader_votes",))
    menu = menu_of(evidence, [make("sample", n=1), make("majority", n=8)], probe,
                   probe.cuts(evidence, rows))  # fmt: skip
    cells = np.arange(len(menu.right))
    assert np.allclose(value(menu, 0 * cells, rows)[1], 4)
    right, cost = value(menu, 0 * cells + 1, rows)
    assert np.allclose(cost, 8)
    assert np.allclose(right, evidence.outcome(make("majority", n=8)).right.mean(axis=0))


def test_without_recorded_answers_only_samples_and_scores_are_offered():
    whole = replace(recording(scores="good"), codes=None, values=None, texts=())
    evidence = gather(whole, repetitions=2)
    names = {s.name for s in fixed_choices(evidence, ("score",))}
    assert names == {"sample", "best_of_n"}
    best = evidence.outcome(make("best_of_n", n=8, verifier="score")).right.mean()
    assert best > evidence.outcome(make("sample", n=1)).right.mean()


def test_scores_must_be_recorded():
    assert score_columns(recording(scores="good")) == ("score",)
    with pytest.raises(UsageError, match=r"'judge' \(recorded: score\)"):
        score_columns(recording(scores="good"), ["judge"])


def test_ladders_end_at_the_cap():
    assert ladder(16) == (1, 2, 3, 4, 6, 8, 12, 16)
    assert fine_ladder(13) == (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13)


def test_turns_are_no_independent_samples():
    whole = recording()
    with pytest.raises(UsageError, match="turn=0"):
        gather(replace(whole, turns=np.zeros(whole.correct.shape, int)))


def test_grades_alone_are_nothing_to_choose_by():
    bare = replace(recording(), codes=None, values=None, texts=())
    with pytest.raises(UsageError, match="`answer`"):
        family_of(gather(bare, repetitions=2))
