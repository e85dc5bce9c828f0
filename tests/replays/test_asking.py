"""Words for strategies and bounds, and what a recording must hold for them."""

import numpy as np
import pytest

import replay_world
from dwell.errors import UsageError
from dwell.recordings import Recording
from dwell.replays.asking import asked, budgets_of, split_words
from dwell.strategies import make

GRADES = Recording(
    run="graded", model="m", dataset="d", questions=("q",), sizes=np.array([3]),
    correct=np.array([[1.0, 0.0, 1.0]]), columns={"seconds": np.ones((1, 3))},
)  # fmt: skip


def only(word):
    (one,) = asked(word)
    return one


def test_commas_part_words_and_parameters_stay_with_theirs():
    line = "majority best_of_n:verifier=score,temperature=none;coverage,early_stopping:window=3"
    assert split_words(line) == [
        "majority",
        "best_of_n:verifier=score,temperature=none",
        "coverage",
        "early_stopping:window=3",
    ]


def test_strategies_bounds_and_objects_are_asked_once_each():
    found = asked(["majority,coverage", "majority", make("ppr", delta=0.2)])
    assert [one.label for one in found] == ["majority", "coverage (pass@k)", "ppr (delta=0.2)"]
    assert [one.oracle for one in found] == [False, True, False]


def test_a_word_that_fixes_the_scale_has_that_budget_alone():
    one = only("majority:n=3")
    assert budgets_of(one, replay_world.random_recording(), "all") == (3,)


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [(None, (1, 2, 4, 8, 9)), ("all", tuple(range(1, 10))), ("1,4,99", (1, 4)), ([2], (2,)),
     ("each", (9,))],
)  # fmt: skip
def test_budgets_stay_within_what_was_recorded(budgets, expected):
    assert budgets_of(only("majority"), replay_world.random_recording(), budgets) == expected


@pytest.mark.parametrize("budgets", ["one", "0", "", [-1]])
def test_budgets_that_are_no_counts_are_refused(budgets):
    with pytest.raises(UsageError, match="Budgets are"):
        budgets_of(only("majority"), replay_world.random_recording(), budgets)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("mayority", "Did you mean majority"),
        ("coverage:n=3", "takes no parameters"),
        ("", "needs strategies"),
    ],
)
def test_words_that_mean_nothing_are_refused(word, message):
    with pytest.raises(UsageError, match=message):
        asked(word)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("beam", "`beam` needs step prefixes to continue and single steps, which a recording"),
        ("majority", "votes, so it needs answers"),
        ("best_of_n", "needs a score column, which was not recorded; recorded numbers: seconds"),
        ("best_of_n:verifier=judge", "needs the column 'judge'"),
        ("turns", "needs successive attempts"),
    ],
)
def test_what_was_not_recorded_is_named(word, message):
    with pytest.raises(UsageError, match=message):
        only(word).on(GRADES)


def test_best_of_n_takes_the_column_score_if_no_verifier_is_named():
    found = only("best_of_n").on(replay_world.random_recording())
    assert found.strategy.verifiers() == {"score"}
    assert not found.oracle


def test_choosing_by_the_true_grade_is_an_oracle():
    found = only("best_of_n:verifier=exact").on(GRADES)
    assert found.oracle
