"""Checks of hyper-parameters at the public door: rule, offender, way out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dwell.errors import UsageError


def check_int(name: str, value: Any, *, least: int) -> None:
    """Refuse anything but a whole number of at least `least`.

    Raises:
        UsageError: the value is not such a number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(
            f"`{name}` must be a whole number of at least {least}, but got {name}={value!r}. "
            f"Set {name}={least} or more."
        )


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Refuse anything but a finite number in the open or half-open range.

    Raises:
        UsageError: the value is not such a number.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and value > above and value >= least and value < below:
        return
    bounds = [
        text
        for text, given in (
            (f"above {above:g}", above > -math.inf),
            (f"at least {least:g}", least > -math.inf),
            (f"below {below:g}", below < math.inf),
        )
        if given
    ]
    rule = " ".join(["a number", " and ".join(bounds)]).strip()
    raise UsageError(
        f"`{name}` must be {rule}, but got {name}={value!r}. Choose a value in that range."
    )


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """Refuse anything but one of the known words.

    Raises:
        UsageError: the value is none of them.
    """
    if value not in known:
        raise UsageError(f"`{name}` must be one of {', '.join(known)}, but got {name}={value!r}.")


def check_name(name: str, value: Any) -> None:
    """Refuse anything but a text that is not empty.

    Raises:
        UsageError: the value is not a text, or empty.
    """
    if not isinstance(value, str) or not value:
        raise UsageError(f"`{name}` must be a name, but got {name}={value!r}. Write it as text.")


def check_sampling(temperature: Any, max_tokens: Any = None) -> None:
    """Refuse a temperature below 0 or a token cap below 1; None leaves the generator's own.

    Raises:
        UsageError: one of them is out of its range.
    """
    if temperature is not None:
        check_number("temperature", temperature, least=0.0)
    if max_tokens is not None:
        check_int("max_tokens", max_tokens, least=1)
