"""Test-time-compute strategies by name.

`STRATEGIES` maps a name to its class; `make` builds one from parameters, `parse` from one line of
text such as ``beam:n=16,m=4,verifier=process``. A strategy asks (`dwell.requests`) and chooses; it
knows nothing of generators, verifiers, ledgers or clocks.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_type_hints

from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.strategies.accepting import AbstainingMajority, FirstAccepted, VerifierThreshold
from dwell.strategies.adaptive import AdaptiveConsistency, EarlyStopping, MarginalGain, Ppr
from dwell.strategies.branching import AdaptiveBranching
from dwell.strategies.parallel import BestOfN, Majority, Sample, WeightedMajority
from dwell.strategies.particle import ParticleFilter
from dwell.strategies.planned import Planned
from dwell.strategies.pool_allocation import PoolAllocation
from dwell.strategies.pool_vote import PoolVote
from dwell.strategies.sequential import BudgetForcing, Revision
from dwell.strategies.tree import Beam, RebaseSearch

__all__ = [
    "STRATEGIES",
    "AbstainingMajority",
    "AdaptiveBranching",
    "AdaptiveConsistency",
    "Beam",
    "BestOfN",
    "BudgetForcing",
    "EarlyStopping",
    "FirstAccepted",
    "Majority",
    "MarginalGain",
    "ParticleFilter",
    "Planned",
    "PoolAllocation",
    "PoolVote",
    "Ppr",
    "RebaseSearch",
    "Revision",
    "Sample",
    "VerifierThreshold",
    "WeightedMajority",
    "kind_of",
    "make",
    "parse",
]

STRATEGIES: Mapping[str, type[Strategy]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Sample,
            Majority,
            WeightedMajority,
            BestOfN,
            AdaptiveConsistency,
            EarlyStopping,
            Ppr,
            MarginalGain,
            VerifierThreshold,
            FirstAccepted,
            AbstainingMajority,
            PoolVote,
            PoolAllocation,
            Beam,
            RebaseSearch,
            ParticleFilter,
            AdaptiveBranching,
            BudgetForcing,
            Revision,
        )
    }
)

# "name", "name:a=1,b=x" as typed, or "name(a=1,b=x)" as `Strategy.spec` writes it.
_SPEC = re.compile(r"\s*([\w-]+)\s*(?::(.*)|\((.*)\))?\s*", re.DOTALL)


def make(name: str, **params: Any) -> Strategy:
    """A strategy by name, with the given hyper-parameters and defaults for the others.

    Raises:
        UsageError: no strategy has this name, it has no such parameter, or a value is outside its
            range.

    Examples:
        >>> make("beam", n=8).spec()
        'beam(choose=weighted,m=4,n=8,temperature=None,verifier=process)'
    """
    kind = kind_of(name)
    hints = _parameter_types(kind)
    unknown = sorted(set(params) - set(hints))
    if unknown:
        raise UsageError(
            f"`{name}` takes the parameters {', '.join(hints)}, but got {', '.join(unknown)}."
            + _meant(unknown[0], hints)
        )
    return kind(**{key: _widened(value, hints[key]) for key, value in params.items()})


def parse(text: str) -> Strategy:
    """A strategy from a line such as ``beam:n=16,m=4`` or from what `Strategy.spec` wrote.

    Raises:
        UsageError: the line is not of this form, or `make` refuses what it says.

    Examples:
        >>> parse("majority:n=4") == make("majority", n=4)
        True
    """
    found = _SPEC.fullmatch(text)
    if found is None:
        raise UsageError(
            f"A strategy is written as name:parameter=value,..., but got {text!r}. "
            "Write for example beam:n=16,m=4."
        )
    name, inner = found[1], found[2] or found[3] or ""
    if name == Planned.name and "=" not in inner:
        inner = f"file={inner}"
    hints = _parameter_types(kind_of(name))
    params: dict[str, Any] = {}
    for item in filter(str.strip, inner.split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key or key in params:
            raise UsageError(
                f"Parameters are written as name=value, each once, but got {item.strip()!r} in "
                f"{text!r}. Write for example {name}:n=16."
            )
        params[key] = _read(value, hints.get(key))
    return make(name, **params)


def kind_of(name: str) -> type[Strategy]:
    """The class of a strategy by name; `plan` is the one that a plan file makes.

    Raises:
        UsageError: no strategy has this name.
    """
    if name == Planned.name:
        return Planned
    if name not in STRATEGIES:
        raise UsageError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}, but got {name!r}."
            + _meant(name, STRATEGIES)
        )
    return STRATEGIES[name]


def _parameter_types(kind: type[Strategy]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}  # type: ignore[arg-type]


def _meant(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def _widened(value: Any, hint: Any) -> Any:
    """Whole numbers given for real ones become real, so that equal strategies are equal texts."""
    real = float in (get_args(hint) or (hint,))
    return float(value) if real and isinstance(value, int) and value is not True else value


def _read(text: str, hint: Any) -> Any:
    """A value from its text, by the parameter's type; what is no number is left to the checks."""
    kinds = get_args(hint) or (hint,)
    if NoneType in kinds and text.lower() == "none":
        return None
    for number in (int, float):
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                return text
    return text


# A plan file names strategies; the registry knows them all, and so hands over its reader.
Planned.parse = staticmethod(parse)
