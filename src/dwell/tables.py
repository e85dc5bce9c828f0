"""Tables of numbers and text, read from parquet, CSV and JSON-lines files as numpy arrays.

What recordings and fits read. A number is a float64 with NaN where it is missing; a text is a
`str`, or None. It knows nothing of what the columns mean.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from dwell.errors import UsageError

IntArray = npt.NDArray[np.int64]
Column = npt.NDArray[Any]

#: Whole numbers beyond this are not exact as float64; such columns (ids, hashes) stay text.
LARGEST_EXACT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns of equal length.

    Attributes:
        path: the file that it came from.
        columns: by name; float64 with NaN for missing (true and false are 1 and 0), or objects
            `str | None`.
        rows: number of each row in its file, the first data row being 1; filters keep it.
        nested: names of the columns of lists or records, which are not read.
    """

    path: str
    columns: dict[str, Column]
    rows: IntArray
    nested: tuple[str, ...] = ()

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def __getitem__(self, name: str) -> Column:
        """One column.

        Raises:
            UsageError: there is none of that name; the nearest is suggested.
        """
        if name not in self.columns:
            raise UsageError(self._lack(name))
        return self.columns[name]

    def _lack(self, name: str) -> str:
        if name in self.nested:
            return f"A column must hold numbers or texts, but `{name}` of {self.path} is nested."
        near = difflib.get_close_matches(name, self.columns, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else " Name one of those."
        known = ", ".join(f"`{column}`" for column in self.columns)
        return f"A column must be in {self.path}, but `{name}` is not; it has {known}.{hint}"

    def take(self, keep: npt.NDArray[Any]) -> Table:
        """The same table with some of its rows, by a mask or by places."""
        columns = {name: column[keep] for name, column in self.columns.items()}
        return replace(self, columns=columns, rows=self.rows[keep])


def read_table(path: str | Path, *, where: Sequence[str] = (), text: Sequence[str] = ()) -> Table:
    """The table in a file; the suffix says of which form it is.

    Args:
        path: `.parquet`, `.csv`, `.tsv`, `.jsonl` or `.ndjson`.
        where: filters `COLUMN=VALUE` or `COLUMN=VALUE|VALUE`; a row must pass them all.
        text: columns to read as text even if they look like numbers (ids, answers).

    Raises:
        UsageError: no such file, an unknown suffix, a broken or empty file, a filter on a column
            that is not there or that no row passes.
    """
    suffix = Path(path).suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        raise UsageError(
            f"A table must be one of {', '.join(_READERS)}, but got {path}. "
            "Convert it, or give it the right suffix."
        )
    check_file(path)
    try:
        raw = reader(str(path), tuple(text))
        table = _from_arrow(str(path), raw, frozenset(text))
    except (pa.ArrowException, OSError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"A table must be a whole {suffix} file, but {path} cannot be read: {first_line} "
            "Mend it there, or write it anew."
        ) from error
    if table.num_rows == 0:
        raise UsageError(
            f"A table must have at least one row, but {path} has none. "
            "Check how it was written, or name another file."
        )
    return filtered(table, where)


def check_file(path: str | Path) -> None:
    """Raise a `UsageError` where there is no file to read."""
    if Path(path).is_dir():
        raise UsageError(f"A table is one file, but {path} is a folder. Name a file in it.")
    if not Path(path).exists():
        raise UsageError(f"A table must exist, but there is no file {path}. Check the path.")


def table_of(
    path: str | Path, records: Sequence[dict[str, Any]], rows: Sequence[int] | None = None
) -> Table:
    """Records as a table: mixed columns become text, missing values NaN or None.

    Args:
        path: where they are from.
        records: one a row.
        rows: their numbers in the file; None counts from 1.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: _from_values([record.get(name) for record in records]) for name in names}
    numbers = np.arange(1, len(records) + 1) if rows is None else np.array(rows, dtype=np.int64)
    return Table(path=str(path), columns=columns, rows=numbers)


def factorised(column: Column) -> tuple[IntArray, list[str]]:
    """Codes of a column's values by first appearance, and the values as text; -1 = missing.

    Examples:
        >>> codes, labels = factorised(np.array(["b", None, "a", "b"], dtype=object))
        >>> codes.tolist(), labels
        ([0, -1, 1, 0], ['b', 'a'])
    """
    if column.dtype != object:
        array = pa.array(column, mask=np.isnan(column))
    else:
        array = pa.array(column, pa.large_string())
    encoded = array.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes, [number_text(label) for label in encoded.dictionary.to_pylist()]


def number_text(value: Any) -> str:
    """A value as text: whole floats as whole numbers, truth values as true and false.

    Examples:
        >>> number_text(7.0), number_text(0.5), number_text(True), number_text(" 7")
        ('7', '0.5', 'true', ' 7')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT:
        return str(int(value))
    return str(value)


# ---- filters -------------------------------------------------------------------------------


def filtered(table: Table, where: Sequence[str]) -> Table:
    """The rows that pass all filters `COLUMN=VALUE|VALUE`.

    Raises:
        UsageError: not of that form, no such column, or no row passes.
    """
    for condition in where:
        name, equals, values = condition.partition("=")
        if not equals or not name:
            raise UsageError(
                f"A filter is COLUMN=VALUE or COLUMN=VALUE|VALUE, but got {condition!r}. "
                "Write for example: --where turn=3"
            )
        column = table[name.strip()]
        kept = table.take(_passes(column, [value.strip() for value in values.split("|")]))
        if kept.num_rows == 0:
            seen = factorised(column)[1]
            some = ", ".join(seen[:8]) + (", ..." if len(seen) > 8 else "")
            raise UsageError(
                f"A filter must leave at least one row, but {condition!r} leaves none of "
                f"{table.path}; `{name.strip()}` is one of: {some}. Correct the filter."
            )
        table = kept
    return table


def _passes(column: Column, values: list[str]) -> npt.NDArray[np.bool_]:
    if column.dtype == object:
        return np.isin(factorised(column)[0], _positions(factorised(column)[1], values))
    numbers = np.array([n for value in values if (n := _number(value)) is not None])
    # A column of 32-bit floats holds 0.7 as its nearest such number.
    found: npt.NDArray[np.bool_] = np.isin(column, [numbers, numbers.astype(np.float32)])
    return found


def _positions(labels: list[str], values: list[str]) -> list[int]:
    return [place for place, label in enumerate(labels) if label in values]


def _number(text: str) -> float | None:
    words = {"true": 1.0, "false": 0.0}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        return None


# ---- files ---------------------------------------------------------------------------------


def _read_parquet(path: str, text: Sequence[str]) -> pa.Table:
    return pyarrow.parquet.ParquetFile(path).read(use_threads=False)


def _read_csv(path: str, text: Sequence[str], delimiter: str = ",") -> pa.Table:
    return pyarrow.csv.read_csv(
        path,
        # One thread: only then does an error say the row's number.
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.large_string() for name in text},
            null_values=["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"],
        ),
    )


