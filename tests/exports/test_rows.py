"""What a row holds: messages, reasoning, steps; and which questions have none."""

from dataclasses import replace

import pytest

from dwell.exports import Choice, Options, Tally, rows_of

ONE = {"text": "It is 4.", "correct": True, "reasoning": "2 and 2"}
OTHER = {"text": "It is 5.", "correct": False}
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]


def rows(kind, question, tally=None, **options):
    return list(rows_of(kind, question, Options(**options), tally or Tally()))


def test_reasoning_is_kept_only_where_asked_for(question):
    asked = question(ONE)
    (row,) = rows("sft", asked, chat=True)
    assert row["completion"] == [{"role": "assistant", "content": "It is 4."}]
    (row,) = rows("sft", asked, chat=True, reasoning=True)
    assert row["completion"][0]["reasoning_content"] == "2 and 2"
    (row,) = rows("sft", asked, reasoning=True)
    assert row["completion"] == "It is 4."


def test_a_chat_of_several_messages_has_no_plain_row(question):
    several = replace(question(ONE, OTHER), prompt=None, messages=CHAT)
    (row,) = rows("dpo", several, chat=True)
    assert row["prompt"] == CHAT
    for kind in ("dpo", "prm"):
        tally = Tally()
        assert rows(kind, several, tally) == []
        assert tally.questions["that are no single plain text"] == 1


def test_images_and_tool_calls_are_no_text(question):
    asked = question(ONE)
    for message in (
        {"role": "user", "content": [{"type": "image_url"}]},
        {"role": "assistant", "content": "", "tool_calls": [{}]},
    ):
        odd = replace(asked, prompt=None, messages=[message])
        tally = Tally()
        assert rows("sft", odd, tally, chat=True) == []
        assert tally.questions["with parts that are no text"] == 1


def test_a_question_without_right_texts_is_counted(question):
    tally = Tally()
    assert rows("sft", question(OTHER), tally) == []
    assert rows("dpo", question(OTHER), tally) == []
    assert (tally.questions["with no right text"], tally.questions["with no pair"]) == (1, 1)


def stepped(question):
    """Two texts share their first step; four of six completions of it are right."""
    texts = [("a\nb", True)] * 3 + [("a\nc", False)] * 2 + [("a\nd", True)] + [("e\nf", False)]
    return question(*[{"text": text, "correct": right} for text, right in texts])


@pytest.mark.parametrize(("threshold", "first"), [(0.0, True), (0.6, True), (0.7, False)])
def test_a_step_is_right_above_the_threshold(question, threshold, first):
    asked = stepped(question)
    found = {row["completions"][-1]: row for row in rows("prm", asked, threshold=threshold,
             least=2, choice=Choice(most=None))}  # fmt: skip
    assert set(found) == {"b", "c", "d"}  # of "e" there is one completion: too few
    assert found["c"]["labels"] == [first, False]
    assert found["d"]["labels"] == [first, True]
    assert found["b"]["values"] == [pytest.approx(4 / 6), 1.0]
    assert found["b"]["rollouts"] == [6, 3]


def test_a_text_is_shortened_where_completions_are_few(question):
    asked = question(
        *[{"text": f"a\n{i}\nz", "correct": i == 0} for i in range(4)],
    )
    tally = Tally()
    found = rows("prm", asked, tally, least=2)
    assert [row["completions"] for row in found] == [["a"]] * 4
    assert tally.samples["shortened to the steps with enough completions"] == 4


def test_truth_is_refused_where_the_task_has_none(question):
    tally = Tally()
    assert rows("prm", stepped(question), tally, steps="truth") == []
    assert tally.questions["whose task does not know which steps are right"] == 1


def test_a_message_without_content_is_no_text_and_null_calls_are_none(question):
    calls = [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{}]}]
    plain = [{"role": "user", "content": "a", "tool_calls": None}]
    for messages, count in ((calls, 0), (plain, 1)):
        asked = replace(question(ONE), messages=messages)
        assert len(rows("sft", asked, chat=True)) == count
