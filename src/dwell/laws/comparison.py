"""Several laws on one table, ranked: by information criteria or by held-out error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.fit import Fit
from dwell.laws.law import Law
from dwell.laws.registry import LAWS, law_of
from dwell.laws.rows import find_column, rows_of
from dwell.laws.spaces import space_of

Criterion = Literal["aicc", "bic", "holdout"]

# Distinct rows beyond the parameters that a law needs in a comparison: with one fewer AICc is
# infinite, and a curve through every point says nothing of the points between.
_SPARE = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Fits ranked best first, and the laws left out with the reason.

    Attributes:
        fits: best first.
        scores: of each, the smaller the better; AICc and BIC are less the best one's.
        criterion: "aicc", "bic" or "holdout" (root mean square error).
        left_out: law -> why.
    """

    fits: tuple[Fit, ...]
    scores: tuple[float, ...]
    criterion: str
    left_out: Mapping[str, str]


def candidates(
    data: Mapping[str, Any], x: Mapping[str, str] | None = None, y: str | None = None
) -> list[tuple[Law, Mapping[str, str]]]:
    """All laws that may be chosen automatically and that the table has the columns for.

    Inputs that are mapped must all be used: a table with N and D is not fitted by N alone. A
    single mapped input serves every law with one input, whatever that law calls it. Without a
    mapping, laws that use the most columns come in question only.

    Returns:
        Laws with their mapping of inputs to columns.
    """
    given = dict(x or {})
    found: list[tuple[Law, Mapping[str, str]]] = []
    for law in LAWS.values():
        mapping = given
        if len(given) == len(law.inputs) == 1:
            mapping = {law.inputs[0]: next(iter(given.values()))}
        if not law.automatic or not set(mapping) <= set(law.inputs):
            continue
        try:
            find_column(data, law.target, y)
            rows_of(law, data, space_of("linear"), x=mapping, y=y)
        except UsageError:
            continue
        found.append((law, mapping))
    if given:
        return [pair for pair in found if len(pair[0].inputs) == len(given)] or found
    most = max((len(law.inputs) for law, _ in found), default=0)
    return [pair for pair in found if len(pair[0].inputs) == most]


def compare(
    laws: Sequence[Law | str | tuple[Law, Mapping[str, str]]],
    data: Mapping[str, Any],
    criterion: Criterion = "aicc",
    *,
    holdout: npt.ArrayLike | None = None,
    **options: Any,
) -> Comparison:
    """Fit several laws to one table and rank them.

    Args:
        laws: laws or names, or laws with their mapping of inputs to columns (`candidates`).
        data: columns by name.
        criterion: "aicc", "bic", or "holdout", which needs `holdout`.
        holdout: mask `[n]` of rows to keep out of the fits.
        options: as for `Law.fit`; the same for all.

    Returns:
        `Comparison`; laws that these rows cannot be fitted by, or hardly more rows than
        parameters, are left out, with the reason.

    Raises:
        UsageError: no law could be fitted, or an unknown criterion.
    """
    if criterion not in ("aicc", "bic", "holdout"):
        raise UsageError(f"`criterion` must be aicc, bic or holdout, but got {criterion!r}.")
    if criterion == "holdout" and holdout is None:
        raise UsageError("the criterion `holdout` needs rows to hold out: pass `holdout`.")
    fits, left_out = [], {}
    given = options.pop("x", None)
    options.setdefault("spare", _SPARE)
    for entry in laws:
        law, x = entry if isinstance(entry, tuple) else (entry, given)
        law = law_of(law) if isinstance(law, str) else law
        try:
            fits.append(law.fit(data, x=x, holdout=holdout, **options))
        except UsageError as error:
            left_out[law.name] = str(error)
    if not fits:
        told = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise UsageError(f"none of the laws can be fitted to this table: {told or 'none given'}")
    scores = [_score(fit, criterion) for fit in fits]
    order = np.argsort(scores, kind="stable")
    finite = [score for score in scores if np.isfinite(score)]
    least = min(finite) if finite and criterion != "holdout" else 0.0
    return Comparison(
        fits=tuple(fits[i] for i in order),
        scores=tuple(float(scores[i] - least) for i in order),
        criterion=criterion,
        left_out=left_out,
    )


def _score(fit: Fit, criterion: str) -> float:
    if criterion == "holdout":
        assert fit.holdout is not None
        rmse = fit.holdout.errors.rmse
        return rmse if np.isfinite(rmse) else np.inf
    return fit.aicc if criterion == "aicc" else fit.bic
