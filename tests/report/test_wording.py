"""Numbers as text: exact forms at the edges of each unit, and sentences that say what is so."""

from __future__ import annotations

import pytest

from dwell.report.wording import (
    compact,
    interval,
    percent,
    plural,
    seconds,
    signed,
    spent_and_charged,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (7, "7"), (0.8, "0.8"), (999, "999"), (999.4, "999"), (999.6, "1 k"),
        (1000, "1 k"), (1825, "1.82 k"), (999_499, "999 k"), (999_600, "1 M"),
        (3_410_000, "3.41 M"),
        (1.46e9, "1.46 G"), (5e12, "5 T"), (2e15, "2 P"), (7e18, "7 E"), (-2000, "-2 k"),
        (None, "–"), (float("nan"), "–"), (float("inf"), "–"), (True, "–"), ("7", "–"),
    ],
)  # fmt: skip
def test_counts_have_three_digits_and_a_suffix(value: object, text: str) -> None:
    assert compact(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5e-5, "50 µs"), (0.25, "250 ms"), (4.186, "4.19 s"),
        (150, "2.5 min"), (9000, "2.5 h"), (None, "–"),
    ],
)  # fmt: skip
def test_times_have_the_unit_of_their_size(value: object, text: str) -> None:
    assert seconds(value) == text


def test_probabilities_are_percentages_with_one_decimal() -> None:
    assert percent(0.5734) == "57.3%"
    assert percent(None) == "–"
    assert interval(0.4812, 0.66) == "[48.1, 66.0]"
    assert interval(None, 0.66) == "[no interval]"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123, "+12.3"), (-0.04, "−4.0"), (0.0, "0.0"), (-0.0001, "0.0"), (None, "–")],
)
def test_differences_have_a_sign_unless_they_are_zero(value: object, text: str) -> None:
    assert signed(value) == text


def test_nouns_agree_with_their_count() -> None:
    assert plural(1, "failure") == "1 failure"
    assert plural(2000, "draw") == "2,000 draws"


@pytest.mark.parametrize(
    ("charged", "spent", "says"),
    [
        (430, 100, "served 4.3 tokens charged"),
        (1000, 0, "Nothing was generated anew"),
        (101, 100, "Hardly any draw was shared"),
        (90, 100, "0.90 tokens charged for each one spent"),
        (None, 100, "not both recorded"),
    ],
)
def test_sentence_on_cost_fits_the_ratio(charged: object, spent: object, says: str) -> None:
    assert says in spent_and_charged({"tokens_charged": charged, "tokens_spent": spent})
