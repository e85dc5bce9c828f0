"""Conditions on rows as people type them: `C>1e21`, `recipe=clip|mammut`, `tokens_per_param<=20`.

A name is a column, or an input of a law (then its column, or what it is computed from: C is 6 N D
where no column gives it).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.laws.rows import input_of
from dwell.laws.spaces import BoolArray

_FORM = re.compile(r"^\s*(.+?)\s*(>=|<=|!=|==|=|>|<)\s*(.*?)\s*$")
_NUMERIC: Mapping[str, Callable[[Any, float], Any]] = {
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def condition_mask(
    columns: Mapping[str, Any], text: str, x: Mapping[str, str] | None = None
) -> BoolArray:
    """`[n]`: the rows for which a condition holds.

    Args:
        columns: by name, `[n]` each.
        text: `NAME OP VALUE` with OP one of = != > < >= <=; for = and !=, several values may be
            given as `a|b`.
        x: input -> column, for names that are inputs.

    Raises:
        UsageError: not of that form, no such column, or a comparison of text by size.

    Examples:
        >>> columns = {"params": [1e9, 2e9], "tokens": [1e10, 1e12], "kind": ["a", "b"]}
        >>> condition_mask(columns, "C>1e21").tolist()
        [False, True]
        >>> condition_mask(columns, "kind=a|c").tolist()
        [True, False]
    """
    match = _FORM.match(text)
    if match is None:
        raise UsageError(
            f"a condition has the form COLUMN>VALUE (or = != < >= <=), but got {text!r}."
        )
    name, operator, value = match.groups()
    values = _values(columns, name, x or {})
    if operator in _NUMERIC:
        try:
            bound = float(value)
        except ValueError:
            raise UsageError(f"{text!r} compares with a number, but {value!r} is none.") from None
        if values.dtype == object:
            raise UsageError(f"column `{name}` holds text, which {operator!r} cannot compare.")
        return np.asarray(_NUMERIC[operator](values, bound), np.bool_)
    hit = np.zeros(len(values), np.bool_)
    for option in value.split("|"):
        hit |= _equal(values, option.strip())
    return ~hit if operator == "!=" else hit


def _values(columns: Mapping[str, Any], name: str, x: Mapping[str, str]) -> Any:
    if name not in x and name in columns:
        array = np.asarray(columns[name])
        if array.dtype.kind in "fiub":
            return array.astype(np.float64)
        return array.astype(object)
    return input_of(columns, name, x.get(name))


def _equal(values: Any, option: str) -> BoolArray:
    if values.dtype == object:
        return np.array([str(v) == option for v in values], np.bool_)
    named = {"true": 1.0, "false": 0.0}
    try:
        number = named[option.lower()] if option.lower() in named else float(option)
    except ValueError:
        return np.zeros(len(values), np.bool_)
    return np.asarray(np.isclose(values, number, rtol=1e-12, atol=0.0))


def largest(columns: Mapping[str, Any], text: str) -> BoolArray:
    """`[n]`: the rows with the largest values of a column, as `loss:5`.

    Raises:
        UsageError: not of that form, or no such column of numbers.
    """
    name, colon, count = text.rpartition(":")
    if not colon or not count.strip().isdigit():
        raise UsageError(f"the largest rows are given as COLUMN:NUMBER, but got {text!r}.")
    values = input_of(columns, name.strip(), None)
    mask = np.zeros(len(values), np.bool_)
    if int(count):
        mask[np.argsort(values, kind="stable")[-int(count) :]] = True
    return mask
