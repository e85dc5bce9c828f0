"""Every exception that dwell raises on purpose.

    DwellError
      UsageError (also ValueError)         the caller must change something; the command line
        |                                  prints the message alone and exits with 2
        MissingExtraError (ImportError)    an optional dependency is not installed
      OutOfBudget                          thrown into a strategy at its `yield`
      SpendLimitReached                    a study's cap on newly paid work; the study is paused
      GeneratorError                       a generator could not serve a request
      VerifierError                        a verifier could not score; never turned into a 0
      LedgerError                          a ledger that cannot be read or written
      StrategyError                        a strategy broke the contract (impure, unknown request)

Messages say the rule, then the offender, then the way out.
"""

from __future__ import annotations

from typing import Any


class DwellError(Exception):
    """Base of all errors of this package."""


class UsageError(DwellError, ValueError):
    """The caller must change something; shown without a traceback."""


class MissingExtraError(UsageError, ImportError):
    """An optional dependency is missing."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package `{package}`, which is not installed. "
            f"Install it with: pip install 'dwell[{extra}]'"
        )


class OutOfBudget(DwellError):
    """What was asked for does not fit what is left of a run's budget.

    Attributes:
        kind: the field of `Usage` whose limit was met, for example "output_tokens".
        used: usage of that kind charged so far.
        limit: the limit of that kind.
        partial: what was delivered of the reply before the limit: a tuple of candidates for a
            `Generate`, a list of replies (None where nothing came) for a list of requests.
    """

    def __init__(self, kind: str, used: float, limit: float, partial: Any = ()) -> None:
        super().__init__(f"budget of {kind} met: {used:g} used of {limit:g}")
        self.kind = kind
        self.used = used
        self.limit = limit
        self.partial = partial


class SpendLimitReached(DwellError):
    """The study's hard limit on newly paid work was met; nothing recorded is lost."""


class GeneratorError(DwellError):
    """A generator could not serve a request.

    Attributes:
        retryable: whether the same call may succeed later.
        hopeless: whether every further call would fail now as well, so that a study stops.
    """

    def __init__(self, message: str, *, retryable: bool = False, hopeless: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.hopeless = hopeless


class VerifierError(DwellError):
    """A verifier could not score a candidate."""


class LedgerError(UsageError):
    """A ledger that cannot be opened, read or written."""


class StrategyError(DwellError):
    """A strategy broke the contract: it was impure, or yielded what is not a request."""
