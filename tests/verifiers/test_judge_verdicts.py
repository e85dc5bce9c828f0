"""Verdicts are read strictly, and what judges are shown cannot be closed from within."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwell.errors import UsageError
from dwell.records import Draw
from dwell.verifiers.judge_prompts import (
    PLACES,
    TEMPLATES,
    check_template,
    fenced,
    mark_for,
    render,
    request_for,
)
from dwell.verifiers.judge_verdicts import (
    prob_true,
    read_preference,
    read_ranking,
    read_score,
    read_yes_no,
    verdict_nats,
)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Score: 10", 10), ("7", 7), ("a critique\n**Score: 4/10**\n\n", 4), ("Rating = 1", 1),
        ("[[8]]", 8), ("Final score: 2.5 out of 10.", 2.5),
    ],
)  # fmt: skip
def test_a_score_is_the_last_line_mapped_to_0_and_1(text, score):
    assert read_score(text) == pytest.approx((score - 1) / 9)


@pytest.mark.parametrize(
    "text",
    ["", "Score: 0", "Score: 11", "-7", "Score: 7\nas I said", "7 or 8", "about 7", "nan", "7/5"],
)
def test_what_is_no_score_is_not_read(text):
    assert read_score(text) is None


def test_a_verdict_in_the_middle_of_a_text_does_not_count():
    assert read_yes_no("Yes\nbut then the sum fails\nNo.") is False
    assert read_yes_no("Verdict: **yes**") is True
    assert read_yes_no("Yes, I think") is None
    assert read_score("Score: 9\n" + "x" * 10_000) is None


def test_preferences_are_letters_alone():
    said = [
        read_preference(text) for text in ("A", "Verdict: B", "[[C]]", "tie.", "Answer A", "D")
    ]
    assert said == ["first", "second", "tie", "tie", "first", None]


def test_a_ranking_names_each_number_once():
    assert read_ranking("thoughts\nRanking: 3 > 1 > 2", 3) == [0.5, 0.0, 1.0]
    assert read_ranking("1 = 2 = 3", 3) == [0.5, 0.5, 0.5]
    for broken in ("3 > 1", "1 > 2 > 2", "1 > 2 > 4", "3, 1, 2", "Ranking: 1 > 2 > 3 maybe"):
        assert read_ranking(broken, 3) is None


@given(st.permutations(range(1, 6)), st.lists(st.sampled_from(">="), min_size=4, max_size=4))
def test_points_of_a_ranking_average_one_half(order, signs):
    text = str(order[0]) + "".join(f" {s} {n}" for s, n in zip(signs, order[1:], strict=True))
    points = read_ranking(text, 5)
    assert np.mean(points) == pytest.approx(0.5)
    assert points[order[0] - 1] == max(points)


def test_prob_true_uses_probabilities_only_where_all_are_known():
    nats = [-math.log(0.6), -math.log(0.2)]
    assert prob_true([True, False], nats) == pytest.approx(0.75)
    assert prob_true([False, False], [nats[1]] * 2) == pytest.approx(0.8)
    assert prob_true([True], nats[:1]) == pytest.approx(0.6)
    assert prob_true([True, False], [0.1, None]) == 0.5
    assert prob_true([True] * 4, [None] * 4) == pytest.approx(5 / 6)


def test_the_deciding_token_is_the_first_only_where_the_text_begins_with_the_verdict():
    stats = {"surprisal": np.array([0.5, 3.0])}
    assert verdict_nats(Draw(text=" Yes.", stats=stats)) == 0.5
    assert verdict_nats(Draw(text="\nYes", stats=stats)) is None
    assert verdict_nats(Draw(text="I say yes", stats=stats)) is None
    assert verdict_nats(Draw(text="Yes")) is None


@given(st.text(), st.text())
def test_no_text_contains_the_mark_of_its_own_fence(problem, answer):
    mark = mark_for([problem, answer])
    assert mark not in problem
    assert mark not in answer
    assert fenced("answer", answer, mark).count(mark) == 2


def test_braces_in_a_candidate_are_not_places():
    shown = render("{problem}|{answer}|{ask}", {"problem": "{ask}", "answer": "{x}", "ask": "?"})
    assert shown == "{ask}|{x}|?"


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_template_has_its_places_and_a_lacking_one_is_refused(kind):
    assert check_template(kind, TEMPLATES[kind])
    assert "last line" in request_for(kind, "ten", prefix=False) or kind == "pointwise"
    for place in PLACES[kind]:
        with pytest.raises(UsageError, match=place):
            check_template(kind, TEMPLATES[kind].replace(f"{{{place}}}", ""))
