"""The rows of a file of problems: JSON-lines or parquet, columns of lists and objects included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from dwell.errors import UsageError

Row = tuple[int, dict[str, Any]]
"""A row's number in its file, from 1, and its columns by name."""


def rows(path: Path) -> Iterator[Row]:
    """The rows of a file, in order.

    Raises:
        UsageError: there is no such file, its suffix is unknown, or a row is broken.
    """
    if not path.is_file():
        raise UsageError(
            f"A file of problems must exist, but there is no file {path}. Check the path."
        )
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        yield from _json_rows(path)
    elif suffix == ".parquet":
        yield from _parquet_rows(path)
    else:
        raise UsageError(
            f"A file of problems must be .jsonl, .ndjson or .parquet, but got {path}. Convert it, "
            "or give it the right suffix."
        )


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except (ValueError, RecursionError) as error:
                raise UsageError(
                    f"{path} row {number}: a line must be JSON in UTF-8, but this one is not "
                    f"({error}). Mend or delete it."
                ) from error
            if not isinstance(row, dict):
                raise UsageError(
                    f"{path} row {number}: a line must be a JSON object, but this one is a "
                    f"{type(row).__name__}. Mend or delete it."
                )
            yield number, row


def _parquet_rows(path: Path) -> Iterator[Row]:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")  # slow to load
    try:
        table = parquet.ParquetFile(str(path)).read(use_threads=False)
    except (arrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"A file of problems must be whole, but {path} cannot be read: {reason} Write it anew."
        ) from error
    yield from enumerate(table.to_pylist(), start=1)
