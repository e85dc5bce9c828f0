"""A study's whole answers as recordings: what its ledger holds, in the form of anybody's samples.

One recording for each model, task and sampling setting. Scores of the study's verifiers are
columns, so that every choice among the draws can be computed without running anything again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.ledger import Ledger
from dwell.protocols import Strategy
from dwell.recordings import Recorded, Recording
from dwell.recordings.arrays import FloatArray, numbered_answers, padded_rows
from dwell.samples import Draws, DrawTable, setting_of
from dwell.strategies.asking import GROUP_VERIFIERS
from dwell.study import Study


def recordings_of(folder: Path | str) -> Recorded:
    """The whole answers that a study's folder holds.

    Repetitions of the study are taken together: they are more draws of the same kind.

    Raises:
        UsageError: the folder holds no study, or no whole answers.
    """
    study = Study.load(folder)
    found = []
    with Ledger(study.ledger_path, read_only=True) as ledger:
        sources = ledger.sources()
        for model in study.spec.models:
            source = next((s for s in sources.values() if s.get("model") == model.name), None)
            if source is not None:
                for task in study.tasks:
                    found += _recordings(study, ledger, source["fingerprint"], model.name, task)
    if not found:
        raise UsageError(
            f"A study must have drawn whole answers to be replayed, but {folder} has none. "
            "Run it with `sample` or `majority` among its strategies."
        )
    mixed = sum(_mixed(recording) for recording in found)
    return Recorded(path=str(folder), recordings=tuple(found), mixed=mixed)


def _recordings(
    study: Study, ledger: Ledger, fingerprint: str, model: str, task: str
) -> list[Recording]:
    """One recording for each sampling setting of the study's strategies that drew something."""
    problems = [problem for problem in study.problems if problem.task == task]
    table = DrawTable(
        ledger, fingerprint, problems, study.tasks[task], study.verifiers,
        (study.spec.seed, study.spec.streams),
    )  # fmt: skip
    settings = _settings(study)
    found = []
    for setting, strategy in settings.items():
        draws = [row for row in table.draws(strategy) if any(len(d.candidates) for d in row)]
        if not draws:
            continue
        name = f"{model} on {task}"
        if len(settings) > 1:
            named = zip(("temperature", "max_tokens"), setting, strict=True)
            name += "".join(f" {k}={v}" for k, v in named if v is not None)
        found.append(_recording(study, table, strategy, draws, (name, model, task)))
    return found


def _settings(study: Study) -> dict[tuple[Any, Any], Strategy]:
    """A strategy for each (temperature, max_tokens) that the study's strategies sample with."""
    return {setting_of(s): s for _, _, s in study.spec.strategies_at()}


def _recording(
    study: Study,
    table: DrawTable,
    strategy: Strategy,
    draws: Sequence[Sequence[Draws]],
    names: tuple[str, str, str],
) -> Recording:
    flat = [[c for one in row for c in one.candidates] for row in draws]
    sizes = np.array([len(row) for row in flat])
    correct = np.concatenate([one.correct for row in draws for one in row]).astype(np.float64)
    labels: dict[str, int] = {}
    answer = np.array(
        [
            -1 if c.answer is None else labels.setdefault(c.answer, len(labels))
            for row in flat
            for c in row
        ]
    )
    codes, texts, values, _ = numbered_answers(answer, list(labels), sizes, correct)
    tokens = np.array([float(c.output_tokens) for row in flat for c in row])
    columns, score_tokens = _scores(study, table, strategy, sizes)
    problems = [row[0].problem for row in draws]
    tags = sorted({name for problem in problems for name in problem.tags})
    return Recording(
        run=names[0],
        model=names[1],
        dataset=names[2],
        questions=tuple(problem.id for problem in problems),
        sizes=sizes,
        correct=padded_rows(correct, sizes),
        codes=padded_rows(codes, sizes),
        values=values,
        texts=texts,
        tokens=padded_rows(tokens, sizes),
        columns=columns,
        score_tokens=score_tokens,
        tags={name: tuple(problem.tags.get(name, "") for problem in problems) for name in tags},
    )


def _scores(
    study: Study, table: DrawTable, strategy: Strategy, sizes: Any
) -> tuple[Mapping[str, FloatArray], Mapping[str, FloatArray]]:
    """`[P, N]` scores and their verifier tokens by verifier: those of single answers."""
    scores: dict[str, FloatArray] = {}
    tokens: dict[str, FloatArray] = {}
    for name, verifier in study.verifiers.items():
        if verifier.oracle or name in GROUP_VERIFIERS:
            continue
        rows = [both for row in table.scored(strategy, verifier) for both in row]
        both = np.concatenate(rows, axis=1)
        if not np.isnan(both[0]).all():
            scores[name] = padded_rows(both[0], sizes)
            tokens[name] = padded_rows(both[1], sizes)
    return scores, tokens


def _mixed(recording: Recording) -> int:
    assert recording.values is not None
    return int(np.sum((recording.values > 0) & (recording.values < 1)))
