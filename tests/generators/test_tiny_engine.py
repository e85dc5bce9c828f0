"""The embedded model's engine: one draw is one draw, whatever surrounds it."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dwell
import tiny_world
from dwell.errors import UsageError
from dwell.generators.tiny_engine import Engine, Job
from dwell.generators.tiny_exact import EXACT, scale_model
from dwell.generators.tiny_forward import Forward
from dwell.generators.tiny_weights import TinyModel, row_codes
from tiny_world import CONTEXT, EVERYTHING, INNER, VOCAB, WIDTH, random_jobs, same


def float_logits(model: TinyModel, tokens: list[int]) -> np.ndarray:
    """A plain float32 forward pass, `[T, V]`."""
    config, weight = model.config, model.tensors
    length, dim, heads = len(tokens), config.head_dim, config.num_heads
    angles = np.arange(length)[:, None] * config.rope_theta ** (-np.arange(0, dim, 2) / dim)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def norm(x):
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + config.norm_eps)

    def rope(x):
        first, second = x[..., : dim // 2], x[..., dim // 2 :]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    x = weight["model.embed_tokens.weight"][tokens]
    for layer in range(config.num_layers):

        def linear(x, part, layer=layer):
            return x @ weight[f"model.layers.{layer}.{part}_proj.weight"].T

        h = norm(x)
        q, k, v = (
            linear(h, f"self_attn.{part}").reshape(length, heads, dim).transpose(1, 0, 2)
            for part in "qkv"
        )
        scores = rope(q) @ rope(k).transpose(0, 2, 1) / np.float32(np.sqrt(dim))
        scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
        probs = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (probs / probs.sum(axis=-1, keepdims=True)) @ v
        x = x + linear(mixed.transpose(1, 0, 2).reshape(length, -1), "self_attn.o")
        h = norm(x)
        gate = linear(h, "mlp.gate")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(h, "mlp.up"), "mlp.down")
    return norm(x) @ weight["lm_head.weight"].T


# the arithmetic


def test_logits_agree_with_a_float32_forward_pass(model):
    tokens = np.random.default_rng(0).integers(2, 24, size=(6, 80))
    forward = Forward(model)
    states = forward.run(tokens, np.zeros(6, np.int64), forward.new_cache(6))
    exact = forward.logits(states).reshape(6, 80, VOCAB)
    plain = np.stack([float_logits(model, row.tolist()) for row in tokens])
    assert np.sqrt(np.mean((exact - plain) ** 2)) < 0.01  # logits have standard deviation 1.5
    assert np.abs(exact - plain).max() < 0.1


@pytest.mark.parametrize("name", ["tiny-0.2m", "tiny-0.8m", "tiny-3m"])
def test_packaged_models_keep_their_distribution(name):
    packaged = TinyModel.load(Path(dwell.__file__).parent / "models" / name)
    tokens = packaged.encode("C47+38*3-29\n47+38=85\n85*3=55\n55-29=26\nA26\n")
    forward = Forward(packaged)
    states = forward.run(np.array([tokens]), np.zeros(1, np.int64), forward.new_cache(1))
    exact = forward.logits(states)[:, packaged.sampleable].astype(np.float64)
    plain = float_logits(packaged, tokens)[:, packaged.sampleable].astype(np.float64)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    plain -= np.log(np.exp(plain).sum(axis=1, keepdims=True))
    divergence = (np.exp(plain) * (plain - exact)).sum(axis=1)
    assert divergence.max() < 2e-3  # nats a token
    assert np.sqrt(np.mean((exact - plain) ** 2)) < 0.02


def test_feeding_at_once_equals_feeding_one_by_one(model):
    tokens = np.random.default_rng(1).integers(2, 24, size=(3, 70))
    forward = Forward(model)
    whole = forward.run(tokens, np.zeros(3, np.int64), forward.new_cache(3)).copy()
    whole = whole.reshape(3, 70, WIDTH)
    cache = forward.new_cache(3)
    for position in range(70):
        starts = np.full(3, position)
        states = forward.run(tokens[:, position : position + 1], starts, cache)
        np.testing.assert_array_equal(states, whole[:, position])


def test_padding_and_neighbours_change_no_bit_of_a_row(model):
    rng = np.random.default_rng(2)
    tokens = rng.integers(2, 24, size=(5, 40))
    forward = Forward(model)
    alone = forward.run(tokens[2:3, :25], np.zeros(1, np.int64), forward.new_cache(1)).copy()
    beside = forward.run(tokens, np.zeros(5, np.int64), forward.new_cache(5))
    np.testing.assert_array_equal(beside.reshape(5, 40, WIDTH)[2, :25], alone)


def test_every_sum_stays_below_what_float32_holds_exactly(model):
    layer = scale_model(model).layers[0]
    reach = np.sqrt(WIDTH) * (layer.attn_units + 0.5)  # norm of any normalised, rounded input
    codes, _ = row_codes(model.tensors["model.layers.0.self_attn.q_proj.weight"])
    assert reach * np.sqrt((codes**2).sum(axis=1).max()) < EXACT
    down, _ = row_codes(model.tensors["model.layers.0.mlp.down_proj.weight"])
    reach = layer.down_norm + np.sqrt(INNER) / 2
    assert 0.99 * EXACT < reach * np.sqrt((down**2).sum(axis=1).max()) < EXACT


def test_elementwise_functions_do_not_depend_on_position_or_length():
    values = np.random.default_rng(3).normal(size=997).astype(np.float32) * 4
    turn = np.exp(1j * values).astype(np.complex64)
    pairs = np.stack([values, values[::-1]], axis=1).copy().view(np.complex64)[:, 0]
    for function, array in ((np.exp, values), (np.exp, values.astype(np.float64))):
        whole = function(array)
        for start, stop in ((0, 1), (1, 4), (5, 22), (3, 996)):
            np.testing.assert_array_equal(function(array[start:stop].copy()), whole[start:stop])
    product = pairs * turn
    for start, stop in ((0, 1), (1, 4), (5, 22), (3, 996)):
        part = pairs[start:stop].copy() * turn[start:stop].copy()
        np.testing.assert_array_equal(part, product[start:stop])


# draws


def test_order_and_batch_size_change_no_draw(model):
    jobs = random_jobs(60)
    order = np.random.default_rng(4).permutation(60)
    wide = Engine(model, slots=64).generate(jobs)
    narrow = Engine(model, slots=7).generate([jobs[k] for k in order])
    assert all(same(wide[k], result) for k, result in zip(order, narrow, strict=True))


def test_a_draw_alone_equals_the_draw_in_a_batch(model):
    jobs = random_jobs(16, seed=1)
    together = Engine(model, slots=16).generate(jobs)
    alone = [Engine(model, slots=1, cache_tokens=0).generate([job])[0] for job in jobs]
    assert all(map(same, together, alone))


def test_what_is_cached_changes_no_draw(model):
    jobs = random_jobs(20, seed=2)
    engine = Engine(model, slots=8)
    first, second = engine.generate(jobs), engine.generate(jobs)
    assert all(map(same, first, second))
    assert all(r.cached_tokens == r.prompt_tokens - 1 for r in second)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_blas_threads_change_no_draw(folder, threads):
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "import hashlib, tiny_world\n"
        "from dwell.generators.tiny_weights import TinyModel\n"
        "from dwell.generators.tiny_engine import Engine\n"
        "engine = Engine(TinyModel.load(sys.argv[1]), slots=64)\n"
        "results = engine.generate(tiny_world.random_jobs(40))\n"
        "digest = hashlib.sha256()\n"
        "for r in results:\n"
        "    digest.update(bytes(r.tokens) + r.surprisals.tobytes() + r.hidden.tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONPATH": str(Path(dwell.__file__).parents[1]),
    }
    command = [sys.executable, "-c", script, str(folder), str(Path(tiny_world.__file__).parent)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    own = hashlib.sha256()
    for r in Engine(TinyModel.load(folder), slots=5).generate(random_jobs(40)):
        own.update(bytes(r.tokens) + r.surprisals.tobytes() + r.hidden.tobytes())
    assert output.stdout.strip() == own.hexdigest()


def test_scoring_a_text_gives_the_bits_of_drawing_it(model):
    jobs = random_jobs(30, seed=3)
    engine = Engine(model, slots=16)
    results = engine.generate(jobs)
    texts = [(j.prompt + r.tokens, len(j.prompt)) for j, r in zip(jobs, results, strict=True)]
    for result, score in zip(results, engine.score(texts), strict=True):
        np.testing.assert_array_equal(score.surprisals, result.surprisals)
        np.testing.assert_array_equal(score.hidden, result.hidden)
        np.testing.assert_array_equal(score.mean_log_probs, result.mean_log_probs)


def test_a_text_continued_from_the_cache_equals_one_read_anew(model):
    engine = Engine(model, slots=8)
    step = Job(prompt=(5, 6, 7), key=3, max_tokens=50, until="step", want=EVERYTHING)
    first = engine.generate([step])[0]
    assert first.status == "step"
    more = replace(step, prompt=step.prompt + first.tokens, key=4)
    continued = engine.generate([more])[0]
    anew = Engine(model, slots=8).generate([more])[0]
    assert same(continued, anew)
    assert (continued.cached_tokens, anew.cached_tokens) == (len(more.prompt) - 1, 0)


def test_draws_of_one_prompt_read_it_once(model):
    jobs = [Job(prompt=(4, 5, 6, 7, 8), key=key, max_tokens=5) for key in range(10)]
    cached = [result.cached_tokens for result in Engine(model, slots=4).generate(jobs)]
    assert cached == [0] + [4] * 9


def test_draws_have_the_frequencies_of_the_model(model):
    num, prompt = 4000, (4, 5, 6)
    jobs = [Job(prompt=prompt, key=key, max_tokens=1) for key in range(num)]
    drawn = [result.tokens[0] for result in Engine(model, slots=128).generate(jobs)]
    logits = float_logits(model, list(prompt))[-1]
    probs = np.where(model.sampleable, np.exp(logits), 0.0)
    probs /= probs.sum()
    errors = np.sqrt(probs * (1 - probs) / num)
    shares = np.bincount(drawn, minlength=VOCAB) / num
    # 4.5 standard errors, plus what rounding the network may move
    assert np.all(np.abs(shares - probs) <= 4.5 * errors + 0.02 * probs)
    assert shares[~model.sampleable].sum() == 0.0


def test_surprisal_is_at_temperature_one_whatever_the_draw(model):
    job = Job(prompt=(4, 5, 6), key=1, max_tokens=1, temperature=0.0, want=EVERYTHING)
    result = Engine(model).generate([job])[0]
    logits = float_logits(model, [4, 5, 6])[-1][model.sampleable].astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum())
    assert result.surprisals[0] == pytest.approx(-log_probs.max(), abs=0.05)
    assert result.mean_log_probs[0] == pytest.approx(log_probs.mean(), abs=0.05)


def test_statuses_say_what_ended_a_draw(model):
    engine = Engine(model, slots=32)
    for job, result in zip(jobs := random_jobs(60, seed=5), engine.generate(jobs), strict=True):
        last = result.tokens[-1]
        if result.status == "end":
            assert last == model.eos
        elif result.status == "step":
            assert last == model.newline
            assert job.until == "step"
        else:
            since = (
                len(result.tokens)
                - 1
                - max(
                    [-1, *(k for k, token in enumerate(result.tokens) if token == model.newline)]
                )
            )
            assert len(result.tokens) == job.max_tokens or since == job.step_cap
        assert model.eos not in result.tokens[:-1]


def test_a_stop_token_ends_a_draw(model):
    letter = model.encode("7")[0]
    job = Job(prompt=(4, 5), key=0, max_tokens=90, step_cap=90, stop_tokens=frozenset({letter}))
    results = Engine(model).generate([replace(job, key=key) for key in range(20)])
    assert all(letter not in result.tokens[:-1] for result in results)
    assert any(r.tokens[-1] == letter and r.status == "end" for r in results)


def test_forbidding_the_end_keeps_closing_tokens_from_the_first_place(model):
    job = Job(prompt=(4, 5), key=0, max_tokens=1, temperature=5.0)
    engine = Engine(model, slots=128)
    keys = range(600)
    free = {r.tokens[0] for r in engine.generate([replace(job, key=k) for k in keys])}
    held = engine.generate([replace(job, key=k, forbid_end=True) for k in keys])
    assert model.closing <= free
    assert not model.closing & {r.tokens[0] for r in held}


def test_a_draw_stops_at_the_end_of_the_context(model):
    job = Job(prompt=(4,) * 90, key=0, max_tokens=500, step_cap=500, want=EVERYTHING)
    results = Engine(model).generate([replace(job, key=key) for key in range(20)])
    assert max(len(result.tokens) for result in results) == CONTEXT - 90
    assert all(r.status == "cap" for r in results if len(r.tokens) == 6 and r.tokens[-1] != 1)


def test_hidden_states_are_one_per_newline_written(model):
    for result in Engine(model, slots=32).generate(random_jobs(40, seed=6)):
        assert result.hidden.shape == (result.tokens.count(model.newline), WIDTH)
        norms = np.sqrt((result.hidden**2).mean(axis=1))
        np.testing.assert_allclose(norms, 1.0, atol=1e-3)


# what is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ()}, "between 1 and"),
        ({"prompt": (4,) * CONTEXT}, "between 1 and"),
        ({"prompt": (99,)}, "below 32"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"key": -1}, "64-bit"),
        ({"want": frozenset({"logits"})}, "want"),
    ],
)
def test_impossible_jobs_are_refused(model, changes, words):
    job = replace(Job(prompt=(4,), key=0, max_tokens=1), **changes)
    with pytest.raises(UsageError, match=words):
        Engine(model).generate([job])


def test_texts_beyond_the_context_are_not_scored(model):
    with pytest.raises(UsageError, match="fit the context"):
        Engine(model).score([((4,) * (CONTEXT + 1), 1)])