def _read_tsv(path: str, text: Sequence[str]) -> pa.Table:
    return _read_csv(path, text, "\t")


def _read_json_lines(path: str, text: Sequence[str]) -> pa.Table:
    try:
        raw = pyarrow.json.read_json(
            path,
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=1 << 25),
            # Named, because texts that look like dates would be read as such.
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema([(name, pa.large_string()) for name in text])
            ),
        )
        absent = [name for name in text if raw[name].null_count == raw.num_rows]
        return raw.drop_columns(absent)
    except pa.ArrowInvalid:
        # A column of several types, or a broken line: the slow way reads the one and names the
        # other.
        records = [record for _, record in json_lines(path)]
    names = dict.fromkeys(name for record in records for name in record)
    return pa.table({name: _arrow_column([r.get(name) for r in records]) for name in names})


def json_lines(path: str | Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """(line number, record) of each line that is not blank.

    Raises:
        UsageError: a line is not a JSON object, or the file is not UTF-8.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UsageError(
                    f"{path} line {number}: a line must be JSON, but this one is not ({error}). "
                    "Mend or delete that line."
                ) from error
            if not isinstance(record, dict):
                raise UsageError(
                    f"{path} line {number}: a line must be a JSON object, but this one is "
                    f"{type(record).__name__}. Mend or delete that line."
                )
            yield number, record


_READERS: dict[str, Callable[[str, Sequence[str]], pa.Table]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}


# ---- columns -------------------------------------------------------------------------------


def _from_arrow(path: str, raw: pa.Table, text: frozenset[str]) -> Table:
    if twice := {name for name in raw.column_names if raw.column_names.count(name) > 1}:
        raise UsageError(
            f"Columns must have different names, but {path} has {', '.join(sorted(twice))} more "
            "than once. Rename or delete one of them."
        )
    columns: dict[str, Column] = {}
    nested = []
    for name, column in zip(raw.column_names, raw.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_nested(column.type):
            nested.append(name)
        else:
            columns[name] = _numpy_column(column, as_text=name in text)
    return Table(
        path=path, columns=columns, rows=np.arange(1, raw.num_rows + 1), nested=tuple(nested)
    )


def _numpy_column(column: pa.ChunkedArray, *, as_text: bool) -> Column:
    kind = column.type
    number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    if pa.types.is_integer(kind) and not as_text and _too_large(column):
        as_text = True
    if as_text and pa.types.is_floating(kind):
        texts = [None if v is None else number_text(v) for v in column.to_pylist()]
        return np.array(texts, dtype=object)
    if (number or pa.types.is_boolean(kind)) and not as_text:
        return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    if pa.types.is_null(kind):
        return np.full(len(column), None, dtype=object)
    found = column if pa.types.is_large_string(kind) else column.cast(pa.large_string())
    empty = pc.equal(found, "")
    found = pc.if_else(empty, pa.scalar(None, pa.large_string()), found)
    array: Column = found.to_numpy(zero_copy_only=False)
    return array


def _too_large(column: pa.ChunkedArray) -> bool:
    extremes = pc.min_max(column).as_py()
    low, high = extremes["min"], extremes["max"]
    return low is not None and max(-low, high) > LARGEST_EXACT


def _from_values(values: list[Any]) -> Column:
    array = _arrow_column(values)
    if pa.types.is_nested(array.type):
        array = pa.array([None if v is None else _as_text(v) for v in values], pa.large_string())
    return _numpy_column(pa.chunked_array([array]), as_text=False)


def _arrow_column(values: list[Any]) -> pa.Array:
    """A column of plain values; of several kinds, or nested in part, it becomes text."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if v is None else _as_text(v) for v in values], pa.large_string())


def _as_text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return number_text(value)
