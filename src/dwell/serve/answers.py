r"""What a completion says, as a text that is equal for equal answers: what votes count.

The first of these that a completion has:

1. tool calls: their names and arguments as canonical JSON, in the order of the calls;
2. with a JSON response format: the content as canonical JSON; what is no JSON is no answer;
3. what the operator's pattern matches last (its first group); no match is no answer;
4. the last ``\boxed{...}``;
5. what follows the last ``answer:``, ``answer is`` or ``####`` in its line;
6. the whole text, in lower case and with single spaces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dwell.records import Answer

_MARKED = re.compile(r"(?:\banswer\s*(?:is\b:?|:)|####)[ \t]*\**[ \t]*([^\n]+)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_EDGES = " \t\r\n*`$\"'"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def answer_of(
    message: Mapping[str, Any], *, as_json: bool = False, pattern: re.Pattern[str] | None = None
) -> Answer:
    r"""The canonical answer of an assistant's message; None where there is none.

    Args:
        message: in the protocol's form; a text completion as ``{"content": text}``.
        as_json: whether the client asked for JSON.
        pattern: the operator's; a text without a match has no answer.

    Examples:
        >>> answer_of({"content": "So it is 6 * 7.\nAnswer: **42.0**"})
        '42'
        >>> answer_of({"content": '{"b": 1, "a": 2}'}, as_json=True)
        '{"a":2,"b":1}'
    """
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
        return normalised(found[-1]) if found else None
    return _final(content)


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


def _final(text: str) -> Answer:
    boxed = _last_box(text)
    if boxed is not None:
        return normalised(boxed)
    marked = _MARKED.findall(text)
    return normalised(marked[-1] if marked else text)


def _last_box(text: str) -> str | None:
    r"""What stands in the last ``\boxed{}``, braces balanced."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    begin = start + len("\\boxed{")
    depth = 1
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return text[begin:place]
    return None


def normalised(text: str) -> Answer:
    """Lower case, single spaces, no marks at the edges; a number in one form.

    Examples:
        >>> normalised(" 1,000.50. "), normalised("Paris!"), normalised("-0"), normalised(" ")
        ('1000.5', 'paris', '0', None)
    """
    plain = " ".join(text.split()).strip(_EDGES).rstrip(".!").strip(_EDGES)
    if _NUMBER.fullmatch(plain):
        whole, _, part = plain.replace(",", "").lstrip("+").partition(".")
        sign, digits = ("-" if whole.startswith("-") else ""), whole.lstrip("-").lstrip("0") or "0"
        number = digits + (f".{part.rstrip('0')}" if part.rstrip("0") else "")
        return number if number == "0" else sign + number
    return plain.casefold() or None
