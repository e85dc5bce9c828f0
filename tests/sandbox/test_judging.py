"""From bytes to verdicts: equality of values, and what a hostile reply may hold."""

import json

import pytest

from dwell.errors import UsageError
from dwell.sandbox import CallTest, CodeTest, PrintTest, read_tests
from dwell.sandbox.judging import Ended, judged, same, value_from

NAN = float("nan")


def framed(data):
    """A value as the harness sends it."""
    return len(data).to_bytes(4, "big") + data


def verdict(test, **ended):
    """The verdict on one test."""
    given = {"status": "exit 0", "seconds": 0.1, "stdout": b"", "stderr": b"", "said": b""}
    return judged(test, Ended(**{**given, **ended})).verdict


@pytest.mark.parametrize(
    ("expected", "value", "equal"),
    [
        (1, 1.0, True), (0.3, 0.1 + 0.2, True), (0.3, 0.3001, False), ([1, 2], (1, 2), True),
        (True, 1, False), (1, True, False), (NAN, NAN, True), (None, None, True), (0, None, False),
        ("1", 1, False), ({"a": [1.0]}, {"a": (1,)}, True), ({"a": 1}, {"b": 1}, False),
        ({1, 2}, {2, 1}, True), ([1], [1, 2], False), (10**400, 10**400, True),
        (10**400, 1.0, False), (float("inf"), float("inf"), True), (b"x", b"x", True),
    ],
)  # fmt: skip
def test_values_are_the_same_as_python_says_and_floats_nearly(expected, value, equal):
    assert same(expected, value) is equal


def test_values_come_back_from_their_tagged_form():
    tagged = {"l": [{"t": [1, "a"]}, {"d": [[1, {"s": [2]}]]}, {"b": "00ff"}, {"i": "5"}, None]}
    assert value_from(tagged) == [(1, "a"), {1: {2}}, b"\0\xff", 5, None]


@pytest.mark.parametrize(
    "said",
    [
        b"", b"\0\0\0\1", framed(b"{"), framed(b"[1]"), framed(b'{"x": 1}'), framed(b'{"l": 5}'),
        framed(b'{"i": "one"}'), framed(b'{"d": [[{"l": []}, 1]]}'), framed(b"\xff"),
        framed(b'{"l": [' * 50_000), framed(json.dumps({"l": [], "t": []}).encode()),
        framed(b"1" * 5000), framed(b'{"b": "zz"}'), framed(b'"1"'), framed(b"1") + b"1",
    ],
)  # fmt: skip
def test_a_forged_reply_is_no_pass(said):
    assert verdict(CallTest(call="f", returns=1), said=said) in ("error", "failed")


def test_only_the_token_passes_a_test_in_the_program_s_process():
    test = CodeTest(code="pass", together=True)
    assert verdict(test, said=b"+secret", token=b"secret") == "passed"
    assert verdict(test, said=b"+guess", token=b"secret") == "error"
    assert verdict(test, said=b"+", token=b"") == "error"


@pytest.mark.parametrize(
    ("status", "expected"),
    [("timeout", "timeout"), ("memory", "memory"), ("output", "output"), ("signal 24", "timeout"),
     ("signal 11", "error"), ("exit 1", "error")],
)  # fmt: skip
def test_how_it_ended_comes_before_what_it_wrote(status, expected):
    assert verdict(PrintTest(stdout="1"), status=status, stdout=b"1") == expected


def test_tests_have_a_form_as_json():
    text = (
        '["assert 1", {"stdin": "1", "stdout": "2"}, {"call": "f", "args": [1], "returns": null}]'
    )
    kinds = [type(test) for test in read_tests(text)]
    assert kinds == [CodeTest, PrintTest, CallTest]


@pytest.mark.parametrize(
    "text",
    ["", "5", "[]", "[5]", '[{"stdin": "1"}]', '[{"call": "f"}]', '[{"stdout": 5}]',
     '[{"code": "x", "colour": 1}]', '[{"call": "f", "args": 5, "returns": 1}]',
     '[{"call": "f", "kwargs": 5, "returns": 1}]'],
)  # fmt: skip
def test_what_is_no_test_is_said_in_one_line(text):
    with pytest.raises(UsageError) as caught:
        read_tests(text)
    assert "\n" not in str(caught.value)
