"""When two mathematical expressions are the same, by math-verify: the extra `maths`."""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from importlib import import_module
from typing import Any

from dwell.errors import MissingExtraError
from dwell.tasks.answers import MAX_ANSWER, number, plain_text

#: Digits of an exponent beyond which a number is not written out.
MAX_EXPONENT = 4
#: Seconds that reading or comparing one expression may take.
ALGEBRA_SECONDS = 5

#: Words: math-verify would read them as products of letters, and anagrams as equal.
_WORDS = re.compile(r"(?i)(?!(?:sqrt|sinh|cosh|tanh|asin|acos|atan|infty)\b)\b[a-z]{4,}")
_TOWERS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:\^|\*\*)[\s{{(+-]*\d{{{MAX_EXPONENT + 1},}}",  # 2^{12345}
        r"\^\s*[{(]+[^{}()]*\^",  # 2^{3^4}
        r"\^\s*-?(?:\d+|[A-Za-z])\s*\^",  # 2^3^4
        r"\*\*\s*\(*\s*-?\w+\s*\*\*",  # 2**3**4, 2**(3**4)
        rf"\d{{{MAX_EXPONENT + 1},}}\s*!|!\s*!",  # 12345!
    )
)


@lru_cache(maxsize=4096)
def expression(text: str) -> str | None:
    r"""A number in lowest terms, or an expression in math-verify's reading, as text.

    Raises:
        MissingExtraError: math-verify is not installed.
    """
    if (value := number(text)) is not None:
        return value
    read = _read_algebra(text)
    if not read:
        return plain_text(text)
    try:
        worked_out = str(read[0].doit())  # what was read is not yet worked out
    except (AttributeError, ArithmeticError, TypeError, ValueError, RecursionError):
        worked_out = str(read[0])
    return worked_out if len(worked_out) <= MAX_ANSWER else plain_text(text)


@lru_cache(maxsize=4096)
def same_expression(reference: str, answer: str) -> bool:
    """Whether math-verify holds two answers, as texts, for the same.

    Raises:
        MissingExtraError: math-verify is not installed.
    """
    if reference == answer:
        return True
    gold, given = _read_algebra(reference), _read_algebra(answer)
    if not gold or not given:
        return False
    return bool(math_verify().verify(gold, given, timeout_seconds=_patience()))


def _read_algebra(text: str) -> list[Any]:
    text = text[:MAX_ANSWER]
    if _WORDS.search(re.sub(r"\\[A-Za-z]+", " ", text)) or _towers(text):
        return []
    parse = math_verify().parse
    text = re.sub(r"\*\*\s*(-?(?:\d+|[A-Za-z]))", r"^{\1}", text)  # LaTeX has no 2**10
    wrapped = text if "$" in text or "\\boxed" in text else f"${text}$"
    found: list[Any] = parse(wrapped, parsing_timeout=_patience())
    return found or parse(text, parsing_timeout=_patience())


def _towers(text: str) -> bool:
    """Whether a power has a power or a long number as its exponent: no algebra can hold it."""
    return any(pattern.search(text) for pattern in _TOWERS)


def _patience() -> int | None:
    """Seconds of patience; the alarm that keeps them works in the main thread alone."""
    main = threading.current_thread() is threading.main_thread()
    return ALGEBRA_SECONDS if main else None


def math_verify() -> Any:
    """The package math-verify, which takes long to load.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module("math_verify")
    except ImportError as error:
        raise MissingExtraError(
            "The checker `maths` (the checker `number` needs nothing, and knows rational numbers "
            "only)",
            "math-verify",
            "maths",
        ) from error
