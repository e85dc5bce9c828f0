"""Tables of samples as recordings: what is read, what is refused, what is counted."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.recordings import NO_ANSWER, read_recordings

HEADER = "question_id,sample_index,answer,correct"


@pytest.fixture
def table(tmp_path):
    """Writes rows under a header and reads them as recordings."""

    def read(rows, header=HEADER, **options):
        path = tmp_path / "t.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return read_recordings(path, **options)

    return read


SIX = ["a,0,7,1", "a,1, 8,0", "a,2,7 ,1", "b,1,9,0", "b,0,<none>,0", "b,2,,0"]


def test_rows_become_padded_arrays_in_the_order_of_their_samples(table):
    (recording,) = table([*SIX, "c,0,5,true"]).recordings
    assert recording.run == recording.model == recording.dataset == "t"
    assert recording.questions == ("a", "b", "c")
    assert recording.sizes.tolist() == [3, 3, 1]
    assert recording.codes.tolist() == [[0, 1, 0], [-1, 0, -1], [0, -1, -1]]
    assert recording.texts == (("7", "8"), ("9",), ("5",))
    expected = [[1, 0, 1], [0, 0, 0], [1, np.nan, np.nan]]
    assert np.array_equal(recording.correct, expected, equal_nan=True)
    assert np.array_equal(recording.values, [[1, 0], [0, np.nan], [1, np.nan]], equal_nan=True)
    assert recording.rows.tolist() == [[1, 2, 3], [5, 4, 6], [7, -1, -1]]
    assert recording.turns is None


def test_without_a_sample_index_the_order_of_the_rows_counts(table):
    (recording,) = table(["a,x,1", "b,x,0", "a,y,0"], "question_id,answer,correct").recordings
    assert recording.rows.tolist() == [[1, 3], [2, -1]]


def test_each_run_is_a_recording_with_its_own_questions(table):
    header = "question_id,sample_index,correct,run_id,model,dataset"
    rows = ["a,0,1,r1,m,d", "b,0,0,r1,m,d", "b,0,1,r2,n,d"]
    first, second = table(rows, header).recordings
    assert (first.run, first.model, first.dataset) == ("r1", "m", "d")
    assert (second.run, second.model, second.questions) == ("r2", "n", ("b",))
    assert first.codes is None
    assert first.values is None


def test_runs_go_by_model_where_there_is_no_run_id(table):
    rows = ["a,0,1,m", "a,0,0,n"]
    found = table(rows, "question_id,sample_index,correct,model").recordings
    assert [recording.run for recording in found] == ["m", "n"]


def test_runs_can_be_the_samples_of_one_vote_among_models(table):
    header = "question_id,sample_index,answer,correct,run_id"
    rows = ["a,1,6,0,r1", "a,0,7,1,r1", "a,0,8,0,r2", "b,0,9,1,r2", "a,3,7,1,r3"]
    (recording,) = table(rows, header, runs_as_samples=True).recordings
    assert recording.run == "3 runs of t"
    assert recording.sizes.tolist() == [3, 1]
    assert recording.rows.tolist() == [[2, 3, 5], [4, -1, -1]]
    assert recording.codes.tolist() == [[0, 1, 0], [0, -1, -1]]


def test_numbers_of_draws_are_columns_and_those_of_questions_are_tags(table):
    header = "question_id,correct,tokens,score,level,kind,temperature,limit"
    rows = ["a,1,10,0.5,3,x,0.7,", "a,0,20,,3,x,0.7,t", "b,0,,0.25,4,y,0.7,"]
    (recording,) = table(rows, header).recordings
    assert set(recording.columns) == {"score"}
    assert np.array_equal(recording.columns["score"], [[0.5, np.nan], [0.25, np.nan]], True)
    assert np.array_equal(recording.tokens, [[10, 20], [np.nan, np.nan]], equal_nan=True)
    assert recording.tags == {"level": (3.0, 4.0), "kind": ("x", "y")}


def test_a_column_is_left_out_of_the_runs_that_lack_it(table):
    rows = ["a,1,0.5,m", "a,0,0.1,m", "a,1,,n"]
    with_score, without = table(rows, "question_id,correct,score,model").recordings
    assert "score" in with_score.columns
    assert not without.columns


def test_seconds_and_dollars_are_found_by_their_usual_names(table):
    (recording,) = table(["a,1,2.5,0.01"], "question_id,correct,duration_s,cost_usd").recordings
    assert recording.seconds.tolist() == [[2.5]]
    assert recording.usd.tolist() == [[0.01]]


def test_equal_answers_graded_both_ways_are_counted_and_averaged(table):
    recorded = table(["a,0,7,1", "a,1,7,0", "a,2,7,0.5", "a,3,8,0.25"])
    assert recorded.mixed == 1
    assert "graded both right and wrong" in recorded.notes[0]
    assert recorded.recordings[0].values.tolist() == [[0.5, 0.25]]


def test_other_names_are_mapped(table):
    header = "task,pred,ok,other"
    rows = ["a,7,1,3", "a,8,0,5"]
    mapping = ["question_id=task", "answer=pred", "correct=ok", "score=other"]
    (recording,) = table(rows, header, mapping=mapping).recordings
    assert recording.texts == (("7", "8"),)
    assert set(recording.columns) == {"score"}


def test_answers_are_graded_by_a_column_of_references(table):
    rows = ["a,7 ,7", "a,8,7", "b,<none>,9", "b,9.0,9"]
    (recording,) = table(rows, "question_id,answer,target", reference="target").recordings
    assert recording.correct.tolist() == [[1, 0], [0, 0]]


def test_answers_are_graded_by_a_table_of_references(table, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"question_id": "a", "reference": 7}\n{"question_id": 1, "reference": "x"}\n')
    rows = ["a,7", "a,8", "1,x"]
    (recording,) = table(rows, "question_id,answer", reference=str(path)).recordings
    assert np.array_equal(recording.correct, [[1, 0], [1, np.nan]], equal_nan=True)


def test_a_given_reference_decides_over_recorded_grades(table):
    rows = ["a,7,0,7"]
    header = "question_id,answer,correct,reference"
    assert table(rows, header).recordings[0].correct.tolist() == [[0]]
    assert table(rows, header, reference="reference").recordings[0].correct.tolist() == [[1]]


def test_what_casts_no_vote_can_be_named(table):
    rows = ["a,0,none,0", "a,1,<none>,0"]
    (recording,) = table(rows, no_vote=("none",)).recordings
    assert recording.codes.tolist() == [[NO_ANSWER, 0]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",0,7,1", "`question_id` must be there, but it is missing"),
        (
            "a,0,7,maybe",
            "`correct` must be true, false or a number from 0 to 1, but it is 'maybe'",
        ),
        ("a,0,7,1.5", "`correct` must .* but it is '1.5'"),
        ("a,0,7,", "`correct` must .* but it is missing"),
        ("a,,7,1", "`sample_index` must be in every row or in none, but it is missing"),
        ("b,0,7,1", "a question must have each `sample_index` once a run, but this one"),
    ],
)
def test_a_bad_row_is_one_line_and_can_be_skipped(table, row, message):
    rows = ["b,0,7,1", row, "b,1,7,0"]
    with pytest.raises(UsageError, match=rf"t.csv row 2: {message}.*--skip-bad") as caught:
        table(rows)
    assert "\n" not in str(caught.value)
    recorded = table(rows, skip_bad=True)
    assert recorded.skipped == 1
    assert list(recorded.skipped_by.values()) == [1]
    assert recorded.recordings[0].rows.tolist() == [[1, 3]]


def test_the_first_bad_row_is_named_whatever_its_rule(table):
    rows = ["a,0,7,1", "a,0,7,1", "b,0,7,9", ",0,7,1"]
    with pytest.raises(UsageError, match="row 2"):
        table(rows)
    recorded = table(rows, skip_bad=True)
    assert recorded.skipped == 3
    assert len(recorded.skipped_by) == 3


def test_a_question_without_a_reference_is_a_bad_row(table):
    rows = ["a,7,7", "b,7,"]
    with pytest.raises(UsageError, match="row 2: a question must have a reference"):
        table(rows, "question_id,answer,reference")


def test_a_table_of_bad_rows_alone_is_refused(table):
    with pytest.raises(UsageError, match="No row is left"):
        table(["a,0,7,x"], skip_bad=True)


@pytest.mark.parametrize(
    ("header", "row", "options", "message"),
    [
        ("id,correct", "a,1", {}, "`question_id` is not"),
        ("question_id,answer", "a,1", {}, "neither `correct` nor `answer`"),
        ("question_id,answer", "a,1", {"reference": "gold"}, "is neither"),
        ("question_id,correct", "a,1", {"mapping": ["answer"]}, "NAME=COLUMN"),
        ("question_id,correct", "a,1", {"mapping": ["answer=prd"]}, "`prd` is not"),
        ("question_id,correct,sample_index", "a,1,x", {}, "must be a column of numbers"),
        ("question_id,correct,tokens", "a,1,many", {}, "`tokens` must be a column of numbers"),
        ("question_id,n_samples,n_correct", "a,2,1", {"runs_as_samples": True}, "of counts"),
    ],
)
def test_a_table_that_says_too_little_is_refused(table, header, row, options, message):
    with pytest.raises(UsageError, match=message):
        table([row], header, **options)


def test_negative_tokens_count_as_not_recorded(table):
    recorded = table(["a,1,5", "a,0,-7"], "question_id,correct,tokens")
    assert np.array_equal(recorded.recordings[0].tokens, [[5, np.nan]], equal_nan=True)
    assert recorded.notes == ("1 samples have negative `tokens`, which count as not recorded.",)


def test_successive_attempts_keep_every_row_in_order(table):
    header = "question_id,sample_index,turn,correct"
    rows = ["a,0,1,1", "a,0,0,0", "a,1,0,0", "b,0,0,1"]
    (recording,) = table(rows, header).recordings
    assert recording.rows.tolist() == [[2, 1, 3], [4, -1, -1]]
    assert recording.turns.tolist() == [[0, 1, 0], [0, -1, -1]]


def test_one_turn_of_many_is_an_ordinary_recording(table):
    header = "question_id,sample_index,turn,correct"
    rows = ["a,0,1,1", "a,0,0,0", "a,1,1,0", "b,0,1,1"]
    (recording,) = table(rows, header, where=["turn=1"]).recordings
    assert recording.turns is None
    assert recording.rows.tolist() == [[1, 3], [4, -1]]


def test_samples_of_several_turns_are_taken_together_with_a_note(table):
    header = "question_id,sample_index,turn,correct"
    recorded = table(["a,0,0,1", "a,1,1,0"], header)
    assert recorded.recordings[0].turns is None
    assert "several turns" in recorded.notes[0]


def test_counts_are_expanded_without_answers(table):
    header = "question_id,model,n_samples,n_correct,difficulty"
    rows = ["a,m,3,2,easy", "b,m,1,0,hard", "a,n,2,2,easy"]
    first, second = table(rows, header).recordings
    expected = [[1, 1, 0], [0, np.nan, np.nan]]
    assert np.array_equal(first.correct, expected, equal_nan=True)
    assert first.sizes.tolist() == [3, 1]
    assert first.codes is None
    assert first.tags == {"difficulty": ("easy", "hard")}
    assert second.correct.tolist() == [[1, 1]]


def test_unknown_counts_are_bad_rows(table):
    header = "question_id,n_samples,n_correct"
    rows = ["a,4,-1", "b,4,5", "c,0,0", "d,4,4", "d,4,3"]
    with pytest.raises(UsageError, match="row 1: `n_correct` must be a whole number from 0"):
        table(rows, header)
    recorded = table(rows, header, skip_bad=True)
    assert recorded.skipped == 4
    assert recorded.recordings[0].questions == ("d",)


def test_counts_too_large_for_memory_are_refused(table):
    rows = ["a,60000000,1"]
    with pytest.raises(UsageError, match=r"1 x 60000000. Filter the table"):
        table(rows, "question_id,n_samples,n_correct")


def test_one_long_question_among_many_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("dwell.recordings.assembling.MOST_CELLS", 5)
    path = tmp_path / "t.csv"
    path.write_text("question_id,correct\n" + "a,1\n" * 3 + "b,1\n")
    with pytest.raises(UsageError, match="2 x 3"):
        read_recordings(path)


def test_the_order_of_the_rows_does_not_matter_where_samples_are_numbered(table):
    rng = np.random.default_rng(4)
    header = "question_id,sample_index,answer,correct,run_id,tokens,score"
    rows = [
        f"q{q},{s},{rng.integers(5)},{rng.integers(2)},r{r},{rng.integers(1, 99)},{rng.random()}"
        for r in range(3)
        for q in range(6)
        for s in range(rng.integers(1, 7))
    ]
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    there = {r.run: r for r in table(rows, header).recordings}
    for other in table(shuffled, header).recordings:
        one = there[other.run]
        assert set(one.questions) == set(other.questions)
        places = [other.questions.index(question) for question in one.questions]
        assert one.sizes.tolist() == other.sizes[places].tolist()
        assert one.texts == tuple(other.texts[p] for p in places)
        assert np.array_equal(one.codes, other.codes[places])
        for name in ("correct", "values", "tokens"):
            assert np.array_equal(getattr(one, name), getattr(other, name)[places], True)
        assert np.array_equal(one.columns["score"], other.columns["score"][places], True)
