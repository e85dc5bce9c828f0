"""Where texts come from: studies, servers and tables, and what each refuses."""

import json

import numpy as np
import pytest

import study_world
from dwell.errors import UsageError
from dwell.exports import Reading, Tally, open_source
from dwell.generators.scripted import Scripted
from dwell.hosted_study import HostedStudy, HostedTask
from dwell.ledger import Ledger
from dwell.records import Draw, Problem
from dwell.strategies import parse
from dwell.study import Study
from dwell.study_recording import recordings_of


def read(source):
    tally = Tally()
    return list(source.read(tally)), tally


# ---- studies -------------------------------------------------------------------------------


def test_a_study_s_texts_are_graded_as_its_recordings_are(study_folder):
    questions, _ = read(open_source(study_folder))
    (recording,) = recordings_of(study_folder).recordings
    assert [q.id for q in questions] == list(recording.questions)
    for p, question in enumerate(questions):
        size = recording.sizes[p]
        assert [s.correct for s in question.samples] == list(recording.correct[p, :size] == 1)
        assert [s.tokens for s in question.samples] == list(recording.tokens[p, :size])
        assert all(s.text.endswith(f"A{s.answer}\n") for s in question.samples)
        assert question.prompt.startswith("C")
        assert not question.chat
    assert {q.tags["split"] for q in questions} == {"test"}


def test_searched_texts_are_whole_and_only_there_when_asked_for(searched):
    plain, _ = read(open_source(searched))
    every, _ = read(open_source(searched, continued=True))
    for few, many in zip(plain, every, strict=True):
        assert all(s.start == 0 and s.free for s in few.samples)
        assert len(few.samples) == 16
        assert {s.text for s in few.samples} <= {s.text for s in many.samples}
    assert any(s.start > 0 and s.free for q in every for s in q.samples) is False
    assert any(s.start > 0 and not s.free for q in every for s in q.samples)
    assert any("W\n" in s.text for q in every for s in q.samples)  # budgets were forced


def test_scores_are_those_that_the_study_recorded_or_derives(searched):
    recordings = recordings_of(searched).recordings
    for name in ("process", "process_weak"):
        questions, _ = read(open_source(searched, by=name))
        found = {q.id: [s.score for s in q.samples] for q in questions}
        for recording in recordings:
            for p, question in enumerate(recording.questions):
                known = recording.columns[name][p, : recording.sizes[p]]
                ours = np.array(found[question])
                # Recordings drop the scores of texts without an answer.
                there = np.isfinite(known)
                assert there.any()
                np.testing.assert_array_equal(ours[there], known[there])


def test_a_study_refuses_unknown_models_and_verifiers(study_folder):
    with pytest.raises(UsageError, match=r"\(coin:0.6\), but got 'other'"):
        open_source(study_folder, model="other")
    with pytest.raises(UsageError, match="verifier of the study"):
        open_source(study_folder, by="strict")


def test_a_study_that_drew_nothing_is_refused(tmp_path):
    study = Study(study_world.spec(), tmp_path)
    with Ledger(study.ledger_path):
        study._write_files()
    with pytest.raises(UsageError, match="must have drawn something"):
        read(open_source(tmp_path))


# ---- servers -------------------------------------------------------------------------------

BODIES = {
    "chatcmpl-1": {"messages": [{"role": "user", "content": "2+2?"}]},
    "chatcmpl-2": {"messages": [{"role": "user", "content": "never labelled"}]},
    "chatcmpl-3": {"messages": [{"role": "user", "content": "x"}], "tools": [{}]},
}


def serve_folder(folder, bodies=BODIES, *, record=True):
    """What a server leaves behind: three draws a request."""
    with Ledger(folder / "ledger.db") as ledger:
        source = ledger.put_source("m", {"name": "m"})
        for number, (name, body) in enumerate(bodies.items()):
            context = body if record else None
            key = ledger.put_key(bytes([number]), source, "generate", [], f"{name}/0", context)
            for i, (text, status) in enumerate([("4", "end"), ("5", "end"), ("off", "failed")]):
                stats = {"answer": text}
                ledger.put_draw(key, i, Draw(text=text, status=status, stats=stats))
        ledger.commit()
    rows = [
        {"question_id": name, "sample_index": i, "correct": i == 0}
        for name in ("chatcmpl-1", "chatcmpl-3")
        for i in range(2)
    ]
    lines = "\n".join(map(json.dumps, rows))
    (folder / "labelled.jsonl").write_text(lines + "\n", encoding="utf-8")
    return folder


def test_a_server_s_labelled_requests_are_questions(tmp_path):
    source = open_source(serve_folder(tmp_path))
    (question,), tally = read(source)
    assert question.messages == BODIES["chatcmpl-1"]["messages"]
    assert question.chat
    assert question.prompt == "2+2?"
    assert [(s.text, s.correct, s.answer) for s in question.samples] == [
        ("4", True, "4"), ("5", False, "5")
    ]  # fmt: skip
    assert tally.questions["not labelled"] == 1
    assert tally.questions["with tools, which rows of text do not hold"] == 1
    assert tally.samples["failed"] == 1


def test_a_server_without_texts_or_labels_is_refused(tmp_path):
    folder = serve_folder(tmp_path, record=False)
    with pytest.raises(UsageError, match="dwell serve --record"):
        read(open_source(folder))
    with pytest.raises(UsageError, match="--by"):
        open_source(folder, by="score")
    (folder / "labelled.jsonl").unlink()
    with pytest.raises(UsageError, match="/dwell/feedback"):
        open_source(folder)


# ---- tables --------------------------------------------------------------------------------

