"""Labels of steps: the tasks' truth against their checkers, rollouts against counting."""

import numpy as np
import pytest

from dwell.exports import Rollouts, Sample, Tally, open_source, steps_of, truth_of
from dwell.tasks import get_task


def chain(question, prompt="C47+38*3-29\n"):
    return truth_of(question(prompt=prompt, task="chain", markers=("W\n",)))


def test_steps_are_lines_without_what_divides_them():
    assert steps_of("a\n\nb\n", "\n") == ["a", "b"]
    assert steps_of("a\n\nb c\nd", "\n\n") == ["a", "b c\nd"]


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        (["47+38=85", "85*3=55", "55-29=26", "A26"], [True] * 4),
        (["47+38=75", "75*3=25", "25-29=96", "A96"], [False] * 4),
        (["47+38=85", "85*3=45", "55-29=26", "A26"], [True, False, False, False]),
        (["47+38=85", "85*3=45", "W", "47+38=85", "A26"], [True, False, True, True, False]),
        (["47+38=85", "what", "55-29=26"], [True, False, False]),
        (["47+38=085", "85*3=55", "55-29=26", "A26", "A26"], [True] * 4 + [False]),
    ],
)
def test_a_step_of_a_chain_is_right_while_its_pass_is(question, lines, labels):
    assert chain(question)(lines) == labels


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        (["25*3=75,7 4 75", "75+4=79,7 79", "79-7=72"], [True] * 3),
        (["25*3=75,7 4 75", "75+4=79,79 7", "79-7=71"], [True, True, False]),
        (["25*3=75,7 4", "75+4=79,7 79"], [False, False]),  # the remaining numbers are wrong
        (["3+25=28,7 4 28", "W", "25*3=75,7 4 75"], [False, True, True]),  # 28 leads nowhere
        (["25*3=75"], [False]),  # an end before the end
        (["25*9=225,3 7 4 225"], [False]),  # there is no 9
    ],
)
def test_a_step_of_a_countdown_is_right_while_the_target_can_be_reached(question, lines, labels):
    truth = truth_of(question(prompt="G3 7 25 4>72\n", task="countdown", markers=("W\n",)))
    assert truth(lines) == labels


def test_a_target_out_of_reach_is_found_by_trying_all(question):
    truth = truth_of(question(prompt="G3 7 25 4>72\n", task="countdown"))
    # From 7, 4 and 28: no way leads to 72 (28 + 7 * 4 = 56, (28 - 4) * 7 = 168, ...).
    assert truth(["3+25=28,7 4 28"]) == [False]
    assert truth(["7-4=3,3 25 3"]) == [True]  # 25 * 3 - 3


def test_truth_agrees_with_the_checkers(searched):
    """A last pass is right throughout exactly where the task accepts the text."""
    source = open_source(searched, continued=True)
    seen = {True: 0, False: 0}
    for question in source.read(Tally()):
        truth, task = truth_of(question), get_task(question.task)
        for sample in question.samples:
            lines = steps_of(sample.text, "\n")
            last = max((i for i, line in enumerate(lines) if line == "W"), default=-1)
            labels = truth(lines)[last + 1 :]
            ended = len(labels) == 0 or sample.cut
            if ended or task.name == "chain" and not lines[-1].startswith("A"):
                continue
            if all(labels):
                assert sample.correct
            if task.name == "countdown" and sample.correct:
                assert all(labels)
            seen[all(labels)] += 1
    assert min(seen.values()) > 20


def test_other_tasks_have_no_truth(question):
    assert truth_of(question(task="mine")) is None


# ---- rollouts ------------------------------------------------------------------------------


def draw_text(rng):
    """A two-step text; right with a chance that its first step decides."""
    first = "ab"[rng.random() < 0.5]
    right = rng.random() < {"a": 0.8, "b": 0.25}[first]
    return f"{first}\n{'yes' if right else 'no'}{rng.integers(3)}\n", bool(right)


def test_values_are_the_shares_of_right_completions(question):
    rng = np.random.default_rng(0)
    drawn = [draw_text(rng) for _ in range(500)]
    found = Rollouts([Sample(text=t, correct=c) for t, c in drawn], "\n")
    for first in "ab":
        of_first = [c for t, c in drawn if t.startswith(first)]
        (value, last), (count, _) = found.values(f"{first}\nyes0\n")
        assert (value, count) == (np.mean(of_first), len(of_first))
        assert last == 1.0


def test_values_are_unbiased_for_a_given_prefix():
    rng = np.random.default_rng(1)
    estimates = []
    for _ in range(600):
        drawn = [draw_text(rng) for _ in range(8)]
        found = Rollouts([Sample(text=t, correct=c) for t, c in drawn], "\n")
        value, count = found.values("b\nno0")
        if count[0]:
            estimates.append(value[0])
    error = np.std(estimates, ddof=1) / len(estimates) ** 0.5
    assert abs(np.mean(estimates) - 0.25) < 4 * error


def test_a_search_counts_for_nothing_before_its_last_draw():
    searched = Sample(text="a\nb\nc", correct=True, start=4)  # "b" was chosen by a verifier
    forced = Sample(text="a\nb\nd", correct=True, free=False)
    cut = Sample(text="a\nb\ne", correct=False, cut=True)
    whole = Sample(text="a\nz\nf", correct=False)
    found = Rollouts([searched, forced, cut, whole], "\n")
    # "a\nb" is what it was drawn from, so that it is one of its completions; "a" is not.
    assert found.values("a\nb\nc") == ([0.0, 1.0, 1.0], [1, 1, 1])


def test_labels_by_rollouts_agree_with_the_truth_more_often_than_not(searched, exported):
    options = ("--most", "all", "--least", "2", "--questions", "task=countdown")
    rows, _ = exported(searched, "prm", *options, "--steps", "rollouts", name="a.jsonl")
    exact, _ = exported(searched, "prm", *options, "--steps", "truth", name="b.jsonl")
    truth = {(r["question_id"], tuple(r["completions"])): r["labels"] for r in exact}
    whole = [r for r in rows if (r["question_id"], tuple(r["completions"])) in truth]
    same = [
        a == b
        for r in whole
        for a, b in zip(r["labels"], truth[r["question_id"], tuple(r["completions"])], strict=True)
    ]
    assert len(same) > 20
    assert np.mean(same) > 0.8
