"""Logs of Inspect and lm-eval, written here in their published forms, read as recordings."""

import json
import zipfile

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.recordings import read_recordings

HEADER = {"version": 2, "eval": {"task": "sums", "model": "openai/gpt-x", "run_id": "r"}}


def sample(id_, epoch, value, answer, **more):
    return {
        "id": id_, "epoch": epoch, "input": "?", "target": "4", "messages": [{"role": "user"}],
        "scores": {
            "match": {"value": value, "answer": answer, "explanation": "because"},
            "strict": {"value": 0, "answer": answer},
        },
        "metadata": {"level": 2, "notes": ["long"]},
        "model_usage": {"openai/gpt-x": {"input_tokens": 9, "output_tokens": 20 + epoch}},
        "total_time": 1.5,
    } | more  # fmt: skip


SAMPLES = [
    sample(1, 1, "C", "4"),
    sample(1, 2, "I", "5"),
    sample("two", 1, "P", None, metadata={"level": 3}),
    sample(
        "two",
        2,
        0.25,
        "4",
        model_usage=None,
        output={"usage": {"output_tokens": 7}},
        metadata={"level": 3},
    ),
]


def as_json(path, samples=SAMPLES):
    path.write_text(json.dumps(HEADER | {"samples": samples}))
    return path


def as_archive(path, samples=SAMPLES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps(HEADER))
        for one in samples:
            name = f"samples/{one['id']}_epoch_{one['epoch']}.json"
            archive.writestr(name, json.dumps(one))
        archive.writestr("header.json", json.dumps(HEADER))
        archive.writestr("summaries.json", "[]")
    return path


@pytest.mark.parametrize(("write", "name"), [(as_json, "log.json"), (as_archive, "log.eval")])
def test_epochs_of_inspect_are_samples(tmp_path, write, name):
    (recording,) = read_recordings(write(tmp_path / name)).recordings
    assert (recording.run, recording.dataset) == ("openai/gpt-x", "sums")
    assert recording.questions == ("1", "two")
    assert recording.correct.tolist() == [[1, 0], [0.5, 0.25]]
    assert recording.texts == (("4", "5"), ("4",))
    assert recording.codes.tolist() == [[0, 1], [-1, 0]]
    assert recording.tokens.tolist() == [[21, 22], [21, 7]]
    assert recording.seconds.tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert set(recording.columns) == {"time_s"}  # graders are not verifiers
    assert recording.tags == {"level": (2.0, 3.0)}


def test_a_level_is_a_tag_even_with_one_sample_a_question(tmp_path):
    path = as_json(tmp_path / "log.json", [SAMPLES[0], SAMPLES[2]])
    (recording,) = read_recordings(path).recordings
    assert recording.tags == {"level": (2.0, 3.0)}


def test_another_scorer_of_inspect_can_be_chosen(tmp_path):
    path = as_json(tmp_path / "log.json")
    (recording,) = read_recordings(path, mapping=["correct=scorer:strict"]).recordings
    assert not recording.correct.any()


def test_a_sample_of_inspect_without_a_score_is_a_bad_row(tmp_path):
    path = as_json(tmp_path / "log.json", [*SAMPLES, sample(3, 1, "C", "4", scores=None)])
    with pytest.raises(UsageError, match="log.json row 5: `correct` must .* it is missing"):
        read_recordings(path)
    assert read_recordings(path, skip_bad=True).skipped == 1


def test_logs_of_older_versions_have_one_score(tmp_path):
    old = {"id": 1, "epoch": 1, "score": {"value": "C", "answer": "4"}}
    (recording,) = read_recordings(as_json(tmp_path / "log.json", [old])).recordings
    assert recording.correct.tolist() == [[1]]
    assert recording.tokens is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", "[]", "with an `eval` record"),
        ("a.json", json.dumps(HEADER), "has none"),
        ("a.eval", "PK", "cannot be read"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_recordings(tmp_path / name)
    assert "\n" not in str(caught.value)


def lm_eval(tmp_path, *lines, name="samples_gsm8k_2026-01-02T03-04-05.678.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def test_repeats_of_lm_eval_are_samples_graded_against_the_target(tmp_path):
    path = lm_eval(
        tmp_path,
        {"doc_id": 0, "target": "4", "resps": [["so 4", "so 5", "?"]], "metrics": ["exact_match"],
         "filtered_resps": [["4", " 5", ""]], "exact_match": 1.0, "filter": "strict",
         "doc": {"level": "easy"}},
        {"doc_id": 1, "target": 7, "resps": [["7", "7 ", "8"]], "exact_match": 1.0,
         "filtered_resps": ["7"], "filter": "strict", "doc": {"level": "hard"}},
    )  # fmt: skip
    recorded = read_recordings(path)
    (recording,) = recorded.recordings
    assert (recording.run, recording.dataset) == ("strict", "gsm8k")
    assert recording.correct.tolist() == [[1, 0, 0], [1, 1, 0]]
    assert recording.codes.tolist() == [[0, 1, -1], [0, 0, 1]]
    assert recording.tags == {"level": ("easy", "hard")}
    assert recorded.notes[0].startswith("2 questions have one grade for several responses")


def test_single_responses_of_lm_eval_keep_their_metric(tmp_path):
    line = {"resps": [["The answer is 4."]], "filtered_resps": ["4."], "target": "4"}
    path = lm_eval(
        tmp_path,
        {"doc_id": 0, "exact_match": 1.0, "filter": "strict"} | line,
        {"doc_id": 0, "exact_match": 0.0, "filter": "flexible"} | line,
    )
    recorded = read_recordings(path)
    assert [r.run for r in recorded.recordings] == ["strict", "flexible"]
    assert [r.correct.tolist() for r in recorded.recordings] == [[[1]], [[0]]]
    assert recorded.recordings[0].texts == (("4.",),)
    assert not recorded.notes


def test_a_grade_for_each_response_of_lm_eval_is_taken(tmp_path):
    path = lm_eval(
        tmp_path,
        {"doc_id": 0, "resps": [["a", "b"]], "filtered_resps": [["a", "b"]], "acc": [0, 1],
         "metrics": ["acc"], "target": "a"},
        name="samples_x.jsonl",
    )  # fmt: skip
    (recording,) = read_recordings(path).recordings
    assert (recording.run, recording.dataset) == ("samples_x", "x")
    assert recording.correct.tolist() == [[0, 1]]


def test_likelihoods_of_choices_are_one_sample_without_an_answer(tmp_path):
    likelihoods = [[["-1.5", "False"]], [["-0.5", "True"]]]
    path = lm_eval(
        tmp_path,
        {"doc_id": 0, "resps": likelihoods, "filtered_resps": [["-1.5", "False"]] * 2,
         "target": 1, "acc": 1.0},
    )  # fmt: skip
    (recording,) = read_recordings(path).recordings
    assert np.array_equal(recording.correct, [[1]])
    assert recording.codes is None


def test_a_bad_line_of_lm_eval_is_named_by_its_number(tmp_path):
    good = {"doc_id": 0, "resps": [["4", "5"]], "filtered_resps": [["4", "5"]], "target": "4"}
    path = lm_eval(tmp_path, good, {"doc_id": 1, "resps": [["4"]], "filtered_resps": ["4"]})
    with pytest.raises(UsageError, match="row 2: `correct` must .* it is missing"):
        read_recordings(path)