ROWS = [
    {"question_id": q, "prompt": f"{q}?", "text": f"{q} is {a}", "answer": a, "correct": a == "1",
     "judge": i / 4, "level": q}
    for q in ("a", "b") for i, a in enumerate(["1", "2", "1"])
]  # fmt: skip


def table(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def test_a_table_s_rows_are_samples_with_scores_and_tags(tmp_path):
    source = open_source(table(tmp_path / "t.jsonl", ROWS), by="judge")
    questions, _ = read(source)
    assert [q.id for q in questions] == ["a", "b"]
    assert questions[0].prompt == "a?"
    assert not questions[0].chat
    assert questions[0].tags == {"level": "a"}
    assert [(s.text, s.correct, s.score) for s in questions[0].samples] == [
        ("a is 1", True, 0.0), ("a is 2", False, 0.25), ("a is 1", True, 0.5)
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_table_may_hold_chats(tmp_path, suffix):
    import pyarrow as pa
    import pyarrow.parquet as pq

    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a?"}]
    rows = [{**row, "messages": chat} for row in ROWS]
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        table(path, rows)
    questions, _ = read(open_source(path, reading=Reading(where=["judge=0.25|0.5"])))
    assert [q.messages for q in questions] == [chat, chat]
    assert all(q.chat and q.prompt is None and len(q.samples) == 2 for q in questions)


def test_columns_may_have_other_names_and_references_grade(tmp_path):
    rows = [
        {"id": r["question_id"], "q": r["prompt"], "out": r["text"], "answer": r["answer"],
         "reference": "2"}
        for r in ROWS
    ]  # fmt: skip
    mapping = ["question_id=id", "prompt=q", "text=out"]
    questions, _ = read(
        open_source(table(tmp_path / "t.jsonl", rows), reading=Reading(mapping=mapping))
    )
    assert [s.correct for s in questions[0].samples] == [False, True, False]


@pytest.mark.parametrize(
    ("lack", "words"),
    [
        ("text", "no column `text`, `completion`, `response`"),
        ("prompt", "no column `prompt` or `messages`"),
        ("correct", "must say which are right"),
    ],
)
def test_a_table_that_lacks_something_is_refused_by_name(tmp_path, lack, words):
    rows = [{k: v for k, v in row.items() if k != lack} for row in ROWS]
    with pytest.raises(UsageError, match=words):
        open_source(table(tmp_path / "t.jsonl", rows))


def test_scores_need_no_grades_and_must_be_there(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "correct"} for row in ROWS]
    path = table(tmp_path / "t.jsonl", rows)
    questions, _ = read(open_source(path, by="judge"))
    assert [s.correct for s in questions[0].samples] == [None] * 3
    with pytest.raises(UsageError, match=r"\(judge\), but got 'other'"):
        open_source(path, by="other")


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has neither"):
        open_source(tmp_path)
    with pytest.raises(UsageError, match="`--model` is for studies"):
        open_source(table(tmp_path / "t.jsonl", ROWS), model="m")


def test_what_was_asked_by_a_chat_is_a_chat_with_its_reasoning(tmp_path, monkeypatch):
    def chatting(*_, **__):
        model = study_world.model()
        model.info = {**model.info, "api": "chat", "step_delimiter": "\n\n"}
        return model

    monkeypatch.setattr("dwell.study.make_generator", chatting)
    Study(study_world.spec(), tmp_path).run()
    with Ledger(tmp_path / "ledger.db") as ledger:
        for key in ledger.keys("generate"):
            ledger.put_stats(key.id, 0, {"reasoning": "hmm"})
        ledger.commit()
    for reasoning in (True, False):
        questions, _ = read(open_source(tmp_path, reasoning=reasoning))
        assert all(q.chat and q.separator == "\n\n" for q in questions)
        assert questions[0].samples[0].reasoning == ("hmm" if reasoning else "")


def test_a_question_with_two_prompts_is_left_out_and_counted(tmp_path):
    rows = [{**row, "prompt": f"{row['prompt']} {i}"} for i, row in enumerate(ROWS[:3])]
    rows += ROWS[3:]
    questions, tally = read(open_source(table(tmp_path / "t.jsonl", rows)))
    assert [q.id for q in questions] == ["b"]
    assert tally.questions["with more than one prompt"] == 1


@pytest.mark.parametrize("messages", [[{"content": "no role"}], [{"role": 3, "content": "x"}]])
def test_messages_of_a_table_must_be_messages(tmp_path, messages):
    rows = [{**row, "messages": messages} for row in ROWS]
    with pytest.raises(UsageError, match="row 1: `messages` must be a list of objects"):
        open_source(table(tmp_path / "t.jsonl", rows))


@pytest.mark.parametrize(
    ("info", "asked", "left_out"),
    [
        ({}, "what", {}),
        ({"tools": ["add"]}, "what", {"with tools, which rows of text do not hold": 1}),
        ({}, "what\n<user 0123456789abcdef>", {"with parts that are no text": 1}),
    ],
)
async def test_a_hosted_study_is_a_source_of_what_was_all_text(tmp_path, info, asked, left_out):
    model = Scripted.from_function(lambda c, i, rng: f"{i}\nAnswer: {(8, 7)[i % 2]}", name="m")
    model.info = {"kind": "inspect", "name": "m", **info}
    problem = Problem(id="mine/0", prompt=asked, task="mine", reference="7")
    await HostedStudy(tmp_path).solve(
        problem, parse("majority:n=4"), model, HostedTask("mine"), verifiers={}
    )
    questions, tally = read(open_source(tmp_path))
    assert dict(tally.questions) == left_out
    samples = [s.correct for q in questions for s in q.samples]
    assert samples == ([] if left_out else [False, True, False, True])
