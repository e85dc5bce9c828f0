"""Descriptions of scripts that name them: equal for equal scripts, in every process.

Python's own hashes and reprs change from process to process; a fingerprint must not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import CodeType, FunctionType
from typing import Any

import numpy as np


def describe(value: Any) -> Any:
    """A JSON-able description of a value that is equal in every process.

    Functions are their code, defaults and what they close over; records are their repr; other
    objects are their type alone.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | np.ndarray):
        return repr(value)
    if is_dataclass(value):
        return repr(value)
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [_describe_code(value.__code__), describe(value.__defaults__), describe(cells)]
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _describe_code(code: CodeType) -> list[Any]:
    return [
        code.co_name,
        code.co_code.hex(),
        [_describe_constant(constant) for constant in code.co_consts],
        list(code.co_names),
    ]


def _describe_constant(constant: object) -> Any:
    if isinstance(constant, CodeType):
        return _describe_code(constant)
    if isinstance(constant, frozenset):  # the order of a set's repr changes from run to run
        return sorted(map(repr, constant))
    return repr(constant)
