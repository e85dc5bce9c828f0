"""`dwell export`: rows of every format, the card, what is kept apart, and what is refused."""

import dataclasses
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

import dwell.exports.exporting as exporting
from dwell.errors import UsageError
from dwell.exports import Options
from dwell.exports.writing import schema_of, writer_of


def test_right_answers_become_rows_of_prompt_and_completion(exported, study_folder):
    rows, card = exported(study_folder, "sft", "--most", "all")
    assert all(set(row) == {"question_id", "prompt", "completion"} for row in rows)
    assert len({(r["question_id"], r["completion"]) for r in rows}) == len(rows)
    counts = card["counts"]
    assert counts["rows"]["written"] == len(rows) == counts["samples"]["kept"]
    assert card["question_ids"] == list(dict.fromkeys(r["question_id"] for r in rows))
    assert card["source"]["kind"] == "study"
    assert len(card["source"]["digest"]) == 32


def test_pairs_are_right_against_wrong(exported, study_folder):
    right = {r["completion"] for r in exported(study_folder, "sft", "--most", "all")[0]}
    rows, _ = exported(study_folder, "dpo", "--most", "3", name="dpo.jsonl")
    most = Counter(row["question_id"] for row in rows)
    assert 0 < max(most.values()) <= 3
    assert all(row["chosen"] in right and row["rejected"] != row["chosen"] for row in rows)


def test_chats_are_lists_of_messages(exported, study_folder):
    rows, _ = exported(study_folder, "kto", "--form", "chat")
    row = rows[0]
    assert [m["role"] for m in row["prompt"] + row["completion"]] == ["user", "assistant"]
    assert {row["label"] for row in rows} == {True, False}


def test_parquet_holds_the_same_rows(exported, dwell, study_folder, tmp_path):
    for kind in ("sft", "dpo", "kto", "prm"):
        rows, _ = exported(study_folder, kind, name=f"{kind}.jsonl")
        out = tmp_path / f"{kind}.parquet"
        assert dwell("export", study_folder, "--to", kind, "--out", out)[0] == 0
        assert pq.read_table(out).to_pylist() == rows


def test_pairs_by_a_verifier_s_scores(exported, searched):
    options = ("--by", "process", "--gap", "0.2", "--most", "5")
    rows, card = exported(searched, "dpo", *options)
    assert rows
    assert card["options"]["by"] is True
    assert card["options"]["gap"] == 0.2


def test_steps_are_labelled_and_texts_shortened_to_what_is_known(exported, searched):
    rows, card = exported(
        searched, "prm", "--steps", "rollouts", "--least", "3", "--threshold", "0.5"
    )
    for row in rows:
        assert len(row["completions"]) == len(row["labels"]) == len(row["values"])
        assert [value > 0.5 for value in row["values"]] == row["labels"]
        assert all(count >= 3 for count in row["rollouts"][:-1])
    assert sum(card["labels"].values()) == sum(len(row["labels"]) for row in rows)


def test_the_same_seed_gives_the_same_file_and_another_another(exported, searched):
    first, card = exported(searched, "sft", "--most", "2", name="a.jsonl")
    again, same = exported(searched, "sft", "--most", "2", name="b.jsonl")
    other, _ = exported(searched, "sft", "--most", "2", "--seed", "1", name="c.jsonl")
    assert first == again != other
    assert card == same


def test_held_out_questions_are_the_same_in_all_formats(exported, searched):
    kept = {}
    for kind in ("sft", "kto"):
        rows, card = exported(searched, kind, "--hold-out", "0.5", name=f"{kind}.jsonl")
        kept[kind] = {row["question_id"] for row in rows}
        assert card["counts"]["questions"]["held out"] > 0
    every = set(exported(searched, "kto", name="all.jsonl")[1]["question_ids"])
    assert kept["sft"] <= kept["kto"] < every


def test_questions_are_chosen_by_tag_or_file(exported, searched, tmp_path):
    _, card = exported(searched, "kto", "--questions", "level=2", name="a.jsonl")
    assert all("/2-" in one for one in card["question_ids"])
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(card["question_ids"][:1]) + "\n")
    _, one = exported(searched, "kto", "--questions", ids, name="b.jsonl")
    assert one["question_ids"] == card["question_ids"][:1]


def test_rows_are_balanced_by_label_and_by_tag(exported, searched):
    for tag in ("label", "task"):
        rows, card = exported(
            searched, "kto", "--most", "all", "--balance", tag, name=f"{tag}.jsonl"
        )
        values = [r["label"] if tag == "label" else r["question_id"].split("/")[0] for r in rows]
        a, b = Counter(values).values()
        assert a == b > 0
        assert card["counts"]["rows"]["written"] == len(rows)


def test_searched_texts_are_taken_when_asked_for(exported, searched):
    plain, _ = exported(searched, "sft", "--most", "all", name="a.jsonl")
    every, _ = exported(searched, "sft", "--most", "all", "--continued", name="b.jsonl")
    assert {r["completion"] for r in plain} < {r["completion"] for r in every}


