"""Sample files of lm-eval (`samples_*.jsonl`) as tables of samples: a repeat is a sample.

One line a document and filter: `resps` holds the responses, `filtered_resps` what the filter made
of them, and a metric such as `exact_match` grades the document as a whole. Where there are
several responses and one grade, each response is compared with `target` as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dwell.recordings.checking import TAG_NAMES
from dwell.tables import Table, check_file, json_lines, number_text, table_of

#: Metrics taken where a line does not say which it has.
_METRICS = ("exact_match", "acc", "pass@1", "math_verify", "em")
_FILE_NAME = re.compile(r"samples_(.+?)(_\d{4}-\d\d-\d\dT.*)?")


def is_lm_eval(path: str | Path) -> bool:
    """Whether the first line of a file is one of lm-eval."""
    check_file(path)
    record = next((record for _, record in json_lines(path)), {})
    return "doc_id" in record and ("resps" in record or "filtered_resps" in record)


def lm_eval_table(path: str | Path) -> tuple[Table, list[str]]:
    """The responses of one sample file, and notes on how they were graded.

    Raises:
        UsageError: a line is not JSON.
    """
    stem = Path(path).name.partition(".jsonl")[0]
    named = _FILE_NAME.fullmatch(stem)
    common = {"dataset": named.group(1) if named else stem}
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    num_compared = 0
    for number, line in json_lines(path):
        answers = _answers(line)
        grades, compared = _grades(line, answers)
        num_compared += compared
        doc = line.get("doc") if isinstance(line.get("doc"), dict) else {}
        assert isinstance(doc, dict)
        tags = {name: doc[name] for name in TAG_NAMES if name in doc}
        rows += [number] * len(answers)
        for index, (answer, grade) in enumerate(zip(answers, grades, strict=True)):
            records.append(
                common
                | tags
                | {
                    "question_id": number_text(line["doc_id"]) if "doc_id" in line else None,
                    "run_id": line.get("filter"),
                    "sample_index": index,
                    "answer": answer,
                    "correct": grade,
                }
            )
    notes = []
    if num_compared:
        notes.append(
            f"{num_compared} questions have one grade for several responses; each response was "
            "compared with the target as text."
        )
    return table_of(path, records, rows), notes


def _answers(line: Mapping[str, Any]) -> list[str | None]:
    """The answer of each response: the filtered one where every response has one."""
    raw, filtered = _texts(line.get("resps")), _texts(line.get("filtered_resps"))
    if not raw or (filtered and len(filtered) == len(raw)):
        return filtered or [None]  # likelihoods of choices: one sample, and nothing to vote with
    return raw


def _texts(responses: Any) -> list[str | None]:
    """The generated texts of one request; none for likelihoods or several requests."""
    if isinstance(responses, list) and len(responses) == 1 and isinstance(responses[0], list):
        responses = responses[0]
    if not isinstance(responses, list) or not all(isinstance(r, str) for r in responses):
        return []
    return list(responses)


def _grades(line: Mapping[str, Any], answers: list[str | None]) -> tuple[list[Any], bool]:
    """A grade for each answer, and whether they were compared with the target."""
    names = line.get("metrics") or ()
    metric = next((line[name] for name in (*names, *_METRICS) if name in line), None)
    if isinstance(metric, list) and len(metric) == len(answers):
        return metric, False
    if len(answers) == 1 and metric is not None:
        return [metric], False
    target = line.get("target")
    if target is None:
        return [None] * len(answers), False
    accepted = {
        number_text(one).strip() for one in (target if isinstance(target, list) else [target])
    }
    return [float(a is not None and a.strip() in accepted) for a in answers], True
