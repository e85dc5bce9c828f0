"""dwell: spend test-time compute where it buys accuracy.

The public names are loaded when first used, so that `import dwell` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dwell.errors import DwellError, OutOfBudget, UsageError
    from dwell.ledger import Ledger
    from dwell.plans import load_plan, plan
    from dwell.protocols import Strategy
    from dwell.records import Candidate, Context, Problem, Usage
    from dwell.replays import replay
    from dwell.requests import Cancel, Emit, Generate, Next, Perturb, Remaining, Run, Start, Verify
    from dwell.results import analyse
    from dwell.study import Solved, Study, solve

__version__ = "0.1.0"

_HOMES = {
    "Cancel": "requests",
    "Candidate": "records",
    "Context": "records",
    "DwellError": "errors",
    "Emit": "requests",
    "Generate": "requests",
    "Ledger": "ledger",
    "Next": "requests",
    "OutOfBudget": "errors",
    "Perturb": "requests",
    "Problem": "records",
    "Remaining": "requests",
    "Run": "requests",
    "Solved": "study",
    "Start": "requests",
    "Strategy": "protocols",
    "Study": "study",
    "Usage": "records",
    "UsageError": "errors",
    "Verify": "requests",
    "analyse": "results",
    "load_plan": "plans",
    "plan": "plans",
    "replay": "replays",
    "solve": "study",
}

__all__ = [
    "Cancel",
    "Candidate",
    "Context",
    "DwellError",
    "Emit",
    "Generate",
    "Ledger",
    "Next",
    "OutOfBudget",
    "Perturb",
    "Problem",
    "Remaining",
    "Run",
    "Solved",
    "Start",
    "Strategy",
    "Study",
    "Usage",
    "UsageError",
    "Verify",
    "__version__",
    "analyse",
    "load_plan",
    "plan",
    "replay",
    "solve",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dwell' has no attribute {name!r}")
    return getattr(import_module(f"dwell.{_HOMES[name]}"), name)
