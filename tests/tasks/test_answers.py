"""Where an answer stands in a text: one rule for studies and for live votes."""

import json
import re

import pytest

from dwell.tasks.answers import boxed, normal_form, stated, vote_key
from dwell.tasks.checkers import make_checker


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\fbox{3}", "3"),
        (r"\boxed {6}", "6"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{(0, 1\}} or }", r"(0, 1\}"),
        (r"\boxed{a \\} b}", r"a \\"),
        (r"{ \boxed{5}", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{1}, no, \boxed{2", "1"),
        (r"\boxed{4}. It stands in \boxed{}.", "4"),
        (r"\boxed{12", None),
        (r"\boxed{}", None),
        (r"\boxed 7", None),
        ("", None),
    ],
)
def test_the_last_whole_box_counts(text, inside):
    assert boxed(text) == inside


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"First \boxed{1}, then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{f(\text{x})} and \boxed{unfinished", r"f(\text{x})"),
        (r"The answer is 12. So \boxed{1", None),
        ("Answer: 4\nFinal answer: **7**.", "7"),
        ("**Answer**: 4", "4"),
        ("**Answer:**\n4", "4"),
        ("So the answer is $x+1$.", "x+1"),
        ("The answer island", "The answer island"),
        ("work\n#### 42", "42"),
        ("so: #### 42", "42"),
        ("The answer is 6.\n##### Check", "6"),
        ("42", "42"),
        ("some work\nand more", None),
        (r"\boxed{}", None),
        ("", None),
    ],
)
def test_the_last_stated_answer_counts(text, answer):
    assert stated(text) == answer


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        (r"\boxed{\text{Paris}}", "paris"),
        (r"\boxed{1", None),
        ("The answer is 1,234.50.", "1234.5"),
        ("**Answer:** B", "b"),
        ("#### -7", "-7"),
        ("Paris", "paris"),
        ("  PARIS. ", "paris"),
        ("some work\nAnd more", "some work and more"),
        ("   ", None),
        ("", None),
        ("007", "7"),
        ("-0.0", "0"),
    ],
)
def test_votes_count_what_a_text_says(text, key):
    assert vote_key(text) == vote_key({"content": text}) == key


@pytest.mark.parametrize(
    "text", [r"so \boxed{4} or \boxed{9", r"\boxed{12", "Answer: **4.**", "I\n#### x\n", "Lima"]
)
def test_a_study_and_a_live_vote_read_a_text_the_same(text):
    assert vote_key(text) == (None if stated(text) is None else normal_form(stated(text)))


@pytest.mark.parametrize("text", [r"\boxed{4", "So: 4\nor 5", "#### **4.0**", r"\fbox{\text{A}}"])
def test_the_checker_of_live_votes_reads_as_they_do(text):
    checker = make_checker("vote")
    assert checker.extract(text) == vote_key(text)
    assert checker.check(checker.reference("4"), "4")


def test_a_pattern_decides_alone():
    pattern = re.compile(r"^A(\d+)$", re.MULTILINE)
    assert vote_key("1+1=2\nA2\nA3\n", pattern=pattern) == "3"
    assert vote_key(r"\boxed{2}", pattern=pattern) is None


def test_json_is_a_value_and_keeps_its_letters():
    assert vote_key(' {"b": 1.0,\n "a": "X"} ', as_json=True) == '{"a":"X","b":1.0}'
    assert vote_key("It is {}", as_json=True) is None
    assert vote_key("[" * 100_000, as_json=True) is None


def test_tool_calls_are_their_names_and_arguments_in_order():
    calls = [
        {"id": str(k), "function": {"name": name, "arguments": json.dumps({"y": 1, "x": k})}}
        for k, name in enumerate("fg")
    ]
    key = 'tools:[["f",{"x":0,"y":1}],["g",{"x":1,"y":1}]]'
    assert vote_key({"content": "words", "tool_calls": calls}) == key
    assert vote_key({"tool_calls": calls[::-1]}) != key


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
        {"tool_calls": [{"function": "f"}]},
        {"tool_calls": [3]},
        {"content": None},
        {},
    ],
)
def test_what_is_no_answer_has_no_vote(message):
    assert vote_key(message) is None


def test_equal_answers_are_equal_texts():
    assert (
        normal_form("42") == normal_form(" 42.00 ") == normal_form("+42.") == normal_form("$42$")
    )
    assert normal_form("4.2") != normal_form("42")


@pytest.mark.parametrize("part", [r"\boxed{", r"\boxed{}", "{", "answer: ", "\\", "#### ", "* "])
def test_hostile_texts_do_not_take_quadratic_time(part):
    text = part * (200_000 // len(part))
    assert len(vote_key(text) or "") <= len(text)
    assert stated(text + "\n\\boxed{1}") == "1"
