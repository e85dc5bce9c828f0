r"""Where in a text the answer stands, and when two answers are the same.

An answer's canonical form is the same text for the same answer, so that votes count it once: a
half whether written 0.5, 1/2 or \frac{1}{2}; a letter; an exact answer without case and spacing;
a program without its layout and comments.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from dwell.keys import canonical_json
from dwell.records import Answer

#: Longer texts are no answers to check; they are also what makes algebra slow.
MAX_ANSWER = 400
MAX_CODE = 100_000

_BOX = re.compile(r"(?P<box>\\f?boxed\s*\{|\\fbox\s*\{)|\\.|[{}]", re.DOTALL)
_SAID = re.compile(
    r"\banswer\b[*_]*\s*(?:is\b\s*:?|[:=])[\s*]*(\S[^\n]*)"
    r"|(?<!#)####(?!#)[ \t]*(\S[^\n]*)",
    re.IGNORECASE,
)
_DECIMAL = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_EDGES = " \t\r\n*`$\"'"
_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```\s*$", re.DOTALL | re.MULTILINE)
_LETTER = re.compile(r"^[\s(\[{*\"']*([A-Z])(?:[\s)\]}.:*\"',]|$)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
_FRACTION = re.compile(r"([+-]?)\s*\\[dt]?frac\s*\{?\s*(\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?")


def boxed(text: str) -> str | None:
    r"""What the last whole ``\boxed{...}`` or ``\fbox{...}`` holds; None where there is none.

    Braces are balanced as LaTeX does it: an escaped one is a character. A box that was cut off or
    left empty says nothing, so that the one before it counts, as in math-verify (lm-eval has no
    answer then).

    Examples:
        >>> boxed(r"so \boxed{\frac{1}{2}}."), boxed(r"\boxed{1}, or \boxed{2"), boxed("no")
        ('\\frac{1}{2}', '1', None)
    """
    return _last_box(text) or None


def _last_box(text: str) -> str | None:
    """What the last box holds that holds anything; "" where none does, None without a box."""
    last, found = -1, None
    opened: list[int] = []  # where a box begins, or -1 for another brace
    for mark in _BOX.finditer(text):
        if mark["box"]:
            opened.append(mark.end())
            found = found or ""
        elif mark[0] == "{":
            opened.append(-1)
        elif mark[0] == "}" and opened:
            begin = opened.pop()
            if begin > last and (inside := text[begin : mark.start()].strip()):
                last, found = begin, inside
    return found


def stated(text: str) -> str | None:
    r"""The answer that a text states: boxed, "answer: X", "#### X", or the text's one line.

    Of several the last counts. None where none is stated, or no box that was begun is whole.
    """
    box = _last_box(text)
    if box is not None:
        return box or None
    if said := _said(text):
        return _bare(said) or None
    lines = [line for line in text.splitlines() if line.strip()]
    return _bare(lines[0]) or None if len(lines) == 1 else None


def _said(text: str) -> str | None:
    """What follows the last "answer:", "answer is", "answer =" or "####" in its line."""
    found = _SAID.findall(text)
    return found[-1][0] or found[-1][1] if found else None


def vote_key(
    completion: str | Mapping[str, Any],
    *,
    as_json: bool = False,
    pattern: re.Pattern[str] | None = None,
) -> Answer:
    r"""What a completion says, equal for equal answers: what votes count where no checker is.

    The first of these that it has:

    1. tool calls: their names and arguments as canonical JSON, in the order of the calls;
    2. with `as_json`, the content as canonical JSON; what is no JSON is no answer;
    3. with `pattern`, the first group of its last match; no match is no answer;
    4. the last whole ``\boxed{...}``; no whole one of those begun is no answer;
    5. what follows the last ``answer:``, ``answer is``, ``answer =`` or ``####`` in its line;
    6. the whole text.

    The last four in the normal form.

    Args:
        completion: a text, or an assistant's message as OpenAI's protocol has it.
        as_json: whether JSON was asked for.
        pattern: with a group.

    Examples:
        >>> vote_key("So it is 6 * 7.\nAnswer: **42.0**")
        '42'
        >>> vote_key('{"b": 1, "a": 2}', as_json=True)
        '{"a":2,"b":1}'
    """
    message = {"content": completion} if isinstance(completion, str) else completion
    if calls := message.get("tool_calls"):
        return _of_calls(calls)
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        return None
    if as_json:
        try:
            return canonical_json(json.loads(content))
        except (ValueError, RecursionError):
            return None
    if pattern is not None:
        found = [match[1] for match in pattern.finditer(content) if match[1] is not None]
        return normal_form(found[-1]) if found else None
    box = _last_box(content)
    return normal_form((_said(content) or content) if box is None else box)


def _of_calls(calls: Any) -> Answer:
    found = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            return None
        arguments = function.get("arguments")
        try:
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        except ValueError:
            return None  # arguments that are no JSON cannot be called
        found.append([function.get("name"), arguments])
    return f"tools:{canonical_json(found)}" if found else None


def normal_form(text: str) -> Answer:
    r"""Lower case, single spaces, no marks around it, no ``\text{}``; a number in one form.

    Examples:
        >>> normal_form(" 1,000.50. "), normal_form("Paris!"), normal_form("-0"), normal_form(" ")
        ('1000.5', 'paris', '0', None)
    """
    plain = " ".join(_unwrapped(text).split()).strip(_EDGES).rstrip(".!")
    plain = _bare(plain.strip(_EDGES))
    if _DECIMAL.fullmatch(plain):
        whole, _, part = plain.replace(",", "").lstrip("+").partition(".")
        sign, digits = ("-" if whole.startswith("-") else ""), whole.lstrip("-").lstrip("0") or "0"
        number = digits + (f".{part.rstrip('0')}" if part.rstrip("0") else "")
        return number if number == "0" else sign + number
    return plain.casefold() or None


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
