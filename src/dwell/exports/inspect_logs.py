"""Logs of Inspect from what was recorded, written by Inspect's own classes.

Of a study there is one log for each model, task and strategy: a sample is a problem, an epoch a
repetition, and every draw and score that the run was given is an event, so that `inspect view`
shows how the answer came about. With `draws` there is one log for each task whose epochs are the
single draws, which any source of texts has, and which `dwell replay` reads back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dwell
from dwell.errors import UsageError
from dwell.exports.exporting import Exported, Watch
from dwell.exports.guarding import Guard
from dwell.exports.inspect_records import Records
from dwell.exports.questions import Question, Source, Tally
from dwell.exports.traces import ReadingLedger, Trace, num_unnamed, traces
from dwell.exports.writing import check_free, whole, write_card
from dwell.protocols import is_right
from dwell.study import Study

#: Samples or events in one log: Inspect holds all of a log in memory while it is written.
MOST = 100_000
#: Of studies that another tool hosts: what their study file cannot name.
UNNAMED = "finished runs of strategies or questions that study.toml does not name"


def export_logs(
    path: Path,
    source: Source,
    out: Path,
    guard: Guard,
    *,
    draws: bool = False,
    model: str | None = None,
    most: int | None = None,
    force: bool = False,
    watch: Watch = lambda done, total: None,
) -> Exported:
    """Write a folder of logs.

    Args:
        path: what `source` was opened from.
        source: from `open_source`.
        out: the folder, made if it is not there.
        guard: which questions.
        draws: one log of single draws instead of one log a strategy; so it is for sources that
            are no studies.
        model: of a study with several.
        most: most draws of a question in a log of draws; None = all.
        force: write into a folder that holds something.
        watch: called with how many logs or questions are done, and of how many.

    Raises:
        MissingExtraError: Inspect is not installed.
        UsageError: nothing to write, or more than fits into a log.
    """
    build = Records()
    check_free(out, force=force, folder=True)
    tally = Tally()
    if draws or source.kind != "study":
        logs = _of_draws(build, source, guard, most, tally, watch)
    else:
        logs = _of_runs(build, path, model, guard, tally, watch)
    names: list[str] = []
    ids: dict[str, None] = {}
    for name, log in logs:
        out.mkdir(exist_ok=True)
        target = out / _file_name(name, names)
        with whole(target) as part:
            build.log.write_eval_log(log, str(part))
        names.append(target.name)
        ids |= dict.fromkeys(str(sample.id) for sample in log.samples)
        tally.rows["written"] += len(log.samples)
    if not names:
        raise UsageError(
            f"Logs must hold something, but {path} has no finished run of these questions"
            f"{''.join(f' (left out: {n:,} {what})' for what, n in tally.notes.items())}. "
            "Run the study first, choose other questions, or add --draws."
        )
    card = {
        "dwell_export": 1,
        "made_by": f"dwell {dwell.__version__}",
        "format": "inspect",
        "source": {"kind": source.kind, **source.about},
        "options": {
            "draws": draws,
            "most": most,
            "hold_out": guard.hold_out,
            "questions": guard.text,
        },
        "counts": tally.as_record(),
        "logs": names,
        "question_ids": list(ids),
    }
    write_card(out, card)
    notes = [f"Left out: {n:,} {what}." for what, n in tally.notes.items()]
    notes.append(f"{len(names)} logs. Look at them: inspect view --log-dir {out}")
    return Exported(path=out, card=card, notes=notes)


def _file_name(label: str, taken: Sequence[str]) -> str:
    """A name for a log that no other has, and that every file system takes."""
    plain = re.sub(r"[^A-Za-z0-9._=-]+", "_", label).strip("_")[:160]
    name, number = f"{plain}.eval", 1
    while name in taken:
        number += 1
        name = f"{plain}_{number}.eval"
    return name


# ---- what goes into logs -------------------------------------------------------------------


def _of_runs(
    build: Records, path: Path, model: str | None, guard: Guard, tally: Tally, watch: Watch
) -> Iterator[tuple[str, Any]]:
    """One log for each task and strategy at a budget."""
    study = Study.load(path)
    spec = next(m for m in study.spec.models if model in (None, m.name))
    total = len(study.spec.strategies_at())
    with ReadingLedger(study.ledger_path) as ledger:
        if unnamed := num_unnamed(study, spec, ledger):
            tally.notes[UNNAMED] += unnamed
        for done, (label, runs) in enumerate(traces(study, spec, ledger), start=1):
            watch(done, total)
            _check_size(sum(len(trace.told) for trace in runs), "events")
            by_task: dict[str, list[Any]] = {}
            for trace in runs:
                question = _question_of(trace)
                if guard.passes(question, tally):
                    tally.samples["read"] += len(trace.draws)
                    right = is_right(study.tasks[trace.problem.task], trace.problem, trace.answer)
                    sample = build.run(trace, question, spec.name, right=right)
                    by_task.setdefault(trace.problem.task, []).append(sample)
            for task, samples in by_task.items():
                strategy = runs[0].strategy
                log = build.whole_log(
                    task, spec.name, samples, label=label, solver=strategy.name,
                    params=strategy.params(),
                    about={
                        "study": study.spec.title, "seed": study.spec.seed,
                        **({"limits": dict(runs[0].limits)} if runs[0].limits else {}),
                    },
                )  # fmt: skip
                yield f"{task}_{spec.name}_{label}", log


def _question_of(trace: Trace) -> Question:
    problem = trace.problem
    messages = [{"role": r, "content": t} for r, t in problem.context().messages]
    return Question(
        id=problem.id, prompt=problem.prompt, messages=messages, chat=True, task=problem.task,
        tags=problem.tags, reference=problem.reference,
    )  # fmt: skip


def _of_draws(
    build: Records,
    source: Source,
    guard: Guard,
    most: int | None,
    tally: Tally,
    watch: Watch,
) -> Iterator[tuple[str, Any]]:
    """One log for each task, whose epochs are draws."""
    model = str(source.about.get("model", "recorded"))
    by_task: dict[str, list[Any]] = {}
    total = 0
    for done, question in enumerate(source.read(tally), start=1):
        watch(done, source.num_questions)
        if not guard.passes(question, tally):
            continue
        tally.note_read(question)
        kept = question.samples[:most]
        total += len(kept)
        _check_size(total, "samples")
        own = by_task.setdefault(question.task or "recorded", [])
        own += [build.draw(question, epoch, one, model) for epoch, one in enumerate(kept, start=1)]
    for task, samples in by_task.items():
        about = {"draws": True, "source": source.kind}
        yield (
            f"{task}_{model}_draws",
            build.whole_log(
                task, model, samples, label="draws", solver="generate", params={}, about=about
            ),
        )


def _check_size(count: int, what: str) -> None:
    if count > MOST:
        raise UsageError(
            f"A log is made in memory, so it holds at most {MOST:,} {what}, but this one would "
            "have more. Choose fewer questions (--questions), or of a log of draws fewer draws "
            "(--most)."
        )