def test_nothing_is_written_over_without_force(exported, dwell, study_folder, tmp_path):
    exported(study_folder, "sft")
    out = tmp_path / "rows.jsonl"
    before = out.read_bytes()
    code, _, err = dwell("export", study_folder, "--to", "dpo", "--out", out)
    assert (code, out.read_bytes()) == (2, before)
    assert "--force" in err
    assert dwell("export", study_folder, "--to", "dpo", "--out", out, "--force")[0] == 0
    assert out.read_bytes() != before


def test_a_failed_export_leaves_nothing(dwell, study_folder, tmp_path, monkeypatch):
    def broken(*_):
        yield {"question_id": "q", "prompt": "p", "completion": "c"}
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "rows_of", broken)
    for name in ("a.jsonl", "a.parquet"):
        assert dwell("export", study_folder, "--to", "sft", "--out", tmp_path / name)[0] == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("sft", "--out", "x.txt"), ".jsonl or .ndjson or .parquet"),
        (("sft", "--out", "no/folder/x.jsonl"), "does not. Make it first"),
        (("sft", "--out", "x.jsonl", "--select", "best"), "needs --by"),
        (("sft", "--out", "x.jsonl", "--gap", "0.1"), "--gap is for dpo with --by"),
        (("sft", "--out", "x.jsonl", "--most", "0"), "at least 1 or `all`"),
        (("sft", "--out", "x.jsonl", "--questions", "what"), "TAG=VALUE"),
        (("sft", "--out", "x.jsonl", "--questions", "size=3"), "has no 'size'"),
        (("sft", "--out", "x.jsonl", "--questions", "level=99"), "not asked for"),
        (("sft", "--out", "x.jsonl", "--balance", "label"), "balanced by a tag"),
        (("sft", "--out", "x.jsonl", "--model", "other"), "Name one of those"),
        (("dpo", "--out", "x.jsonl", "--by", "other"), "verifier of the study"),
        (("sft", "--out", "x.jsonl", "--most", "²"), "at least 1 or `all`"),
        (("sft", "--out", "x.jsonl", "--map", "a=b"), "--map is for sources that are a table"),
        (("sft", "--out", "x.jsonl", "--form", "text", "--reasoning"), "--reasoning is for chats"),
        (("prm", "--out", "x.jsonl", "--form", "chat"), "--form is for sft, dpo and kto"),
        (("inspect", "--out", "logs", "--select", "shortest"), "--select is for rows"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    dwell, study_folder, tmp_path, monkeypatch, args, words
):
    monkeypatch.chdir(tmp_path)
    code, _, err = dwell("export", study_folder, "--to", *args)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_out_is_said(dwell, study_folder, tmp_path):
    _, out, _ = dwell("export", study_folder, "--to", "sft", "--out", tmp_path / "x.jsonl")
    assert "rows for sft" in out
    assert "(the same text again)" in out
    assert "must not be measured on them" in out


def test_a_table_is_exported_as_chats(exported, tmp_path):
    rows = [
        {"question_id": "a", "messages": [{"role": "user", "content": "a?"}], "text": text,
         "correct": text == "yes"}
        for text in ("yes", "no")
    ]  # fmt: skip
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    (row,), card = exported(path, "dpo")
    assert row["prompt"] == rows[0]["messages"]
    assert row["chosen"] == [{"role": "assistant", "content": "yes"}]
    assert card["source"]["file"] == "t.jsonl"


@pytest.mark.parametrize("kind", ["sft", "inspect"])
def test_a_file_is_not_written_over_a_folder_nor_logs_into_a_file(
    dwell, study_folder, tmp_path, kind
):
    if kind == "inspect":
        pytest.importorskip("inspect_ai")
    out = tmp_path / "there.jsonl"
    out.touch() if kind == "inspect" else out.mkdir()
    code, _, err = dwell("export", study_folder, "--to", kind, "--out", out, "--force")
    assert code == 2
    assert "An export needs the name of a" in err


def test_what_is_drawn_while_rows_are_balanced_is_left_out(study_folder, tmp_path):
    class Growing:
        """A source that has nothing when it is read first, as a study at work."""

        reads = 0

        def __call__(self, tally):
            self.reads += 1
            yield from () if self.reads == 2 else opened.read(tally)

    opened = exporting.open_source(study_folder)
    source = dataclasses.replace(opened, read=Growing())
    with pytest.raises(UsageError, match="nothing was left"):
        exporting.export(source, "kto", tmp_path / "x.jsonl", Options(), balance="label")


def test_what_is_no_valid_unicode_is_written_as_json_writes_it(tmp_path):
    writer = writer_of(".jsonl")(
        tmp_path / "x.jsonl", schema_of("sft", chat=False, reasoning=False)
    )
    writer.write({"completion": "a\ud800"})
    writer.close()
    assert json.loads((tmp_path / "x.jsonl").read_text()) == {"completion": "a\ud800"}
