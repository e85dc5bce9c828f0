"""Tables of counts: how many of a question's samples were right, and nothing of each sample.

Enough for coverage, for allocation and for prediction; there are no answers to vote with. The
order of the expanded 0s and 1s means nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dwell.errors import UsageError
from dwell.recordings.arrays import FloatArray, IntArray, Recording, padded_rows
from dwell.recordings.assembling import MOST_CELLS, label_in, labels_of, numbers_and_tags
from dwell.recordings.checking import Faults, recorded
from dwell.recordings.keys import keys_of
from dwell.tables import Table


def is_count_table(table: Table) -> bool:
    """Whether a table has counts in place of samples."""
    counts = all(recorded(table, name) is not None for name in ("n_samples", "n_correct"))
    return counts and recorded(table, "correct") is None


def count_recordings(table: Table, *, skip_bad: bool) -> tuple[list[Recording], Faults]:
    """One recording a run, each row's count as that many right and wrong draws.

    Raises:
        UsageError: a bad row that shall not be skipped, or more draws than fit into memory.
    """
    columns = {name: column for name, column in table.columns.items() if name != "sample_index"}
    columns["sample_index"] = np.zeros(table.num_rows)  # a question must be there once a run
    table = Table(path=table.path, columns=columns, rows=table.rows)
    faults = Faults(table, np.zeros(table.num_rows, dtype=bool))
    samples, right = table["n_samples"], table["n_correct"]
    if samples.dtype == object or right.dtype == object:
        raise UsageError(f"Counts must be numbers, but {table.path} has texts. Mend the table.")
    whole = (samples >= 1) & (samples % 1 == 0)
    faults.add(~whole, "`n_samples` must be a whole number, at least 1", samples)
    known = (right >= 0) & (right <= samples) & (right % 1 == 0)
    faults.add(~known, "`n_correct` must be a whole number from 0 to `n_samples`", right)
    keys = keys_of(table, faults)
    good = faults.good(skip=skip_bad)
    if good is not table:
        keys = keys.take(~faults.bad)
    order = np.lexsort((keys.question, keys.run))
    labels, tags = labels_of(good), numbers_and_tags(good, keys)[1]
    found = []
    for code in np.unique(keys.run):
        part = order[keys.run[order] == code]
        sizes = good["n_samples"][part].astype(np.int64)
        _check_size(table.path, keys.runs[code], sizes)
        present = keys.question[part]
        found.append(
            Recording(
                run=keys.runs[code],
                model=label_in(labels, "model", part) or keys.runs[code],
                dataset=label_in(labels, "dataset", part) or Path(table.path).stem,
                questions=tuple(keys.questions[question] for question in present),
                sizes=sizes,
                correct=_ones_first(good["n_correct"][part].astype(np.int64), sizes),
                tags={name: tuple(values[present]) for name, values in tags.items()},
                rows=padded_rows(np.repeat(good.rows[part], sizes).astype(np.int64), sizes),
            )
        )
    return found, faults


def _check_size(path: str, run: str, sizes: IntArray) -> None:
    if len(sizes) * int(sizes.max()) > MOST_CELLS:
        raise UsageError(
            f"A run's questions times its most draws of a question must be at most {MOST_CELLS}, "
            f"but {run!r} of {path} has {len(sizes)} x {sizes.max()}. Filter the table (--where)."
        )


def _ones_first(right: IntArray, sizes: IntArray) -> FloatArray:
    """`[P, N]` as many ones as were right, then zeros, NaN beyond the size."""
    place = np.arange(sizes.max())
    graded = (place < right[:, None]).astype(np.float64)
    return np.where(place < sizes[:, None], graded, np.nan)
