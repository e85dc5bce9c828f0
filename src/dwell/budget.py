"""Limits, and the meter that charges a run.

A limit applies at delivery, in index order, whether a draw came from the ledger or was made
anew: what does not fit is withheld.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dwell.errors import UsageError
from dwell.records import USAGE_KINDS, Usage

(CALLS, PROMPT, CACHED, OUTPUT, VERIFIER, STEPS, RUNS, FLOPS, SECONDS, USD) = range(10)


def check_limits(limits: Mapping[str, float]) -> dict[str, float]:
    """The same limits, after checking their kinds and signs.

    Raises:
        UsageError: an unknown kind, or a negative limit.
    """
    for kind, limit in limits.items():
        if kind not in USAGE_KINDS:
            raise UsageError(
                f"A budget limits one of {', '.join(USAGE_KINDS)}, but got {kind!r}. "
                "Name one of those."
            )
        if not limit >= 0:
            raise UsageError(f"A limit must be at least 0, but got {kind}={limit}. Raise it.")
    return dict(limits)


class Meter:
    """What a run has been charged, against its limits."""

    __slots__ = ("_limits", "amounts")

    def __init__(self, limits: Mapping[str, float] | None = None) -> None:
        self.amounts = [0.0] * len(USAGE_KINDS)
        checked = check_limits(limits or {})
        self._limits = [(USAGE_KINDS.index(k), float(v)) for k, v in checked.items()]

    @property
    def limited(self) -> bool:
        """Whether any kind has a limit."""
        return bool(self._limits)

    def overflow(self, extra: list[float], clock: float) -> tuple[str, float, float] | None:
        """(kind, used, limit) of the first limit that `extra` would pass, else None.

        Args:
            extra: amounts by kind, to be added.
            clock: modelled seconds at which the work would be done.
        """
        for kind, limit in self._limits:
            if kind == SECONDS:
                if clock > limit:
                    return "seconds", self.amounts[SECONDS], limit
            elif self.amounts[kind] + extra[kind] > limit:
                return USAGE_KINDS[kind], self.amounts[kind], limit
        return None

    def add(self, extra: list[float]) -> None:
        """Charge amounts by kind."""
        amounts = self.amounts
        for kind, amount in enumerate(extra):
            if amount:
                amounts[kind] += amount

    def at(self, clock: float) -> None:
        """Move the run's modelled clock forward, in seconds since it began."""
        self.amounts[SECONDS] = max(self.amounts[SECONDS], clock)

    def charged(self) -> Usage:
        """What has been charged so far."""
        return Usage(**dict(zip(USAGE_KINDS, self.amounts, strict=True)))

    def remaining(self) -> Usage:
        """What is left, infinite where there is no limit."""
        left = [math.inf] * len(USAGE_KINDS)
        for kind, limit in self._limits:
            left[kind] = max(0.0, limit - self.amounts[kind])
        return Usage(**dict(zip(USAGE_KINDS, left, strict=True)))
