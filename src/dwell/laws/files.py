"""Fits as JSON files: everything but the data, so that a later command can answer from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.laws.fit import Errors, Fit, HeldOut, Optimum
from dwell.laws.problem import Objective
from dwell.laws.registry import law_of

FORMAT = 1


def record_of(fit: Fit, *, samples: bool = False) -> dict[str, Any]:
    """A fit as JSON-able objects; infinite and missing numbers are None.

    Args:
        fit: the fit.
        samples: whether to hold the samples and residuals too, from which `fit_of` can answer.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "law": fit.law.name,
        "formula": fit.law.text,
        "params": fit.params,
        "standard_errors": fit.standard_errors,
        "intervals": {name: list(ends) for name, ends in fit.intervals.items()},
        "intervals_from": fit.samples_from,
        "level": fit.level,
        "objective": fit.objective.value,
        "objective_mean": fit.objective.mean,
        "objective_definition": fit.objective.text,
        "loss": fit.objective.loss,
        "delta": fit.objective.delta,
        "space": fit.objective.space,
        "scale": fit.objective.scale,
        "sigma": fit.objective.sigma,
        "num_starts": fit.num_starts,
        "starts_at_best": fit.starts_at_best,
        "converged": fit.converged,
        "optima": [asdict(optimum) for optimum in fit.optima],
        "condition": fit.condition,
        "verdict": fit.verdict,
        "reasons": list(fit.reasons),
        "r2": fit.r2,
        "aicc": fit.aicc,
        "bic": fit.bic,
        "num_rows": fit.num_rows,
        "num_free": fit.num_free,
        "errors": asdict(fit.errors),
        "holdout": None if fit.holdout is None else asdict(fit.holdout.errors),
        "ranges": {name: list(ends) for name, ends in fit.ranges.items()},
        "groups": list(fit.groups),
    }
    if samples:
        record |= {
            "samples": fit.samples.tolist(),
            "residuals": fit.residuals.tolist(),
            "deviance": fit.deviance,
        }
    cleaned: dict[str, Any] = _cleaned(record)
    return cleaned


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _cleaned(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(entry) for entry in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_fit(fit: Fit, path: Path | str) -> None:
    """Write a fit with its samples."""
    text = json.dumps(record_of(fit, samples=True), allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_fit(path: Path | str) -> Fit:
    """Read what `write_fit` wrote.

    Raises:
        UsageError: no such file, or not a fit.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"a fit is a file of `dwell fit --out`, but {path}: {error}.") from None
    if not isinstance(record, dict) or "samples" not in record or "law" not in record:
        raise UsageError(f"{path} holds no fit with samples: write one by `dwell fit --out`.")
    return fit_of(record)


def fit_of(record: Mapping[str, Any]) -> Fit:
    """The fit of a record with samples."""
    names = tuple(record["params"])
    numbers = {key: _number(record[key]) for key in ("condition", "r2", "deviance")}
    held = record["holdout"]
    return Fit(
        law=law_of(record["law"]),
        names=names,
        values=np.array([_number(record["params"][name]) for name in names]),
        samples=np.array(record["samples"], np.float64).reshape(-1, len(names)),
        samples_from=record["intervals_from"],
        level=record["level"],
        objective=Objective(
            text=record["objective_definition"],
            value=_number(record["objective"]),
            mean=_number(record["objective_mean"]),
            loss=record["loss"],
            delta=record["delta"],
            space=record["space"],
            scale=record["scale"],
            sigma=record["sigma"],
        ),
        optima=tuple(Optimum(**optimum) for optimum in record["optima"]),
        num_starts=record["num_starts"],
        starts_at_best=record["starts_at_best"],
        converged=record["converged"],
        residuals=np.array(record["residuals"], np.float64),
        num_free=record["num_free"],
        errors=_errors(record["errors"]),
        holdout=None
        if held is None
        else HeldOut(inputs={}, observed=np.zeros(0), predicted=np.zeros(0), errors=_errors(held)),
        ranges={name: (ends[0], ends[1]) for name, ends in record["ranges"].items()},
        groups=tuple(record["groups"]),
        verdict=record["verdict"],
        reasons=tuple(record["reasons"]),
        problem=None,
        free=np.zeros(0),
        **numbers,
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _errors(record: Mapping[str, Any]) -> Errors:
    numbers = {key: _number(value) for key, value in record.items() if key != "num_rows"}
    return Errors(num_rows=int(record["num_rows"]), **numbers)
