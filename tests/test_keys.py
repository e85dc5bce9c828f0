"""Keys: what is in them, what is not, and the seeds that follow."""

import subprocess
import sys

import numpy as np
import pytest

from dwell.keys import (
    candidate_subject,
    canonical_json,
    context_subject,
    draw_seeds,
    key_hash,
    request_params,
    rng_seed,
    stream_id,
)
from dwell.records import Candidate, Context
from dwell.requests import Generate, Perturb, Run, Verify

CONTEXT = Context(messages=(("user", "Q"),))


def hash_of(request, stream="s", fingerprint="model"):
    subject = context_subject(request.context)
    return key_hash(fingerprint, "generate", subject, request_params(request), stream)


@pytest.mark.parametrize(
    "asked",
    [
        dict(n=9),
        dict(want=frozenset({"surprisal"})),
        dict(final=True),
        dict(role="judge"),
        dict(problem="member"),
    ],
)
def test_how_many_who_and_why_are_not_in_the_key(asked):
    assert hash_of(Generate(CONTEXT, **asked)) == hash_of(Generate(CONTEXT))


@pytest.mark.parametrize(
    "asked",
    [
        dict(until="step"),
        dict(max_tokens=5),
        dict(stop=("x",)),
        dict(forbid_end=True),
        dict(temperature=0.5),
    ],
)
def test_what_decides_the_distribution_is_in_the_key(asked):
    assert hash_of(Generate(CONTEXT, **asked)) != hash_of(Generate(CONTEXT))


def test_source_context_and_stream_are_in_the_key():
    base = hash_of(Generate(CONTEXT))
    assert hash_of(Generate(CONTEXT), fingerprint="other") != base
    assert hash_of(Generate(CONTEXT), stream="t") != base
    assert hash_of(Generate(Context(CONTEXT.messages, "part"))) != base
    assert hash_of(Generate(Context(CONTEXT.messages, state=b"z"))) != base


def test_contexts_that_only_look_alike_have_keys_of_their_own():
    a = Context(messages=(("user", "x"), ("user", "y")))
    b = Context(messages=(("user", "x'), ('user', 'y"),))
    assert hash_of(Generate(a)) != hash_of(Generate(b))


def test_scores_are_named_by_the_text_not_by_how_it_came_about():
    whole = Candidate(CONTEXT, "ab\ncd", "end", index=3)
    pieces = Candidate(Context(CONTEXT.messages, "ab\n"), "cd", "cap", answer="x")
    assert candidate_subject([whole]) == candidate_subject([pieces])
    assert candidate_subject([whole]) != candidate_subject([whole, whole])


def test_parameters_of_the_other_requests():
    candidate = Candidate(CONTEXT, "x", "end")
    assert request_params(Verify((candidate,), samples=4)) == ("outcome",)
    assert request_params(Perturb(candidate, "noise", 0.5)) == ("noise", 0.5)
    assert request_params(Run("x", environment="tests")) == ("tests",)


def test_text_that_is_no_valid_unicode_has_a_key():
    assert len(hash_of(Generate(Context(messages=(("user", "\ud800"),))))) == 16


def test_streams_and_seeds_are_names_not_positions():
    assert stream_id(0, 1) != stream_id(1, 0)
    assert len({rng_seed(p, s, t) for p in "ab" for s in "ab" for t in "ab"}) == 8
    assert rng_seed("a", "b", "c") < 1 << 128


def test_a_draw_s_seed_does_not_depend_on_what_was_drawn_with_it():
    seeds = draw_seeds(b"k" * 16, 0, 100)
    assert draw_seeds(b"k" * 16, 40, 10) == seeds[40:50]
    assert all(0 <= seed < 1 << 64 for seed in seeds)


def test_seeds_are_spread_evenly():
    seeds = np.array(draw_seeds(b"x" * 16, 0, 20_000), dtype=float) / 2**64
    assert len(set(seeds.tolist())) == 20_000
    assert abs(seeds.mean() - 0.5) < 4 / np.sqrt(12 * 20_000)
    assert abs(np.corrcoef(seeds[:-1], seeds[1:])[0, 1]) < 4 / np.sqrt(20_000)


def test_keys_are_equal_in_every_process():
    code = """
from dwell.keys import *
from dwell.records import Context
from dwell.requests import *
asked = Generate(Context(messages=(("user", "Q"),)), stop=("x",), want=frozenset("abc"))
subject = context_subject(asked.context)
print(key_hash("m", "generate", subject, request_params(asked), "s").hex())
"""
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    request = Generate(CONTEXT, stop=("x",))
    here = key_hash("m", "generate", context_subject(CONTEXT), request_params(request), "s")
    assert other.stdout.strip() == here.hex()


def test_equal_values_have_equal_json():
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
