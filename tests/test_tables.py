"""Tables from files: what is read, what a filter keeps, and how a broken file is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dwell.errors import UsageError
from dwell.tables import factorised, filtered, read_table, table_of

CSV = "id,score,right,note\n007,0.5,true,a\n8,,false,\n9,2,true,b c\n"


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def csv(tmp_path):
    return written(tmp_path / "t.csv", CSV)


def test_numbers_truths_and_texts_are_told_apart(csv):
    table = read_table(csv, text=("id",))
    assert table.num_rows == 3
    assert table["id"].tolist() == ["007", "8", "9"]
    assert np.array_equal(table["score"], [0.5, np.nan, 2.0], equal_nan=True)
    assert table["right"].tolist() == [1.0, 0.0, 1.0]
    assert table["note"].tolist() == ["a", None, "b c"]
    assert table.rows.tolist() == [1, 2, 3]


def test_the_same_table_comes_back_from_every_form(tmp_path, csv):
    expected = read_table(csv, text=("id",))
    records = [
        {"id": "007", "score": 0.5, "right": True, "note": "a"},
        {"id": "8", "score": None, "right": False},
        {"id": "9", "score": 2.0, "right": True, "note": "b c"},
    ]
    lines = written(tmp_path / "t.jsonl", "\n".join(map(json.dumps, records)))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "t.parquet")
    tabs = written(tmp_path / "t.tsv", CSV.replace(",", "\t"))
    for path in (lines, tmp_path / "t.parquet", tabs):
        table = read_table(path, text=("id",))
        assert list(table.columns) == list(expected.columns)
        for name, column in table.columns.items():
            (codes, labels), (known, names) = factorised(column), factorised(expected[name])
            assert codes.tolist() == known.tolist()
            assert labels == names


def test_whole_numbers_too_large_for_a_float_stay_text(tmp_path):
    path = written(tmp_path / "t.csv", f"id,n\n{2**60 + 1},1\n{2**60 + 2},2\n")
    assert read_table(path)["id"].tolist() == [str(2**60 + 1), str(2**60 + 2)]


def test_texts_that_look_like_dates_stay_as_they_are(tmp_path):
    path = written(tmp_path / "t.jsonl", '{"answer": "2024-01-01"}\n{"answer": "2024-01-02"}\n')
    assert read_table(path, text=("answer",))["answer"].tolist() == ["2024-01-01", "2024-01-02"]


def test_json_lines_of_several_types_become_text(tmp_path):
    path = written(tmp_path / "t.jsonl", '{"answer": 7}\n{"answer": "seven"}\n{"answer": 7.0}\n')
    assert read_table(path)["answer"].tolist() == ["7", "seven", "7"]


def test_columns_of_lists_are_not_read_and_are_said_to_be_nested(tmp_path):
    path = written(tmp_path / "t.jsonl", '{"a": 1, "b": [1, 2]}\n')
    table = read_table(path)
    assert table.nested == ("b",)
    with pytest.raises(UsageError, match="`b` of .* is nested"):
        table["b"]


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (["right=true"], [1, 3]),
        (["score=2"], [3]),
        (["score=0.5|2"], [1, 3]),
        (["note=a|b c"], [1, 3]),
        (["right=1", "note=b c"], [3]),
        (["id=8"], [2]),
    ],
)
def test_a_row_must_pass_all_filters(csv, where, rows):
    assert read_table(csv, where=where).rows.tolist() == rows


def test_a_filter_finds_numbers_of_32_bits(tmp_path):
    column = pa.array([0.7, 0.8], pa.float32())
    pq.write_table(pa.table({"temperature": column}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", where=["temperature=0.7"]).rows.tolist() == [1]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("right", "COLUMN=VALUE"),
        ("scor=2", "Did you mean `score`"),
        ("note=zzz", "is one of: a, b c"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(csv, where, message):
    with pytest.raises(UsageError, match=message):
        read_table(csv, where=[where])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", None, "no file"),
        ("t.xlsx", "", "must be one of .parquet, .csv"),
        ("t.csv", "", "cannot be read: Empty CSV"),
        ("t.csv", "a,b\n", "at least one row"),
        ("t.csv", "a,b\n1,2\n3\n", r"Row #3: Expected 2 columns"),
        ("t.csv", "a,b,a\n1,2,3\n", "has a more than once"),
        ("t.jsonl", "", "at least one row"),
        ("t.jsonl", '{"a": 1}\n{"a": \n', "line 2: a line must be JSON"),
        ("t.jsonl", '{"a": 1}\n[2]\n', "line 2: a line must be a JSON object"),
        ("t.parquet", "a,b\n1,2\n", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_table(tmp_path):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        read_table(tmp_path / "x.csv")


def test_codes_follow_the_first_appearance():
    assert factorised(np.array([2.0, np.nan, 1.0, 2.0]))[0].tolist() == [0, -1, 1, 0]
    assert factorised(np.array([2.0, np.nan, 1.5]))[1] == ["2", "1.5"]


def test_records_make_a_table_with_gaps(tmp_path):
    table = table_of(tmp_path / "x", [{"a": 1}, {"a": 2.5, "b": "x"}, {"c": [1]}])
    assert np.array_equal(table["a"], [1, 2.5, np.nan], equal_nan=True)
    assert table["b"].tolist() == [None, "x", None]
    assert table["c"].tolist() == [None, None, "[1]"]
    assert filtered(table, ["b=x"]).rows.tolist() == [2]
