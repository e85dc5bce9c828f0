"""Logs of Inspect (`.eval` and `.json`) as tables of samples: an epoch is a sample.

An `.eval` file is a zip archive with a header and one JSON file a sample; a `.json` log holds the
same in one object. Only ids, scores, answers, tokens and times are read, no transcripts.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dwell.errors import UsageError
from dwell.recordings.checking import TAG_NAMES
from dwell.tables import Table, table_of

#: Columns of single scorers, so that another one can be chosen: --map correct=scorer:NAME.
SCORER = "scorer:"
#: Inspect's letters: correct, partly correct, incorrect, no answer.
_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}


def inspect_table(path: str | Path) -> Table:
    """The samples of one log.

    Raises:
        UsageError: the file is no such log, is damaged, or holds no samples.
    """
    header, samples = _read_archive(path) if Path(path).suffix == ".eval" else _read_json(path)
    spec = header.get("eval", {})
    common = {"model": spec.get("model"), "dataset": spec.get("task")}
    records = [common | _record(sample) for sample in samples]
    if not records:
        raise UsageError(
            f"A log must hold samples to be replayed, but {path} has none (a header alone, or a "
            "run that was stopped at once). Name another log."
        )
    return table_of(path, records)


def _read_json(path: str | Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    try:
        log = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise UsageError(
            f"A `.json` file must be a log of Inspect, but {path} is not JSON ({error}). "
            "For a table write one record a line, with the suffix .jsonl."
        ) from error
    if not isinstance(log, dict) or "eval" not in log:
        raise UsageError(
            f"A `.json` file must be a log of Inspect with an `eval` record, but {path} is not. "
            "For a table write one record a line, with the suffix .jsonl."
        )
    return log, log.get("samples") or []


def _read_archive(path: str | Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            headers = [n for n in ("header.json", "_journal/start.json") if n in names]
            header = json.loads(archive.read(headers[0])) if headers else {}
            return header, list(_archived(archive, names))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise UsageError(
            f"An `.eval` file must be a whole log of Inspect, but {path} cannot be read: {error}. "
            "Convert it with: inspect log convert --to json"
        ) from error


def _archived(archive: zipfile.ZipFile, names: list[str]) -> Iterator[Mapping[str, Any]]:
    for name in names:
        if name.startswith("samples/") and name.endswith(".json"):
            yield json.loads(archive.read(name))


def _record(sample: Mapping[str, Any]) -> dict[str, Any]:
    """One sample as a row."""
    scores: Mapping[str, Mapping[str, Any]] = sample.get("scores") or {}
    if not scores and sample.get("score"):
        scores = {"score": sample["score"]}  # logs of older versions have one score
    first: Mapping[str, Any] = next(iter(scores.values()), {})
    metadata = sample.get("metadata") or {}
    return {
        "question_id": str(sample.get("id")),
        "sample_index": sample.get("epoch"),
        "correct": _value(first.get("value")),
        "answer": first.get("answer"),
        "tokens": _output_tokens(sample),
        "time_s": sample.get("total_time"),
        **{name: metadata[name] for name in TAG_NAMES if name in metadata},
        **{SCORER + name: _value(score.get("value")) for name, score in scores.items()},
    }


def _value(value: Any) -> Any:
    """A score as a number; what is none stays, and is refused as a grade."""
    return _LETTERS.get(value, value) if isinstance(value, str) else value


def _output_tokens(sample: Mapping[str, Any]) -> float | None:
    usage = list((sample.get("model_usage") or {}).values())
    if not usage:
        usage = [(sample.get("output") or {}).get("usage") or {}]
    known = [one["output_tokens"] for one in usage if one.get("output_tokens") is not None]
    return float(sum(known)) if known else None
