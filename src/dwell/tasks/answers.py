r"""Where in a text the answer stands, and when two answers are the same.

An answer's canonical form is the same text for the same answer, so that votes count it once: a
half whether written 0.5, 1/2 or \frac{1}{2}; a letter; an exact answer without case and spacing;
a program without its layout and comments.
"""

from __future__ import annotations

import ast
import re
import threading
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from typing import Any

from dwell.errors import MissingExtraError

#: Longer texts are no answers; they are also what makes algebra slow.
MAX_ANSWER = 400
MAX_CODE = 100_000
#: Digits of an exponent beyond which a number is not written out.
MAX_EXPONENT = 4
#: Seconds that reading or comparing one expression may take.
ALGEBRA_SECONDS = 5

_SAID = re.compile(
    r"(?:final answer|answer)\s*(?:is\s*:?|:|=)\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE
)
_HASHES = re.compile(r"^####\s*(.+?)\s*$", re.MULTILINE)
_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```\s*$", re.DOTALL | re.MULTILINE)
_LETTER = re.compile(r"^[\s(\[{*\"']*([A-Z])(?:[\s)\]}.:*\"',]|$)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
_FRACTION = re.compile(r"([+-]?)\s*\\[dt]?frac\s*\{?\s*(\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?")

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


def boxed(text: str) -> str | None:
    r"""What the last whole ``\boxed{...}`` holds, braces balanced; None where there is none.

    Examples:
        >>> boxed(r"so \boxed{\frac{1}{2}}.")
        '\\frac{1}{2}'
    """
    for start in reversed([found.end() for found in re.finditer(r"\\f?boxed\s*\{", text)]):
        depth = 1
        for place in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[start:place].strip()
    return None


def stated(text: str) -> str | None:
    r"""The answer that a text states: boxed, "answer: X", "#### X", or the text's one line.

    Of several the last counts. None where none is stated.
    """
    found = boxed(text)
    if found is not None:
        return found or None
    matches = [*_SAID.finditer(text), *_HASHES.finditer(text)]
    if matches:
        last = max(matches, key=lambda match: match.start())
        return _bare(last.group(1)) or None
    lines = [line for line in text.splitlines() if line.strip()]
    return _bare(lines[0]) or None if len(lines) == 1 else None


def _bare(text: str) -> str:
    """A text without emphasis, dollar signs and a full stop around it."""
    text = text.strip().strip("*_` ").removesuffix(".").strip("*_` ")
    for left, right in (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if len(text) > 2 and text.startswith(left) and text.endswith(right):
            text = text[len(left) : -len(right)].strip("$ ")
    return text.strip()


def plain_text(text: str) -> str | None:
    r"""An exact answer: no case, single spaces, no ``\text{}``; None where nothing is left."""
    return " ".join(_unwrapped(text).split()).casefold()[:MAX_ANSWER] or None


def _unwrapped(text: str) -> str:
    return re.sub(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r"\1", text)


def letter(text: str) -> str | None:
    r"""The letter that an answer begins with, such as ``B``, ``(b)`` or ``\text{B}``."""
    text = _unwrapped(text)
    found = _LETTER.match(text if len(text.strip(" ().")) > 1 else text.upper())
    return found.group(1) if found else None


def last_letter(text: str) -> str | None:
    """The letter that a text states; else the one on its last line, if that is all of it."""
    answer = stated(text)
    if answer is not None and (found := letter(answer)) is not None:
        return found
    lines = [line.strip(" *()[].") for line in text.splitlines() if line.strip()]
    return lines[-1].upper() if lines and re.fullmatch(r"[A-Za-z]", lines[-1]) else None


def number(text: str) -> str | None:
    r"""A rational number in lowest terms; None where the text is none.

    Reads 0.50, 1/2, ``\frac{1}{2}``, 1,000, $5, 50% (a half) and 5e-1; no algebra.

    Examples:
        >>> number("0.50"), number(r"-\frac{2}{4}"), number("1,000")
        ('1/2', '-1/2', '1000')
    """
    text = _bare(text[:MAX_ANSWER]).replace("\\$", "").replace("$", "").replace("\\%", "%")
    text = re.sub(r"(?<=\d)(?:,|\\,|\{,\})(?=\d{3}(?:\D|$))", "", text)
    text = text.replace("−", "-").replace("\\!", "").strip()
    percent = text.endswith("%")
    text = text.removesuffix("%").strip()
    if found := _FRACTION.fullmatch(text):
        text = f"{found[1]}{found[2]}/{found[3]}"
    parts = [part.strip() for part in text.split("/")]
    if len(parts) > 2 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    values = [Fraction(part) for part in parts]
    if len(values) == 2 and values[1] == 0:
        return None
    value = values[0] / (values[1] if len(values) == 2 else 1)
    return str(value / 100 if percent else value)


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


def program(text: str) -> str | None:
    """The last fenced block of code, or the whole text if it is Python; None where neither."""
    blocks = _FENCE.findall(text[-MAX_CODE:] + "\n")
    if blocks:
        return same_layout(blocks[-1]) or None
    return same_layout(text) if _tree(text) is not None and text.strip() else None


def same_layout(code: str) -> str:
    """A program without its comments and layout; what is no Python is left as it is."""
    tree = _tree(code)
    try:
        return code.strip() if tree is None else ast.unparse(tree)
    except RecursionError:
        return code.strip()


def _tree(code: str) -> ast.Module | None:
    if len(code) > MAX_CODE:
        return None
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
