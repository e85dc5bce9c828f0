"""Files of rows: JSON-lines or parquet, written beside their name and moved there when whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet

from dwell.errors import UsageError

#: Rows that go to a parquet file together.
BATCH = 5_000
#: What is written beside a file of rows to say where they come from.
CARD = ".card.json"

_MESSAGE = [("role", pa.string()), ("content", pa.string())]
_PLAIN = {"question_id": pa.string(), "prompt": pa.string()}
_STEPS = {
    "completions": pa.list_(pa.string()), "labels": pa.list_(pa.bool_()),
    "labelled_by": pa.string(), "values": pa.list_(pa.float64()),
    "rollouts": pa.list_(pa.int64()),
}  # fmt: skip


class Writer(Protocol):
    """Takes rows."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Take one row."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def check_free(path: Path, *, force: bool, folder: bool = False) -> None:
    """Refuse to write over a file or into a folder that holds something.

    Raises:
        UsageError: it is there, or its folder is not; or it is a folder and shall be a file, or
            the other way round.
    """
    if path.exists() and path.is_dir() != folder:
        wanted, got = ("folder", "file") if folder else ("file", "folder")
        raise UsageError(
            f"An export needs the name of a {wanted}, but {path} is a {got}. Name another --out."
        )
    taken = any(path.iterdir()) if path.is_dir() else path.exists()
    if taken and not force:
        raise UsageError(
            f"An export writes over nothing, but {path} is there already. Name another --out, or "
            "add --force."
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"The folder of an export must exist, but {path.parent} does not. Make it first."
        )


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write under; what was written gets its own name if nothing fails, else goes."""
    part = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def writer_of(suffix: str) -> Callable[[Path, pa.Schema], Writer]:
    """What makes writers of rows of a schema, by the suffix of the file's own name.

    Raises:
        UsageError: an unknown suffix.
    """
    make = _WRITERS.get(suffix.lower())
    if make is None:
        raise UsageError(
            f"Rows are written as {' or '.join(_WRITERS)}, but got {suffix or 'no suffix'}. Give "
            "--out one of those."
        )
    return make


def schema_of(kind: str, *, chat: bool, reasoning: bool) -> pa.Schema:
    """The columns of a format.

    Args:
        kind: "sft", "dpo", "kto" or "prm".
        chat: whether texts are lists of messages.
        reasoning: whether answers carry `reasoning_content`.
    """
    if kind == "prm":
        return pa.schema(_PLAIN | _STEPS)
    said = [*_MESSAGE, ("reasoning_content", pa.string())] if reasoning else _MESSAGE
    asked: pa.DataType = pa.list_(pa.struct(_MESSAGE))
    text: pa.DataType = pa.list_(pa.struct(said))
    if not chat:
        asked = text = pa.string()
    names = ("chosen", "rejected") if kind == "dpo" else ("completion",)
    label = {"label": pa.bool_()} if kind == "kto" else {}
    return pa.schema(
        {"question_id": pa.string(), "prompt": asked} | dict.fromkeys(names, text) | label
    )


class _JsonLines:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        # What is no valid Unicode becomes JSON's own escape of it.
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._names = schema.names

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._rows = schema, list[Mapping[str, Any]]()
        self._writer = pyarrow.parquet.ParquetWriter(path, schema)

    def write(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == BATCH:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()


_WRITERS: dict[str, Callable[[Path, pa.Schema], Writer]] = {
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
    ".parquet": _Parquet,
}


def write_card(path: Path, record: Mapping[str, Any]) -> Path:
    """Write what a reader of an export wants to know beside it."""
    card = path.with_name(path.name + CARD)
    with whole(card) as part:
        part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return card
