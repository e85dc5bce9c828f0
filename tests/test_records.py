"""The nouns: immutable, and small rules of their own."""

from dataclasses import FrozenInstanceError, fields

import pytest

from dwell.records import USAGE_KINDS, Candidate, Context, Problem, Usage

PROBLEM = Problem(id="p", prompt="Q", reference="42", tags={"level": 3})


def test_records_cannot_be_changed():
    for record, name in ((PROBLEM, "id"), (PROBLEM.context(), "partial"), (Usage(), "calls")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, "x")


def test_a_public_problem_hides_the_reference_and_nothing_else():
    public = PROBLEM.public()
    assert public.reference is None
    assert (public.id, public.prompt, public.tags) == (PROBLEM.id, PROBLEM.prompt, PROBLEM.tags)
    assert public.public() is public


def test_a_public_pool_hides_its_members_references():
    pool = Problem(id="pool", prompt="", members=(PROBLEM, PROBLEM))
    assert [member.reference for member in pool.public().members] == [None, None]


def test_a_problem_s_context_asks_for_a_fresh_answer():
    assert PROBLEM.context() == Context(messages=(("user", "Q"),))


def test_the_text_of_a_candidate_includes_what_it_continued():
    candidate = Candidate(Context((("user", "Q"),), "one\n"), "two\n", "step")
    assert candidate.text == "one\ntwo\n"
    assert not candidate.finished
    assert candidate.continued("x").partial == "one\ntwo\nx"


@pytest.mark.parametrize("status", ["end", "cap", "failed"])
def test_what_did_not_halt_at_a_step_is_finished(status):
    assert Candidate(PROBLEM.context(), "", status).finished


def test_statistics_are_no_part_of_a_candidate_s_identity():
    plain = Candidate(PROBLEM.context(), "x", "end")
    assert plain == Candidate(PROBLEM.context(), "x", "end", stats={"surprisal": 1.0})


def test_usage_has_the_contract_s_kinds_in_order():
    assert USAGE_KINDS == (
        "calls", "prompt_tokens", "cached_tokens", "output_tokens", "verifier_tokens", "steps",
        "runs", "flops", "seconds", "usd",
    )  # fmt: skip
    assert tuple(f.name for f in fields(Usage)) == USAGE_KINDS


def test_tokens_are_output_plus_verifier_tokens():
    assert Usage(output_tokens=5, verifier_tokens=2, prompt_tokens=100).tokens == 7


def test_items_are_all_kinds_in_order():
    assert [kind for kind, _ in Usage().items()] == list(USAGE_KINDS)
