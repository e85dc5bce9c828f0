"""The rules of trying again, which every client of the project keeps."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from dwell.generators.endpoint_calls import (
    failure_of_status,
    longest_wait,
    may_pass,
    retry_after_seconds,
)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(status):
    assert may_pass(status)
    assert failure_of_status(status, {}, b"").retryable


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 413, 422])
def test_what_cannot_pass_is_not(status):
    assert not may_pass(status)
    assert not failure_of_status(status, {}, b"").retryable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), (" 0.5 ", 0.5), ("-2", 0.0), ("", None), ("soon", None), ("inf", None)],
)
def test_retry_after_in_seconds(text, seconds):
    assert retry_after_seconds({"Retry-After": text}) == seconds


def test_retry_after_as_a_date():
    then = datetime.now(UTC) + timedelta(seconds=30)
    found = retry_after_seconds({"Retry-After": format_datetime(then, usegmt=True)})
    assert 28 < found <= 30
    assert retry_after_seconds({}) is None


def test_waits_double_up_to_the_longest():
    assert [longest_wait(k, 0.5, 3.0) for k in range(4)] == [0.5, 1.0, 2.0, 3.0]
    assert longest_wait(5000, 0.5, 3.0) == 3.0
