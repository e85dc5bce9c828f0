"""Published tables beside the checkout; tests that read them skip where they are not."""

import csv
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "shared/data/laws"
needs_tables = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the shared data")


def table(name):
    """Columns of a table; numbers as arrays of floats, the rest as text."""
    with (FOLDER / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        try:
            columns[key] = np.array([float(v) if v else np.nan for v in values])
        except ValueError:
            columns[key] = np.array(values)
    return columns


def where(columns, mask):
    return {key: values[mask] for key, values in columns.items()}
